"""Rounds of self-play: what a run keeps of each, through kills, and what the table shows."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.aggregate import collect
from benchmarks.blocks import blocks
from benchmarks.contests import contests
from benchmarks.plan_results import PlanResults, read_plan
from benchmarks.render import console_text
from benchmarks.rows import find
from benchmarks.single_run import execute_run
from tests.benchmarks.comparison_folder import comparison_plan, language_comparison
from tests.benchmarks.plan_folder import LetterPanel
from tests.benchmarks.test_resume import Killed, killed_at
from tests.benchmarks.tiny_command import EXACT, outcome, planned_runs, result

ROUNDS, ITERATIONS = 3, 8
ENDS = [3, 6, 8]
"""A round ends once its third of the 8 iterations is over."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The moving run of the tiny plan, in three rounds."""
    values = {**EXACT, "train.rounds": ROUNDS, "train.eval_every": 1, "train.checkpoint_every": 3}
    return planned_runs(tmp_path_factory.mktemp("plan") / "out", values)["moving"]


@pytest.fixture(scope="module")
def whole(run: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's folder when nothing stops it."""
    folder = tmp_path_factory.mktemp("whole")
    execute_run(run, folder, lambda report: None)
    return folder


def policies(folder: Path) -> list[dict[str, torch.Tensor]]:
    """The weights kept of each round."""
    return [load_file(folder / f"policy_round{r}.safetensors") for r in range(1, ROUNDS + 1)]


def test_each_round_is_measured_when_it_ends(whole: Path) -> None:
    rounds = result(whole)["metrics"]["rounds"]
    assert [entry["round"] for entry in rounds] == [1, 2, 3]
    assert [entry["iteration"] for entry in rounds] == ENDS
    curve = pd.read_csv(whole / "curves.csv", index_col="iteration")
    for entry in rounds:
        assert entry["gap_last"] == curve.loc[entry["iteration"], "gap_last"]


def test_the_policy_of_each_round_is_kept(whole: Path) -> None:
    kept = policies(whole)
    last = load_file(whole / "policy.safetensors")
    assert all(torch.equal(kept[-1][name], weight) for name, weight in last.items())
    for earlier, later in itertools.pairwise(kept):
        assert any(not torch.equal(earlier[name], later[name]) for name in earlier)


@pytest.mark.parametrize("iteration", [1, 2, 4, 5, 6, 7])
def test_a_killed_run_goes_on_to_the_same_rounds(
    iteration: int, run: dict[str, Any], whole: Path, tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        execute_run(run, tmp_path, killed_at(iteration))
    execute_run(run, tmp_path, lambda report: None)
    assert outcome(tmp_path) == outcome(whole)
    for mine, other in zip(policies(tmp_path), policies(whole), strict=True):
        assert all(torch.equal(mine[name], other[name]) for name in other)


def test_a_run_of_one_round_keeps_none(tmp_path: Path) -> None:
    run = planned_runs(tmp_path / "out", EXACT)["moving"]
    execute_run(run, tmp_path, lambda report: None)
    assert result(tmp_path)["metrics"]["rounds"] == []
    assert not list(tmp_path.glob("policy_round*"))


def test_a_token_budget_ends_the_run_and_its_last_row(tmp_path: Path) -> None:
    plan = planned_runs(tmp_path / "out", {**EXACT, "train.eval_every": 100})
    whole, short = tmp_path / "whole", tmp_path / "short"
    whole.mkdir()
    short.mkdir()
    execute_run(plan["moving"], whole, lambda report: None)
    run = json.loads(json.dumps(plan["moving"]))
    run["config"]["train"]["token_budget"] = result(whole)["counts"]["tokens"] // 2
    reports: list[dict[str, Any]] = []
    execute_run(run, short, reports.append)
    found, done = result(short), result(short)["metrics"]["iterations"]
    assert 1 <= done < ITERATIONS
    assert found["counts"]["tokens"] >= run["config"]["train"]["token_budget"]
    assert found["counts"]["prompts"] == 3 * done
    assert found["counts"]["optimizer_steps"] == 2 * done
    curve = pd.read_csv(short / "curves.csv")
    assert curve["iteration"].tolist() == [0, done]
    assert curve["gap_last"].iloc[-1] == found["metrics"]["gap_last"]
    assert reports[-1]["iteration"] == reports[-1]["iterations"] == done


def test_the_table_has_each_round_of_the_exact_task(tmp_path: Path) -> None:
    comparison_plan(tmp_path, ("mpo", "ppo"), ("smooth-0",), seeds=2, rounds=3)
    results = read_plan(tmp_path)
    table = collect(results)
    for number in (1, 2, 3):
        entries = [
            run.rounds[number - 1]["gap_last"] for run in results.done() if run.variant == "ppo"
        ]
        gap = find(table, "smooth-0", "ppo", f"gap_last_round{number}")
        assert gap is not None and gap.value == pytest.approx(sum(entries) / 2)
    frame = by_round(table, results, "smooth-0: gap_last")
    assert frame.columns.tolist() == ["round 1", "round 2", "round 3"]
    assert "[" in frame.loc["ppo", "round 2"]


def test_many_rounds_fit_a_terminal(tmp_path: Path) -> None:
    comparison_plan(tmp_path, ("mpo", "iterative_dpo_8"), ("smooth-0",), seeds=2, rounds=11)
    results = read_plan(tmp_path)
    frame = by_round(collect(results), results, "smooth-0: gap_last")
    assert frame.columns.tolist() == [str(number) for number in range(1, 12)]
    assert "[" not in " ".join(frame.loc["mpo"])
    text = console_text(collect(results), results)
    assert max(map(len, text.splitlines())) <= 130


def by_round(table: pd.DataFrame, results: PlanResults, title: str) -> pd.DataFrame:
    (found,) = [
        block.frame
        for block in blocks(table, results)
        if block.title.startswith(f"{title} at the end of each round")
    ]
    return found.set_index("variant")


def test_the_table_has_each_round_of_a_language_task(tmp_path: Path) -> None:
    language_comparison(tmp_path, rounds=3)
    results = read_plan(tmp_path)
    table = collect(results, LetterPanel)
    final = find(table, "smollm2", "mpo", "win_rate")
    rounds = [find(table, "smollm2", "mpo", f"win_rate_round{r}") for r in (1, 2, 3)]
    assert final is not None and rounds[2] == final
    # The first two rounds answer as the initial policy does: neither side wins.
    for found in rounds[:2]:
        assert found is not None and found.value == 0.5
    assert final.value != 0.5
    frame = by_round(table, results, "smollm2: win_rate")
    assert frame.loc["mpo", "round 1"].startswith("0.500")
    (annotators,) = [b.frame for b in blocks(table, results) if "by annotator" in b.title]
    assert annotators.columns.tolist() == ["variant", "length", "brevity", "letter"]


def test_kept_contests_of_rounds_need_no_judge(tmp_path: Path) -> None:
    language_comparison(tmp_path, rounds=2)
    results = read_plan(tmp_path)
    first = collect(results, LetterPanel)

    def nobody() -> LetterPanel:
        raise AssertionError("asked for a judge")

    again = collect(results, nobody)
    pd.testing.assert_frame_equal(first, again, rtol=1e-12)
    kept = contests(results, "smollm2", nobody)
    assert set(kept["round"]) == {0, 1, 2}
