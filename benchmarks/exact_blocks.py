"""Blocks of the exact task: duality gaps, each variant's own target, paired differences."""

from __future__ import annotations

import pandas as pd

from benchmarks.block import Block, difference_cells, frame_of
from benchmarks.exact_rows import TASK
from benchmarks.plan_results import PlanResults
from benchmarks.rows import find, note_of
from benchmarks.wording import NONE, number, point


def exact_blocks(table: pd.DataFrame, results: PlanResults) -> list[Block]:
    """The gaps of every game, and the paired differences of all pairs to compare."""
    pairs = [
        difference_cells(table, group, pair, "gap_last")
        for group in results.groups(TASK)
        for pair in results.pairs()
    ]
    metrics = set(table["metric"])
    if "gap_regularised" in metrics and "gap_target" not in metrics:
        gaps = [_gaps_block(table, results)]
    else:
        gaps = [_targets_block(table, results, group) for group in results.groups(TASK)]
    return [*gaps, Block("Exact task: paired differences over seeds", frame_of(pairs))]


def _targets_block(table: pd.DataFrame, results: PlanResults, group: str) -> Block:
    """A game's gaps beside the gap of each variant's own target."""
    rows = []
    for variant in results.variants():
        last = find(table, group, variant, "gap_last")
        if last is not None:
            rows.append(
                {
                    "variant": variant,
                    "gap_last": number(last),
                    "gap_average": number(find(table, group, variant, "gap_average")),
                    "own target": note_of(table, group, variant, "gap_target") or NONE,
                    "gap_target": point(find(table, group, variant, "gap_target")),
                    "tv_target": point(find(table, group, variant, "tv_target")),
                    "seeds": str(last.n),
                }
            )
    title = f"{group} ({_support(table, group)}): duality gap, 0 is an equilibrium"
    return Block(title, pd.DataFrame(rows))


def _gaps_block(table: pd.DataFrame, results: PlanResults) -> Block:
    """The gaps of all games beside the regularised equilibrium's.

    Of results that were written before own targets were recorded.
    """
    rows = []
    for group in results.groups(TASK):
        label = f"{group} ({_support(table, group)})"
        for variant in results.variants():
            last = find(table, group, variant, "gap_last")
            if last is None:
                continue
            rows.append(
                {
                    "game (equilibrium's support by prompt)": label,
                    "variant": variant,
                    "gap_last": number(last),
                    "gap_average": number(find(table, group, variant, "gap_average")),
                    "gap_regularised": number(find(table, group, variant, "gap_regularised")),
                    "seeds": str(last.n),
                }
            )
            label = ""
    return Block("Exact task: duality gap, 0 is an equilibrium", pd.DataFrame(rows))


def _support(table: pd.DataFrame, group: str) -> str:
    note = note_of(table, group, "", "equilibrium_support")
    if not note:
        return NONE
    kind, _, sizes = note.partition("; support per prompt ")
    return f"{kind}: {sizes}"
