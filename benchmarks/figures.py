"""Writes the figures of a plan: which there are, and where they lie."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.atomic import written_aside
from benchmarks.best_alpha import is_sweep
from benchmarks.comparison_figures import gap_by_samples, last_gaps
from benchmarks.exact_rows import TASK as EXACT
from benchmarks.gap_figures import gap_of_game, gap_of_games, runs_of
from benchmarks.language_figures import win_rates
from benchmarks.plan_results import PlanResults
from benchmarks.rows import find
from benchmarks.sweep_figures import gap_by_alpha
from benchmarks.trials import is_tuning


def draw_figures(table: pd.DataFrame, results: PlanResults) -> list[str]:
    """Write the figures the plan has numbers for; returns their names in the plan's folder."""
    figures: dict[str, Figure] = {}
    if not is_tuning(results):
        figures |= _exact_figures(table, results)
        for task in results.tasks():
            for group in results.groups(task) if task != EXACT else []:
                if any(find(table, group, variant, "win_rate") for variant in results.variants()):
                    figures["win_rates"] = win_rates(table, results, group)
    folder = results.folder / "figures"
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        with written_aside(folder / f"{name}.png") as aside:
            figure.savefig(aside, dpi=150)
    return [f"figures/{name}.png" for name in figures]


def _exact_figures(table: pd.DataFrame, results: PlanResults) -> dict[str, Figure]:
    groups = [group for group in results.groups(EXACT) if runs_of(results, group)]
    if not groups:
        return {}
    if is_sweep(results):
        return {"gap_by_alpha": gap_by_alpha(table, results)}
    if results.kind == "experiment":
        return {
            "gap_by_samples": gap_by_samples(results, groups),
            "last_gaps": last_gaps(table, results, groups),
        }
    each = {f"gap_{group}": gap_of_game(results, group) for group in groups}
    return {"gap_all": gap_of_games(results, groups), **each}


def figure_paths(folder: Path) -> list[Path]:
    """The figures that a plan's folder holds."""
    return sorted((folder / "figures").glob("*.png"))
