"""A row of table.csv: one number with its interval and the runs that it comes from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from benchmarks.intervals import Difference, Interval
from benchmarks.plan_results import RunResult


class Row(NamedTuple):
    """One number.

    versus names the other variant of a comparison (or `initial`), else it is empty. low and high
    are the ends of a 95 % interval over unit_of_interval (seeds or prompts), nan without one;
    n counts these units. seed_values lists every seed's own value as `seed=value`.
    """

    task: str
    group: str
    variant: str
    versus: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    unit_of_interval: str
    seed_values: str
    runs: str
    footnote: str


COLUMNS = list(Row._fields)
TEXT_COLUMNS = [name for name, kind in Row.__annotations__.items() if kind == "str"]


def to_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """The rows as a data frame with the columns of table.csv."""
    return pd.DataFrame(list(rows), columns=COLUMNS)


def read_table(file: Path) -> pd.DataFrame:
    """Read a table.csv; empty cells of text columns are empty strings, others nan."""
    return pd.read_csv(
        file,
        dtype=dict.fromkeys(TEXT_COLUMNS, str),
        keep_default_na=False,
        na_values={column: [""] for column in ("value", "low", "high")},
    )


def find(
    table: pd.DataFrame, group: str, variant: str, metric: str, versus: str = ""
) -> Interval | None:
    """The number of a group, variant and metric, or None where the table has none."""
    hit = table[
        (table["group"] == group)
        & (table["variant"] == variant)
        & (table["metric"] == metric)
        & (table["versus"] == versus)
    ]
    if hit.empty:
        return None
    row = hit.iloc[0]
    return Interval(float(row["value"]), float(row["low"]), float(row["high"]), int(row["n"]))


def note_of(table: pd.DataFrame, group: str, variant: str, metric: str) -> str:
    """The footnote of a number without a rival; empty where the table has none."""
    hit = table[
        (table["group"] == group)
        & (table["variant"] == variant)
        & (table["metric"] == metric)
        & (table["versus"] == "")
    ]
    return "" if hit.empty else str(hit.iloc[0]["footnote"])


def find_difference(
    table: pd.DataFrame, group: str, first: str, second: str, metric: str
) -> Difference | None:
    """The paired difference first - second of a metric, or None where the table has none."""
    bootstrap = find(table, group, first, f"{metric}_difference", second)
    student = find(table, group, first, f"{metric}_difference_student", second)
    detectable = find(table, group, first, f"{metric}_minimum_detectable", second)
    if bootstrap is None or student is None or detectable is None:
        return None
    hit = table[(table["group"] == group) & (table["variant"] == first)]
    hit = hit[(hit["metric"] == f"{metric}_difference") & (hit["versus"] == second)]
    unit = str(hit.iloc[0]["unit_of_interval"])
    return Difference(*bootstrap, student.low, student.high, detectable.value, unit)


def row(
    run_group: tuple[str, str],
    variant: str,
    metric: str,
    interval: Interval,
    runs: Sequence[RunResult],
    unit: str = "seeds",
    versus: str = "",
    seed_values: str = "",
    footnote: str = "",
) -> Row:
    """A row of the (task, group) run_group."""
    task, group = run_group
    return Row(
        task,
        group,
        variant,
        versus,
        metric,
        *interval,
        unit,
        seed_values,
        " ".join(run.name for run in runs),
        footnote,
    )


def difference_rows(
    run_group: tuple[str, str],
    pair: tuple[str, str],
    metric: str,
    difference: Difference,
    runs: Sequence[RunResult],
    unit: str = "seeds",
    seed_values: str = "",
) -> list[Row]:
    """The three rows that `find_difference` reads back."""
    first, second = pair
    bootstrap = Interval(difference.value, difference.low, difference.high, difference.n)
    student = bootstrap._replace(low=difference.student_low, high=difference.student_high)
    detectable = Interval(difference.minimum_detectable, math.nan, math.nan, difference.n)
    return [
        row(
            run_group,
            first,
            f"{metric}_difference",
            bootstrap,
            runs,
            unit,
            second,
            seed_values,
            "bootstrap, paired",
        ),
        row(
            run_group,
            first,
            f"{metric}_difference_student",
            student,
            runs,
            unit,
            second,
            footnote="Student's t, paired",
        ),
        row(
            run_group,
            first,
            f"{metric}_minimum_detectable",
            detectable,
            runs,
            unit,
            second,
            footnote="smallest difference seen with 80 % power at 5 %",
        ),
    ]


def by_seed(runs: Iterable[RunResult], values: Iterable[float]) -> str:
    """Every seed's own value, as `0=0.031 1=0.028`."""
    return " ".join(f"{run.seed}={value:.6g}" for run, value in zip(runs, values, strict=True))
