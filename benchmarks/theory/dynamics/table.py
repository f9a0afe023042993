"""table.csv and table.md of `experiment=dynamics`: what share is solved, and at what price."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.block import Block
from benchmarks.intervals import Interval, mean_interval, share_interval
from benchmarks.theory.dynamics.rows import TOLERANCES, Row
from benchmarks.wording import share


class Summary(NamedTuple):
    """One method on one game, over its seeds."""

    game: str
    method: str
    solved: dict[str, Interval]
    """Tolerance to the share whose last iterate came within it and stayed; Wilson's interval."""
    median: dict[str, float]
    """Tolerance to the median of the oracle calls to it; infinite where half were never there."""
    ninth: dict[str, float]
    """The same, 90th percentile."""
    gap_last: Interval
    """Mean over the seeds, with its bootstrap interval."""
    gap_average: Interval
    gap_last_median: float
    gap_average_median: float
    diverged: int


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """A summary for each game and method, in their order."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.game, row.method), []).append(row)
    return [_summary(game, method, group) for (game, method), group in groups.items()]


def _summary(game: str, method: str, rows: Sequence[Row]) -> Summary:
    calls = {
        tolerance: [row.calls_to[place] for row in rows]
        for place, tolerance in enumerate(TOLERANCES)
    }
    last, average = [row.gap_last for row in rows], [row.gap_average for row in rows]
    return Summary(
        game,
        method,
        {key: share_interval(sum(map(math.isfinite, v)), len(v)) for key, v in calls.items()},
        {key: quantile(values, 0.5) for key, values in calls.items()},
        {key: quantile(values, 0.9) for key, values in calls.items()},
        mean_interval(last),
        mean_interval(average),
        quantile(last, 0.5),
        quantile(average, 0.5),
        sum(row.diverged for row in rows),
    )


def quantile(values: Sequence[float], level: float) -> float:
    """Linear between the two nearest, as numpy's, for values that may be infinite."""
    ranked = np.sort(np.asarray(values, dtype=np.float64))
    place = level * (len(ranked) - 1)
    low, high = float(ranked[math.floor(place)]), float(ranked[math.ceil(place)])
    return low if low == high else low + (high - low) * (place % 1)


def csv_rows(summaries: Sequence[Summary]) -> list[dict[str, object]]:
    """A row a number: game, method, metric, value, low, high, n."""
    found = []
    for summary in summaries:
        n = summary.gap_last.n
        numbers: dict[str, Interval] = {}
        for tolerance in TOLERANCES:
            numbers[f"solved_{tolerance}"] = summary.solved[tolerance]
            numbers[f"calls_to_{tolerance}_median"] = _point(summary.median[tolerance], n)
            numbers[f"calls_to_{tolerance}_90th"] = _point(summary.ninth[tolerance], n)
        numbers |= {"gap_last_mean": summary.gap_last, "gap_average_mean": summary.gap_average}
        numbers["gap_last_median"] = _point(summary.gap_last_median, n)
        numbers["gap_average_median"] = _point(summary.gap_average_median, n)
        numbers["diverged"] = _point(summary.diverged, n)
        found += [
            {
                "game": summary.game,
                "method": summary.method,
                "metric": metric,
                **{
                    key: "" if math.isnan(value) else value
                    for key, value in zip(("value", "low", "high"), number[:3], strict=True)
                },
                "n": number.n,
            }
            for metric, number in numbers.items()
        ]
    return found


def _point(value: float, n: int) -> Interval:
    return Interval(value, math.nan, math.nan, n)


def blocks(summaries: Sequence[Summary], sizes: Mapping[str, str]) -> list[Block]:
    """Two blocks a game. `sizes` says what each game is."""
    found = []
    for game in dict.fromkeys(summary.game for summary in summaries):
        mine = [summary for summary in summaries if summary.game == game]
        title = f"{game} ({sizes[game]})"
        found += [
            Block(f"{title}: share solved and duality gap", pd.DataFrame(map(_share_cells, mine))),
            Block(
                f"{title}: oracle calls, median / 90th percentile",
                pd.DataFrame(map(_calls_cells, mine)),
            ),
        ]
    return found


def _share_cells(summary: Summary) -> dict[str, str]:
    solved = {f"gap ≤ {key}": share(value) for key, value in summary.solved.items()}
    return {
        "method": summary.method + (f" ({summary.diverged} diverged)" if summary.diverged else ""),
        **solved,
        "last gap": f"{summary.gap_last_median:.1e}",
        "average's gap": f"{summary.gap_average_median:.1e}",
    }


def _calls_cells(summary: Summary) -> dict[str, str]:
    return {
        "method": summary.method,
        **{
            f"to gap {key}": f"{calls(summary.median[key])} / {calls(summary.ninth[key])}"
            for key in TOLERANCES
        },
    }


def calls(number: float) -> str:
    """`1,444`, or `inf`."""
    return f"{number:,.0f}" if math.isfinite(number) else "inf"


def notes(summaries: Sequence[Summary], config_calls: int, noise: float) -> list[str]:
    """The footnotes."""
    exact = "exact" if noise == 0 else f"with normal noise of standard deviation {noise:g}"
    found = [
        "the duality gap is what both players can gain by deviating, together: 2 (max_y P(y ≻ π) − "
        "½) in a matrix game, NashConv in an extensive-form game",
        "solved: the last iterate's gap came to or below the tolerance and stayed there to the "
        "end; shares have Wilson's 95 % interval",
        f"an oracle call is one evaluation of P π (of K x in sequence form), {exact}; every run "
        f"had {config_calls:,}; medians and percentiles are of all runs, those that are "
        "not solved count as infinite",
        "gaps are medians over the seeds after the last call (table.csv has the means); the "
        "average is that of all iterates, uniform unless the method says otherwise (CFR+)",
    ]
    for summary in summaries:
        if summary.diverged:
            found.append(
                f"{summary.method} on {summary.game}: {summary.diverged} of {summary.gap_last.n} "
                "runs overflowed; each stands at its last finite iterate"
            )
    return found
