"""Every branch of the sentences that say what the numbers support, on made-up folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.aggregate import collect
from benchmarks.findings import Findings, findings
from benchmarks.language_findings import add_language
from benchmarks.plan_results import PlanResults, read_plan
from benchmarks.rows import Row, to_frame
from tests.benchmarks.plan_folder import (
    LetterPanel,
    exact_entry,
    language_entry,
    language_plan,
    write_exact_run,
    write_language_run,
    write_plan,
)

Read = tuple[pd.DataFrame, PlanResults]


def _exact(folder: Path, gaps: Mapping[str, list[float]]) -> Read:
    """A plan on one game whose runs have the gaps of each variant, by seed."""
    seeds = range(max(map(len, gaps.values())))
    entries = [exact_entry("smooth-0", name, seed) for seed in seeds for name in gaps]
    write_plan(folder, entries)
    for entry in entries:
        if entry["seed"] < len(gaps[entry["variant"]]):
            write_exact_run(folder, entry, last=gaps[entry["variant"]][entry["seed"]])
    results = read_plan(folder)
    return collect(results), results


def _language(folder: Path, words: Mapping[str, float], seeds: int = 2) -> Read:
    language_plan(folder, seeds, words)
    results = read_plan(folder)
    return collect(results, LetterPanel), results


def _texts(read: Read) -> tuple[str, str]:
    found = findings(*read)
    return " ".join(found.can), " ".join(found.cannot)


FIVE = [0.030, 0.034, 0.028, 0.031, 0.033]
HIGH = [0.36, 0.37, 0.35, 0.38, 0.36]


def test_a_lower_gap_is_said_with_its_numbers(tmp_path: Path) -> None:
    can, cannot = _texts(_exact(tmp_path, {"moving": FIVE, "fixed": HIGH}))
    assert "`moving` has a lower duality gap than that of `fixed` on smooth-0 (mixed" in can
    assert "0.031 against 0.364" in can and "ratio 0.09" in can
    assert "not resolved" not in cannot and "nothing is claimed for other games" in cannot


def test_a_higher_gap_is_said_as_well(tmp_path: Path) -> None:
    can, _ = _texts(_exact(tmp_path, {"moving": HIGH, "fixed": FIVE}))
    assert "`moving` has a higher duality gap" in can and "lower duality gap" not in can


def test_a_difference_that_is_not_resolved_says_what_could_have_been_seen(tmp_path: Path) -> None:
    mixed = [0.033, 0.029, 0.031, 0.030, 0.032]
    can, cannot = _texts(_exact(tmp_path, {"moving": FIVE, "fixed": mixed}))
    assert "duality gap than" not in can
    assert "is not resolved on smooth-0" in cannot
    assert "the smallest it could have seen is 0.00" in cannot


def test_few_seeds_support_no_claim(tmp_path: Path) -> None:
    can, cannot = _texts(_exact(tmp_path, {"moving": FIVE[:4], "fixed": HIGH[:4]}))
    assert "duality gap than" not in can
    assert "share fewer than 5 seeds on smooth-0 (4): no claim across seeds" in cannot


def test_a_variant_without_runs_is_not_compared(tmp_path: Path) -> None:
    can, cannot = _texts(_exact(tmp_path, {"moving": FIVE, "fixed": []}))
    assert "no seed in common that is done on smooth-0: they are not compared" in cannot
    assert "5 of 10 runs have no result" in cannot
    assert can == "Nothing yet."


@pytest.mark.parametrize(("last", "near"), [(0.37, True), (0.5, False)])
def test_fixed_runs_are_held_against_the_solver(tmp_path: Path, last: float, near: bool) -> None:
    can, cannot = _texts(_exact(tmp_path, {"moving": FIVE, "fixed": [last] * 5}))
    assert ("`fixed`: 5 runs ended within 0.05 of the gap of the solution" in can) == near
    assert ("`fixed`: 5 of 5 runs ended farther than 0.05 from the gap" in cannot) != near
    assert "`moving`: " not in can + cannot


# LetterPanel likes more words, fewer words, and the letter e: longer responses win two of three.
def test_learning_is_said_with_where_it_comes_from(tmp_path: Path) -> None:
    can, cannot = _texts(_language(tmp_path, {"initial": 5, "moving": 14, "fixed": 14}))
    assert "`moving` wins against the initial policy at 0.6" in can
    assert "the annotator most won over is length" in can and "the least brevity" in can
    assert "without brevity it is 0." in can
    assert "with 2 seeds a variant the intervals are over prompts" in cannot


def test_losing_is_said(tmp_path: Path) -> None:
    can, _ = _texts(_language(tmp_path, {"initial": 14, "moving": 5, "fixed": 5}))
    assert "`moving` loses to the initial policy" in can and "wins against" not in can


def test_no_difference_is_not_resolved(tmp_path: Path) -> None:
    can, cannot = _texts(_language(tmp_path, {"initial": 9, "moving": 9, "fixed": 9}))
    assert "that `moving` learned is not resolved" in cannot
    assert "the difference between `moving` and `fixed` is not resolved at this size" in cannot
    assert "the smallest distance from ½ it could have seen is 0." in cannot
    assert "wins against" not in can and "beats" not in can


@pytest.mark.parametrize(("moving", "fixed", "words"), [(15, 5, "beats"), (5, 15, "loses to")])
def test_one_variant_against_the_other(
    tmp_path: Path, moving: float, fixed: float, words: str
) -> None:
    can, _ = _texts(_language(tmp_path, {"initial": 9, "moving": moving, "fixed": fixed}))
    assert f"`moving` {words} `fixed` at 0." in can


def test_variants_without_a_common_seed_are_not_compared(tmp_path: Path) -> None:
    entries = [
        language_entry("initial", 0),
        language_entry("moving", 0),
        language_entry("fixed", 1),
    ]
    write_plan(tmp_path, entries)
    for entry in entries:
        write_language_run(tmp_path, entry)
    results = read_plan(tmp_path)
    _, cannot = _texts((collect(results, LetterPanel), results))
    assert "`moving` and `fixed` have no seed in common that is done" in cannot


def test_judge_hacking_is_said(tmp_path: Path) -> None:
    language_plan(tmp_path)
    for seed in range(2):
        file = tmp_path / "runs" / f"smollm2-moving-s{seed}" / "samples.jsonl"
        lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        hacked = "".join(json.dumps(x | {"response": "tree tree tree tree"}) + "\n" for x in lines)
        file.write_text(hacked, "utf-8")
    results = read_plan(tmp_path)
    can, _ = _texts((collect(results, LetterPanel), results))
    assert "`moving` has more bad responses than the initial policy: repeated_ngram (" in can
    assert "to 100.0 %" in can
    assert (
        "no share of bad responses (truncated, empty, one_word, repeated_ngram) of `fixed`" in can
    )


def _intransitive(low: float, high: float) -> Findings:
    rows = [
        Row(
            "smollm2",
            "smollm2",
            "",
            "",
            "intransitive_share",
            (low + high) / 2,
            low,
            high,
            9,
            "prompts",
            "",
            "",
            "",
        ),
        Row(
            "smollm2",
            "smollm2",
            "",
            "",
            "intransitive_share_random",
            0.06,
            float("nan"),
            float("nan"),
            0,
            "",
            "",
            "",
            "",
        ),
    ]
    plan = PlanResults(Path(), {}, ())
    found = Findings([], [])
    add_language(found.can, found.cannot, to_frame(rows), plan, "smollm2")
    return found


def test_the_judges_cycles_are_held_against_chance() -> None:
    assert "more consistent than chance" in _intransitive(0.01, 0.03).can[0]
    assert "more cyclic than chance" in _intransitive(0.08, 0.1).can[0]
    assert "not told apart from chance" in _intransitive(0.05, 0.07).cannot[0]
