"""Renders a plan's table.csv: table.md, figures, report.md, and the console's table."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pandas as pd

from benchmarks.atomic import write_text
from benchmarks.blocks import blocks
from benchmarks.figures import draw_figures
from benchmarks.footnotes import footnotes, state_notes
from benchmarks.plan_results import PlanResults, read_plan
from benchmarks.report import report_markdown
from benchmarks.rows import read_table


def render(folder: Path) -> None:
    """Write table.md, figures/*.png and report.md from table.csv and the runs' curves.

    Raises PlanError when the folder holds no plan, FileNotFoundError when no table.csv.
    """
    results = read_plan(folder)
    table = _table(folder)
    write_text(folder / "table.md", table_markdown(table, results))
    figures = draw_figures(table, results)
    write_text(folder / "report.md", report_markdown(table, results, figures))


def table_markdown(table: pd.DataFrame, results: PlanResults) -> str:
    """The blocks and footnotes as markdown."""
    parts = [f"# {results.plan['title']}"]
    for block in blocks(table, results):
        parts += [f"## {block.title}", block.frame.to_markdown(index=False, disable_numparse=True)]
    notes = "\n".join(f"- {note}" for note in footnotes(table, results))
    return "\n\n".join([*parts, "## Notes", notes]) + "\n"


def console_table(folder: Path) -> str:
    """The blocks of the folder's table.csv as plain text for a terminal.

    Raises PlanError when the folder holds no plan, FileNotFoundError when no table.csv.
    """
    return console_text(_table(folder), read_plan(folder))


def console_text(table: pd.DataFrame, results: PlanResults) -> str:
    """The blocks as plain text, and a line for each run that failed or is missing."""
    notes = [textwrap.shorten(note, 200, placeholder=" …") for note in state_notes(results)]
    return "\n\n".join([blocks_text(table, results), "\n".join(notes)]).strip()


def blocks_text(table: pd.DataFrame, results: PlanResults) -> str:
    """The blocks alone as plain text; empty when the table is."""
    return "\n\n".join(
        f"{block.title}\n"
        + block.frame.to_markdown(index=False, tablefmt="simple", disable_numparse=True)
        for block in blocks(table, results)
    )


def _table(folder: Path) -> pd.DataFrame:
    file = folder / "table.csv"
    if not file.is_file():
        raise FileNotFoundError(
            f"{file}: not there yet; python benchmarks/run.py aggregate {folder} writes it"
        )
    return read_table(file)
