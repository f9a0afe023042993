"""A block of table.md and of the console's table, and the cells of a paired difference."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from benchmarks.intervals import Interval
from benchmarks.rows import find, find_difference
from benchmarks.verdicts import verdict
from benchmarks.wording import number


class Block(NamedTuple):
    """A titled table of text cells."""

    title: str
    frame: pd.DataFrame


def difference_cells(
    table: pd.DataFrame, group: str, pair: tuple[str, str], metric: str
) -> dict[str, str] | None:
    """The cells of a pair's difference on a group; None where the table has none."""
    first, second = pair
    difference = find_difference(table, group, first, second, metric)
    if difference is None:
        return None
    interval = Interval(*difference[:4])
    return {
        "game": group,
        "comparison": f"{first} - {second}",
        "difference": number(interval),
        "ratio": number(find(table, group, first, f"{metric}_ratio", second), 2),
        "could have seen": number(
            find(table, group, first, f"{metric}_minimum_detectable", second)
        ),
        "verdict": verdict(difference, first),
    }


def frame_of(rows: list[dict[str, str] | None]) -> pd.DataFrame:
    """The rows that there are, as a frame."""
    return pd.DataFrame([row for row in rows if row is not None])
