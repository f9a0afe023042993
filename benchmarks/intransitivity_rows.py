"""Rows of the panel's own consistency: how often it prefers in a cycle."""

from __future__ import annotations

import math

from benchmarks.contests import PanelMaker, intransitivity
from benchmarks.intervals import Interval, mean_interval
from benchmarks.plan_results import INITIAL, PlanResults
from benchmarks.rows import Row, row


def intransitivity_rows(
    place: tuple[str, str], results: PlanResults, panel: PanelMaker
) -> list[Row]:
    """The panel's share of intransitive triples, and what it would be by chance."""
    table = intransitivity(results, place[0], panel)
    if table.empty:
        return []
    runs = results.done(place[0], INITIAL) + results.done(place[0])
    k = int(table["responses"].iloc[0])
    note = f"triples among the {k} responses of all runs to a prompt; ties count as transitive"
    random_share = Interval(float(table["random_share"].iloc[0]), math.nan, math.nan, 0)
    measured = mean_interval(table["share"].to_numpy())
    return [
        row(place, "", "intransitive_share", measured, runs, "prompts", footnote=note),
        row(
            place,
            "",
            "intransitive_share_random",
            random_share,
            [],
            "",
            footnote="as many annotators who know nothing of each other, each with its own ties",
        ),
    ]
