"""Sentences about a comparison of methods: which come to an equilibrium, on which kind of game."""

from __future__ import annotations

import pandas as pd

from benchmarks.exact_rows import TASK
from benchmarks.intervals import Interval
from benchmarks.plan_results import PlanResults
from benchmarks.rows import find, note_of
from benchmarks.target_rows import DEVIATION_TOLERANCE
from benchmarks.verdicts import MINIMUM_SEEDS
from benchmarks.wording import listed, number

BRADLEY_TERRY = "bradley_terry"
TILTED = "tilted reference"


def add_comparison(
    can: list[str], cannot: list[str], table: pd.DataFrame, results: PlanResults
) -> None:
    """Add a comparison's sentences on the exact task; nothing for other kinds of plan."""
    if results.kind != "experiment":
        return
    for variant in results.variants():
        _add_places(can, cannot, table, results, variant)
    _add_few(cannot, table, results)
    for group in bradley_terry_games(results):
        for variant in results.variants():
            if note_of(table, group, variant, "gap_target") == TILTED:
                _add_tilted(can, cannot, table, group, variant)


def bradley_terry_games(results: PlanResults) -> list[str]:
    """The games whose preferences are a Bradley-Terry model's: a reward explains them."""
    runs = [run for run in results.runs if run.task == TASK]
    return list(
        dict.fromkeys(r.group for r in runs if r.config["task"].get("kind") == BRADLEY_TERRY)
    )


def _add_places(
    can: list[str], cannot: list[str], table: pd.DataFrame, results: PlanResults, variant: str
) -> None:
    """On which games the variant's last iterate is close to an equilibrium, and on which not."""
    near: list[str] = []
    away: list[str] = []
    open_: list[str] = []
    for group in results.groups(TASK):
        gap = find(table, group, variant, "gap_last")
        if gap is None or gap.n < MINIMUM_SEEDS:
            continue
        kind = note_of(table, group, "", "equilibrium_support").partition(";")[0]
        place = f"{group} ({kind}, {number(gap)})"
        side = _side(gap)
        (near if side == "near" else away if side == "away" else open_).append(place)
    parts = []
    if near:
        parts.append(f"comes within {DEVIATION_TOLERANCE:g} of an equilibrium on {listed(near)}")
    if away:
        farther = "away" if near else f"than {DEVIATION_TOLERANCE:g} from an equilibrium"
        parts.append(f"stays farther {farther} on {listed(away)}")
    if parts:
        can.append(f"The last iterate of `{variant}` {' and '.join(parts)}.")
    if open_:
        cannot.append(
            f"Whether the last iterate of `{variant}` is within {DEVIATION_TOLERANCE:g} of an "
            f"equilibrium is not resolved on {listed(open_)}: its interval holds "
            f"{DEVIATION_TOLERANCE:g}."
        )


def _add_few(cannot: list[str], table: pd.DataFrame, results: PlanResults) -> None:
    """The variants whose distance from an equilibrium too few seeds tell, in one sentence."""
    few = []
    for variant in results.variants():
        gaps = [find(table, group, variant, "gap_last") for group in results.groups(TASK)]
        if any(gap.n < MINIMUM_SEEDS for gap in gaps if gap):
            few.append(f"`{variant}`")
    if few:
        cannot.append(
            f"Whether the last iterate is within {DEVIATION_TOLERANCE:g} of an equilibrium is not "
            f"claimed of {listed(few)} where there are fewer than {MINIMUM_SEEDS} seeds."
        )


def _side(gap: Interval) -> str:
    """near | away | open: where the whole interval lies beside the tolerance."""
    if gap.high <= DEVIATION_TOLERANCE:
        return "near"
    return "away" if gap.low > DEVIATION_TOLERANCE else "open"


def _add_tilted(
    can: list[str], cannot: list[str], table: pd.DataFrame, group: str, variant: str
) -> None:
    """Is the gap on a Bradley-Terry game that of the tilted reference?"""
    last = find(table, group, variant, "gap_last")
    target = find(table, group, variant, "gap_target")
    difference = find(table, group, variant, "gap_deviation")
    if last is None or target is None or difference is None:
        return
    numbers = (
        f"{number(last)} against {target.value:.3f}, difference {number(difference)}, "
        f"{difference.n} seeds"
    )
    if difference.n < MINIMUM_SEEDS:
        cannot.append(
            f"On {group} `{variant}` has fewer than {MINIMUM_SEEDS} seeds: whether its gap is that "
            f"of its {TILTED} is not claimed ({numbers})."
        )
    elif difference.low >= -DEVIATION_TOLERANCE and difference.high <= DEVIATION_TOLERANCE:
        can.append(
            f"On {group}, where a reward explains the preferences, the gap of `{variant}` is that "
            f"of its {TILTED}, within {DEVIATION_TOLERANCE:g} ({numbers})."
        )
    else:
        cannot.append(
            f"On {group} the gap of `{variant}` is not shown to be that of its {TILTED} within "
            f"{DEVIATION_TOLERANCE:g} ({numbers})."
        )
