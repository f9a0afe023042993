"""figure1.csv, table.md and the sentences of `experiment=figure1`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from benchmarks.block import Block
from benchmarks.intervals import Interval, mean_interval
from benchmarks.theory.poker.runs import Curve
from benchmarks.wording import counted, listed, number

AVERAGED = ("cfr_plus",)
"""Methods of which the average plan is the result."""


class Published(NamedTuple):
    """Exploitability of a neural policy gradient with a moving magnet, five seeds."""

    mean: float
    spread: float


PUBLISHED = {"kuhn_poker": Published(0.041, 0.009), "leduc_poker": Published(0.478, 0.066)}
"""As reported in OpenSpiel's repository; the budget is not stated there."""


class Ending(NamedTuple):
    """Where the runs of a method ended, over the seeds."""

    method: str
    neural: bool
    budget: int
    """Episodes of a neural method, oracle calls of a tabular one."""
    seconds: float
    """CPU seconds a run, mean."""
    gap: Interval
    """Duality gap (NashConv), of the average plan for AVERAGED, else of the last iterate."""
    exploitability: Interval
    """Half of it."""
    spread: float
    """Standard deviation of the exploitability; nan for one seed."""


def gaps(curve: Curve) -> list[float]:
    """The gap that counts for the method."""
    return curve.gap_average if curve.method in AVERAGED and curve.gap_average else curve.gap_last


def endings(curves: Sequence[Curve]) -> list[Ending]:
    """An ending for each method, in their order."""
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        groups.setdefault(curve.method, []).append(curve)
    return [_ending(method, group) for method, group in groups.items()]


def _ending(method: str, group: Sequence[Curve]) -> Ending:
    last = [gaps(curve)[-1] for curve in group]
    half = pd.Series(last) / 2
    first = group[0]
    budget = first.episodes or first.oracle_calls
    assert budget is not None
    return Ending(
        method,
        first.episodes is not None,
        budget[-1],
        mean_interval([curve.seconds[-1] for curve in group]).value,
        mean_interval(last),
        mean_interval(half),
        float(half.std()),
    )


def csv_rows(curves: Sequence[Curve]) -> list[dict[str, object]]:
    """A row a measurement: method, seed, iteration, oracle_calls, episodes, seconds, gaps."""
    rows = []
    for curve in curves:
        for place, iteration in enumerate(curve.iterations):
            rows.append(
                {
                    "method": curve.method,
                    "seed": curve.seed,
                    "iteration": iteration,
                    "oracle_calls": _at(curve.oracle_calls, place),
                    "episodes": _at(curve.episodes, place),
                    "seconds": curve.seconds[place],
                    "gap_last": curve.gap_last[place],
                    "gap_average": _at(curve.gap_average, place),
                    "exploitability": gaps(curve)[place] / 2,
                }
            )
    return rows


def _at(values: Sequence[float] | None, place: int) -> float | str:
    return "" if values is None else values[place]


def block(game: str, found: Sequence[Ending]) -> Block:
    """Where every method ended."""
    seeds = found[0].gap.n
    rows = [
        {
            "method": ending.method,
            "budget": f"{ending.budget:,} {'episodes' if ending.neural else 'oracle calls'}",
            "CPU seconds": f"{ending.seconds:.3g}",
            "iterate": "average" if ending.method in AVERAGED else "last",
            "duality gap": _digits(ending.gap),
            "exploitability": _digits(ending.exploitability),
        }
        for ending in found
    ]
    return Block(f"{game}: after the budget, {counted(seeds, 'seed')}", pd.DataFrame(rows))


def _digits(interval: Interval) -> str:
    """More places where the value is small."""
    if 0 < interval.value < 1e-3:
        return f"{interval.value:.1e}"
    return number(interval, 4)


def sentences(game: str, found: Sequence[Ending]) -> list[str]:
    """What the table shows."""
    lines = []
    neural = sorted((e for e in found if e.neural), key=lambda e: e.exploitability.value)
    tables = sorted((e for e in found if not e.neural), key=lambda e: e.gap.value)
    if neural:
        ranked = [f"`{e.method}` {_digits(e.exploitability)}" for e in neural]
        lines.append(
            f"Exploitability of the neural policies on {game} after {neural[0].budget:,} "
            f"episodes: {listed(ranked)}."
        )
    if tables:
        ranked = [f"`{e.method}` {e.gap.value:.2g}" for e in tables]
        lines.append(
            f"Duality gap of the tabular methods after {tables[0].budget:,} passes over the whole "
            f"tree: {listed(ranked)}."
        )
    mine = [ending for ending in neural if ending.method == "neural_mpo"]
    if game in PUBLISHED and mine:
        published, own = PUBLISHED[game], mine[0]
        side = "below" if own.exploitability.value < published.mean else "not below"
        spread = "" if math.isnan(own.spread) else f" ± {own.spread:.4f}"
        lines.append(
            f"`neural_mpo` at {own.exploitability.value:.4f}{spread} is {side} the "
            f"{published.mean} ± {published.spread} published for a neural policy gradient with a "
            "moving magnet (OpenSpiel's repository, 5 seeds, budget unknown); ± is the standard "
            "deviation over the seeds."
        )
    return lines


def notes(found: Sequence[Ending]) -> list[str]:
    """The footnotes."""
    lines = [
        "duality gap: NashConv, max_x u(x, π_1) − min_y u(π_0, y), exact, in the game's chips; "
        "exploitability: half of it",
        "CPU seconds are those of a run by itself, without measuring; a tabular step's time is a "
        "mean",
    ]
    if found[0].gap.n > 1:
        lines.append("brackets: 95 % bootstrap interval of the mean over the seeds")
    if any(ending.neural for ending in found):
        lines.append(
            "a neural method samples episodes of its policy in both seats and knows payoffs of "
            "these alone; both seats of each episode train"
        )
    return lines
