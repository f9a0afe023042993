"""A sweep over alpha: its tables, sentences and figure, and the report that quotes it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.aggregate import collect
from benchmarks.figures import draw_figures
from benchmarks.findings import findings
from benchmarks.footnotes import footnotes
from benchmarks.plan_results import PlanResults, read_plan
from benchmarks.render import console_text
from benchmarks.report import best_alpha_text, report_markdown
from tests.benchmarks.plan_folder import (
    exact_entry,
    exact_plan,
    write_exact_run,
    write_plan,
)

Read = tuple[pd.DataFrame, PlanResults]


@pytest.fixture
def sweep(tmp_path: Path) -> Read:
    """A sweep over three alphas on one game, reported on five seeds."""
    alphas = (0.05, 0.1, 0.2)
    entries = [
        exact_entry("smooth-0", f"{family}_alpha{alpha}", seed, alpha=alpha)
        for seed in range(7)
        for alpha in alphas
        for family in ("moving", "fixed")
    ]
    pairs = [[f"moving_alpha{alpha}", f"fixed_alpha{alpha}"] for alpha in alphas]
    select = {"seeds": [0, 1], "report": [2, 3, 4, 5, 6]}
    write_plan(tmp_path, entries, name="alpha", compare=pairs, select=select)
    for entry in entries:
        alpha = entry["config"]["method"]["alpha"]
        fixed = entry["variant"].startswith("fixed")
        gap = 2 * alpha if fixed else 0.03 + abs(alpha - 0.1)
        write_exact_run(tmp_path, entry, last=gap + entry["seed"] / 1000)
    results = read_plan(tmp_path)
    return collect(results), results


def test_a_sweep_reads_by_alpha_and_at_each_variants_best(sweep: Read) -> None:
    text = console_text(*sweep)
    assert "duality gap of the last iterate by alpha" in text
    assert "Each variant at its own best alpha" in text
    can = " ".join(findings(*sweep).can)
    assert "on smooth-0: `moving` 0.034 (α = 0.1) and `fixed` 0.104 (α = 0.05, the end of" in can
    assert "The last iterate of `moving` at its own best α has a lower duality gap" in can
    assert draw_figures(*sweep) == ["figures/gap_by_alpha.png"]
    assert "α as in the table" in footnotes(*sweep)[0]


def test_a_sweep_without_its_runs_says_so(tmp_path: Path) -> None:
    entries = [
        exact_entry("smooth-0", "moving_alpha0.1", 0),
        exact_entry("smooth-0", "fixed_alpha0.1", 0),
    ]
    select = {"seeds": [0], "report": [1]}
    write_plan(tmp_path, entries, compare=[["moving_alpha0.1", "fixed_alpha0.1"]], select=select)
    empty = read_plan(tmp_path)
    assert draw_figures(collect(empty), empty) == []
    write_exact_run(tmp_path, entries[0], last=0.1)
    results = read_plan(tmp_path)
    cannot = " ".join(findings(collect(results), results).cannot)
    assert "On smooth-0 not every variant has a best α: runs are missing." in cannot


def test_the_report_takes_best_alphas_from_the_other_ablation(tmp_path: Path, sweep: Read) -> None:
    exact_plan(tmp_path / "plan", ("smooth-0",), seeds=2)
    results = read_plan(tmp_path / "plan")
    table = collect(results)
    alpha_table = tmp_path / "alpha.csv"
    heading = "At each variant's own best α"
    assert heading not in report_markdown(table, results, [], alpha_table)
    sweep[0].to_csv(alpha_table, index=False)
    report = report_markdown(table, results, [], alpha_table)
    assert heading in report
    assert "- smooth-0: `moving` 0.034 [0.03" in report and "at α = 0.1 (5 seeds)" in report
    assert "one α for all games, their mean: `moving`" in best_alpha_text(sweep[0])
