"""Turns a plan's folder into table.csv, table.md, figures and report.md.

Works on a plan of which some runs are missing or failed: they are named in the footnotes.
"""

from __future__ import annotations

import functools
from pathlib import Path

import pandas as pd

from benchmarks.atomic import write_text
from benchmarks.best_alpha import best_alpha_rows
from benchmarks.contests import Panel, PanelMaker
from benchmarks.exact_rows import TASK as EXACT
from benchmarks.exact_rows import exact_rows
from benchmarks.language_rows import language_rows
from benchmarks.plan_results import PlanResults, read_plan
from benchmarks.render import blocks_text, render
from benchmarks.rows import to_frame
from benchmarks.trials import trial_rows, write_best


def aggregate(folder: Path, panel: PanelMaker | None = None) -> pd.DataFrame:
    """Write table.csv, all that is rendered from it, and TensorBoard's part; returns the table.

    A plan of `tune` also gets best.yaml.

    panel makes the judge of the language tasks' contests (default: the plan's, the annotator
    panel); it is called only when a contest is not yet in the folder. Raises PlanError
    when the folder holds no plan.
    """
    results = read_plan(folder)
    table = collect(results, panel)
    write_text(folder / "table.csv", table.to_csv(index=False))
    write_best(folder, table, results)
    render(folder)
    # Imported here because torch is slow to import and table_so_far has no need of it.
    from benchmarks.tensorboard_export import write_figures_to_tensorboard

    write_figures_to_tensorboard(folder)
    return table


def collect(results: PlanResults, panel: PanelMaker | None = None) -> pd.DataFrame:
    """All rows of the plan's finished runs, as a data frame with the columns of table.csv."""
    maker = functools.cache(panel or annotator_panel)  # a panel loads a model: once is enough
    rows = exact_rows(results) + best_alpha_rows(results)
    for task in results.tasks():
        if task != EXACT:
            rows += language_rows(results, task, maker)
    return to_frame(rows + trial_rows(results, rows))


def table_so_far(folder: Path) -> str:
    """The exact task's table of the runs that are done, as text for a terminal; writes nothing."""
    results = read_plan(folder)
    rows = exact_rows(results)
    return blocks_text(to_frame(rows + trial_rows(results, rows)), results)


def annotator_panel() -> Panel:
    """The panel of annotators that judges the language tasks."""
    from mpo.judges.annotators import AnnotatorPanel

    return AnnotatorPanel()
