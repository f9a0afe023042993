"""Blocks by round: what each round of self-play reaches, as the paper's Iter.1, Iter.2, … rows."""

from __future__ import annotations

import re

import pandas as pd

from benchmarks.block import Block
from benchmarks.plan_results import PlanResults
from benchmarks.rows import find
from benchmarks.wording import number, point

METRICS = ("gap_last", "win_rate")
WIDEST = 4
"""Rounds whose intervals fit beside one another on a terminal."""


def round_blocks(table: pd.DataFrame, results: PlanResults, task: str) -> list[Block]:
    """A block a group: a row a variant, a column a round. None for runs of one round."""
    found = []
    for group in results.groups(task):
        for metric in METRICS:
            rounds = _rounds(table, group, metric)
            narrow = len(rounds) > WIDEST
            rows = []
            for variant in results.variants():
                values = [find(table, group, variant, f"{metric}_round{r}") for r in rounds]
                if any(values):
                    cells = {
                        str(r) if narrow else f"round {r}": point(value)
                        if narrow
                        else number(value)
                        for r, value in zip(rounds, values, strict=True)
                    }
                    rows.append({"variant": variant, **cells})
            note = " (intervals: table.csv)" if narrow else ""
            title = f"{group}: {metric} at the end of each round{note}"
            found.append(Block(title, pd.DataFrame(rows)))
    return found


def _rounds(table: pd.DataFrame, group: str, metric: str) -> list[int]:
    own = table[table["group"] == group]["metric"]
    hits = (re.fullmatch(rf"{metric}_round(\d+)", name) for name in own)
    return sorted({int(hit[1]) for hit in hits if hit})
