"""The paper's ablations beside what was measured: agreement, contradiction, and neither."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.aggregate import collect
from benchmarks.paper_claims import CLAIMS, paper_sentences
from benchmarks.plan_results import read_plan
from benchmarks.report import report_markdown
from tests.benchmarks.comparison_folder import method_entry, write_method_run
from tests.benchmarks.plan_folder import write_plan

CASES: dict[str, tuple[Any, Any]] = {
    "proximal": ("kl", "clip"),
    "magnet_interval": (15, None),
    "self_play": (True, False),
}
"""Setting of the method: the value that the paper finds better, and the worse one."""


def ablation(
    folder: Path,
    setting: str,
    gaps: tuple[float, float],
    seeds: int = 5,
    swapped: bool = False,
    **other: Any,
) -> list[str]:
    """The sentences about a pair of variants with these gaps, the better one by the paper first.

    other are settings that the worse one has as well.
    """
    entries, lasts = [], []
    for seed in range(seeds):
        for name, value, gap in zip(("good", "bad"), CASES[setting], gaps, strict=True):
            entry = method_entry("smooth-0", "mpo", seed)
            entry["config"]["method"] |= {setting: value} | (other if name == "bad" else {})
            entry["config"]["variant"] = name
            entries.append(entry | {"variant": name, "name": f"exact-{name}-s{seed}"})
            lasts.append(gap + 0.001 * seed + (0.0005 * seed if name == "bad" else 0))
    pair = ["bad", "good"] if swapped else ["good", "bad"]
    write_plan(folder, entries, compare=[pair])
    for entry, last in zip(entries, lasts, strict=True):
        write_method_run(folder, entry | {"variant": "mpo"}, last)
    results = read_plan(folder)
    return paper_sentences(collect(results), results)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("setting", CASES)
def test_agreement_is_said(setting: str, swapped: bool, tmp_path: Path) -> None:
    (sentence,) = ablation(tmp_path, setting, (0.1, 0.3), swapped=swapped)
    claim = next(claim for claim in CLAIMS if claim.setting == setting)
    assert claim.source in sentence and "agrees on smooth-0 (" in sentence
    assert "NOT agree" not in sentence and "`good` expected to be lower" in sentence


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("setting", CASES)
def test_contradiction_is_said(setting: str, swapped: bool, tmp_path: Path) -> None:
    (sentence,) = ablation(tmp_path, setting, (0.3, 0.1), swapped=swapped)
    assert "does NOT agree in kind on smooth-0 (" in sentence
    assert "where `bad` has the lower gap" in sentence and "it agrees" not in sentence


def test_too_few_seeds_decide_nothing(tmp_path: Path) -> None:
    (sentence,) = ablation(tmp_path, "proximal", (0.1, 0.3), seeds=2)
    assert "decides nothing on smooth-0" in sentence


def test_the_report_has_a_section_of_its_own(tmp_path: Path) -> None:
    ablation(tmp_path, "self_play", (0.3, 0.1))
    results = read_plan(tmp_path)
    report = report_markdown(collect(results), results, [])
    assert "## Beside the paper's ablations" in report and 'rows "wo. SP"' in report


def test_a_pair_that_differs_in_more_is_no_test_of_the_claim(tmp_path: Path) -> None:
    assert ablation(tmp_path, "proximal", (0.1, 0.3), alpha=0.5) == []


def test_a_pair_that_does_not_differ_in_a_claims_setting_says_nothing(tmp_path: Path) -> None:
    entries = [method_entry("smooth-0", name, seed) for seed in range(5) for name in ("mpo", "ppo")]
    write_plan(tmp_path, entries, compare=[["mpo", "ppo"]])
    for entry in entries:
        write_method_run(tmp_path, entry)
    results = read_plan(tmp_path)
    assert paper_sentences(collect(results), results) == []
    assert "Beside the paper" not in report_markdown(collect(results), results, [])
