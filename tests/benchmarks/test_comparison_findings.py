"""Sentences about a comparison: from its numbers only, in either direction."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.findings import findings
from tests.benchmarks.comparison_folder import (
    METHODS,
    comparison_plan,
    experiment,
    method_entry,
    read,
    write_method_run,
)
from tests.benchmarks.plan_folder import write_plan


def test_sentences_say_which_methods_stay_away_and_where(tmp_path: Path) -> None:
    comparison_plan(tmp_path)
    can = " ".join(findings(*read(tmp_path)).can)
    assert "`ppo` comes within 0.05 of an equilibrium on bradley_terry-0 (pure, 0.020" in can
    assert "and stays farther away on smooth-0 (mixed, 0.2" in can
    assert "`free` stays farther than 0.05 from an equilibrium on smooth-0 (mixed" in can
    assert "the gap of `ppo` is that of its tilted reference, within 0.05 (0.020 [" in can


def test_few_seeds_are_said_once_for_all_methods(tmp_path: Path) -> None:
    comparison_plan(tmp_path, tuple(METHODS), ("smooth-0",), seeds=2)
    cannot = findings(*read(tmp_path)).cannot
    (few,) = [sentence for sentence in cannot if "share fewer than 5 seeds" in sentence]
    assert few.startswith("`mpo` and each of `mpo_clip`, `ppo`, `iterative_dpo_8` and `free` share")


def test_a_gap_around_the_tolerance_is_not_resolved(tmp_path: Path) -> None:
    entries = [method_entry("smooth-0", "free", seed) for seed in range(5)]
    write_plan(tmp_path, entries, **experiment(("free",)))
    for entry, last in zip(entries, (0.02, 0.04, 0.05, 0.06, 0.09), strict=True):
        write_method_run(tmp_path, entry, last)
    found = findings(*read(tmp_path))
    assert "`free` is within 0.05 of an equilibrium is not resolved on smooth-0" in " ".join(
        found.cannot
    )
    assert "`free`" not in " ".join(found.can)


@pytest.mark.parametrize(
    ("last", "can", "cannot"),
    [
        (0.02, "is that of its tilted reference, within 0.05", ""),
        (0.2, "stays farther than 0.05", "is not shown to be that of its tilted reference"),
    ],
)
def test_the_tilted_reference_is_checked_by_numbers(
    last: float, can: str, cannot: str, tmp_path: Path
) -> None:
    group = "bradley_terry-0"
    entries = [method_entry(group, name, seed) for seed in range(5) for name in ("mpo", "ppo")]
    write_plan(tmp_path, entries, **experiment(("mpo", "ppo")))
    for entry in entries:
        write_method_run(tmp_path, entry, last + 0.001 * entry["seed"])
    found = findings(*read(tmp_path))
    assert can in " ".join(found.can) and cannot in " ".join(found.cannot)
    assert bool(cannot) == ("tilted reference" not in " ".join(found.can))


@pytest.mark.parametrize(
    ("deviation", "distance", "reached", "words"),
    [
        (0.03, 0.03, True, "`ppo`: 5 runs ended within 0.05 of the gap of the solution"),
        (0.03, 0.4, False, "the gaps agree, the policies do not"),
        (0.2, 0.03, False, "5 of 5 runs ended farther than 0.05"),
    ],
)
def test_own_targets_are_reached_or_not_by_numbers(
    deviation: float, distance: float, reached: bool, words: str, tmp_path: Path
) -> None:
    entries = [method_entry("smooth-0", "ppo", seed) for seed in range(5)]
    write_plan(tmp_path, entries, **experiment(("ppo",)))
    for entry in entries:
        write_method_run(tmp_path, entry, 0.3 + deviation)
        file = tmp_path / "runs" / entry["name"] / "result.json"
        result = json.loads(file.read_text("utf-8"))
        result["metrics"]["tv_target"] = distance
        file.write_text(json.dumps(result), "utf-8")
    found = findings(*read(tmp_path))
    assert words in " ".join(found.can if reached else found.cannot)
    assert words not in " ".join(found.cannot if reached else found.can)
