"""Win rates against a hand-written loop, and judging that is not repeated."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.contests import (
    contest,
    contests,
    intransitivity,
    pooled_responses,
    preference_matrices,
)
from benchmarks.plan_results import RunResult, read_plan
from mpo.judges.annotators import AnnotatorPanel
from tests.benchmarks.plan_folder import (
    LetterPanel,
    language_entry,
    language_plan,
    write_language_run,
    write_plan,
)


class CountingPanel(LetterPanel):
    """Counts the comparisons it is asked for."""

    asked = 0

    def votes(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> torch.Tensor:
        CountingPanel.asked += len(prompts)
        return super().votes(prompts, a, b)


def _scorer_panel() -> AnnotatorPanel:
    """The real panel's class on scorers that need no model."""
    return AnnotatorPanel(
        {
            "letter": lambda prompts, responses: [float(r.count("e")) for r in responses],
            "brevity": lambda prompts, responses: [-float(len(r.split())) for r in responses],
            "last": lambda prompts, responses: [float(ord(r[-1])) for r in responses],
        }
    )


def _runs(folder: Path) -> tuple[RunResult, RunResult]:
    results = read_plan(folder)
    return results.done("smollm2")[0], results.done("smollm2", "initial")[0]


def test_a_contest_is_the_mean_over_cross_pairs_by_prompt(tmp_path: Path) -> None:
    language_plan(tmp_path, seeds=1)
    run, other = _runs(tmp_path)
    found = contest(LetterPanel(), run, other).set_index("prompt_id")
    ours, theirs = run.samples(), other.samples()
    for prompt_id in ours["prompt_id"].unique():
        totals, shortest = [], []
        for a in ours[ours["prompt_id"] == prompt_id]["response"]:
            for b in theirs[theirs["prompt_id"] == prompt_id]["response"]:
                votes = []
                for score in (
                    lambda r: len(r.split()),
                    lambda r: -len(r.split()),
                    lambda r: r.count("e"),
                ):
                    votes.append(0.5 if score(a) == score(b) else float(score(a) > score(b)))
                totals.append(sum(votes) / 3)
                shortest.append(votes[1])
        assert found.loc[prompt_id, "total"] == pytest.approx(sum(totals) / 4, abs=1e-12)
        assert found.loc[prompt_id, "brevity"] == pytest.approx(sum(shortest) / 4, abs=1e-12)


def test_totals_agree_with_the_real_panels_win_probabilities(tmp_path: Path) -> None:
    language_plan(tmp_path, seeds=1)
    run, other = _runs(tmp_path)
    panel = _scorer_panel()
    found = contest(panel, run, other)
    pairs = [
        (a.prompt, a.response, b.response)
        for (_, left), (_, right) in zip(
            run.samples().groupby("prompt_id"), other.samples().groupby("prompt_id"), strict=True
        )
        for a, b in itertools.product(left.itertuples(), right.itertuples())
    ]
    for column, judge in (("total", panel), ("without_brevity", panel.without("brevity"))):
        wins = judge.win_prob(*map(list, zip(*pairs, strict=True))).view(-1, 4).mean(1)
        np.testing.assert_allclose(found[column], wins, atol=1e-12)


def test_both_directions_add_up_to_one(tmp_path: Path) -> None:
    language_plan(tmp_path, seeds=1)
    run, other = _runs(tmp_path)
    forth = contest(LetterPanel(), run, other).drop(columns="prompt_id")
    back = contest(LetterPanel(), other, run).drop(columns="prompt_id")
    np.testing.assert_allclose(forth + back, 1.0, atol=1e-12)


def test_runs_on_different_prompts_are_not_compared(tmp_path: Path) -> None:
    entries = [language_entry("initial", 0), language_entry("moving", 0)]
    write_plan(tmp_path, entries)
    for entry, prompts in zip(entries, (5, 6), strict=True):
        write_language_run(tmp_path, entry, prompts=prompts)
    run, other = _runs(tmp_path)
    with pytest.raises(ValueError, match=r"moving-s0 and smollm2-initial .*\(1 and 0 of"):
        contest(LetterPanel(), run, other)


def test_contests_are_played_once(tmp_path: Path) -> None:
    language_plan(tmp_path)
    results = read_plan(tmp_path)
    CountingPanel.asked = 0
    first = contests(results, "smollm2", CountingPanel)
    # 4 runs against the initial policy and 2 pairs of variants, 20 prompts, 4 cross pairs.
    assert CountingPanel.asked == 6 * 20 * 4
    again = contests(results, "smollm2", CountingPanel)
    assert CountingPanel.asked == 6 * 20 * 4
    assert again[list(first.columns)].equals(first)
    assert set(first["versus"]) == {"smollm2-initial", "smollm2-fixed-s0", "smollm2-fixed-s1"}


def test_only_contests_of_changed_samples_are_played_again(tmp_path: Path) -> None:
    language_plan(tmp_path)
    results = read_plan(tmp_path)
    contests(results, "smollm2", LetterPanel)
    file = tmp_path / "runs" / "smollm2-moving-s1" / "samples.jsonl"
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    file.write_text("".join(json.dumps(x | {"response": "eee"}) + "\n" for x in lines), "utf-8")
    CountingPanel.asked = 0
    table = contests(results, "smollm2", CountingPanel)
    assert CountingPanel.asked == 2 * 20 * 4
    assert (table[table["run"] == "smollm2-moving-s1"]["brevity"] > 0.5).all()


def test_without_any_run_there_is_no_contest_and_no_judge(tmp_path: Path) -> None:
    write_plan(tmp_path, [language_entry("initial", 0), language_entry("moving", 0)])

    def no_judge() -> LetterPanel:
        raise AssertionError("the judge must not be made")

    assert contests(read_plan(tmp_path), "smollm2", no_judge).empty
    assert intransitivity(read_plan(tmp_path), "smollm2", no_judge).empty


def test_preference_matrices_pool_the_responses_of_all_runs(tmp_path: Path) -> None:
    language_plan(tmp_path, seeds=1)
    results = read_plan(tmp_path)
    runs = results.done("smollm2", "initial") + results.done("smollm2")
    matrices = preference_matrices(LetterPanel(), pooled_responses(runs))
    assert len(matrices) == 20 and {matrix.shape for matrix in matrices} == {(6, 6)}
    for matrix in matrices:
        np.testing.assert_allclose(matrix + matrix.T, 1.0, atol=1e-12)
        np.testing.assert_array_equal(np.diag(matrix), 0.5)
    first = [
        own["response"].tolist() for run in runs for _, own in run.samples().groupby("prompt_id")
    ][::20]
    texts = [text for own in first for text in own]
    votes = LetterPanel().votes([""], [texts[1]], [texts[4]]).mean()
    assert matrices[0][1, 4] == pytest.approx(float(votes), abs=1e-12)


class CyclicPanel:
    """Three annotators with the three rotations of one ranking of a, b, c: Condorcet's paradox."""

    names = ("first", "second", "third")

    def scores(self, prompts: Sequence[str], responses: Sequence[str]) -> torch.Tensor:
        ranks = [{"a": 0, "b": 1, "c": 2}, {"b": 0, "c": 1, "a": 2}, {"c": 0, "a": 1, "b": 2}]
        return -torch.tensor([[rank[r] for rank in ranks] for r in responses]).double()

    def votes(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> torch.Tensor:
        return (self.scores(prompts, a) > self.scores(prompts, b)).double()


def test_intransitive_triples_are_found_and_kept(tmp_path: Path) -> None:
    entries = [language_entry(name, 0, eval_responses=1) for name in ("initial", "moving", "fixed")]
    write_plan(tmp_path, entries)
    for entry, text in zip(entries, "abc", strict=True):
        write_language_run(tmp_path, entry, prompts=4)
        file = tmp_path / "runs" / entry["name"] / "samples.jsonl"
        lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        file.write_text("".join(json.dumps(x | {"response": text}) + "\n" for x in lines), "utf-8")
    results = read_plan(tmp_path)
    table = intransitivity(results, "smollm2", CyclicPanel)
    assert table["share"].tolist() == [1.0] * 4 and table["responses"].tolist() == [3] * 4
    assert table["random_share"].iloc[0] == pytest.approx(1 / 18, abs=0.02)

    def no_judge() -> CyclicPanel:
        raise AssertionError("kept outcomes need no judge")

    assert intransitivity(results, "smollm2", no_judge).equals(table)
