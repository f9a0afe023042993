"""The figures of `experiment=dynamics`: the performance profile, and gaps against oracle calls."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from benchmarks.figure_style import COLOURS, add_legend
from benchmarks.theory.dynamics.rows import TOLERANCES, Row
from benchmarks.theory.sources.source import Measured

LOWEST = 1e-8
"""Smaller gaps are drawn here: below lie only rounding errors."""

DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.2)), (0, (6, 1.5, 1, 1.5)))
"""As many as share no divisor with the number of colours: no two methods look alike, and curves
that coincide show both colours."""


def styles(methods: Sequence[str]) -> dict[str, dict[str, object]]:
    """Colour and dashes of each method, no two alike."""
    return {
        method: {
            "color": COLOURS[position % len(COLOURS)],
            "linestyle": DASHES[position % len(DASHES)],
        }
        for position, method in enumerate(methods)
    }


def profile(rows: Sequence[Row], tolerance: str) -> Figure:
    """The share of runs solved within so many calls, and within so many times the best's calls.

    The right panel is the performance profile of Dolan and Moré (2002): how far a method is from
    whichever is best on each game and seed.
    """
    figure = Figure(figsize=(10, 4.6), dpi=120, layout="constrained")
    within, ratio = figure.subplots(1, 2, sharey=True)
    place = TOLERANCES.index(tolerance)
    methods = list(dict.fromkeys(row.method for row in rows))
    problems = list(dict.fromkeys((row.game, row.seed) for row in rows))
    # A start that is good enough takes no call; on a log axis it stands at one.
    calls = {(row.method, row.game, row.seed): max(row.calls_to[place], 1.0) for row in rows}
    table = np.array([[calls[method, *problem] for problem in problems] for method in methods])
    best = table.min(axis=0)
    with np.errstate(invalid="ignore"):
        ratios = np.where(np.isfinite(table), table / best, math.inf)
    budget = float(max(row.oracle_calls for row in rows))
    finite = ratios[np.isfinite(ratios)]
    widest = max(10.0, float(finite.max()) * 1.5) if finite.size else 10.0
    for method, taken, times in zip(methods, table, ratios, strict=True):
        look = styles(methods)[method]
        _steps(within, taken, budget, look, method)
        _steps(ratio, times, widest, look, method)
    lowest = float(table.min())
    within.set(
        xlabel="oracle calls", ylabel=f"share of runs with gap ≤ {tolerance}",
        xlim=(max(1.0, min(lowest, budget / 10) / 1.5), budget * 1.05),
    )  # fmt: skip
    ratio.set(xlabel="oracle calls / those of the best method on the run", xlim=(0.95, widest))
    within.set_ylim(-0.02, 1.04)
    within.yaxis.set_major_formatter(PercentFormatter(1.0))
    for axis, title in ((within, "within so many calls"), (ratio, "within so many times the best")):
        axis.set_xscale("log")
        axis.set_title(title, fontsize=11)
        axis.grid(alpha=0.25)
    figure.suptitle(
        f"Performance profile: {len(problems)} runs a method, solved to a gap of {tolerance}",
        fontsize=12,
    )
    add_legend(figure, within)
    return figure


def _steps(
    axis: Axes, values: np.ndarray, end: float, look: Mapping[str, object], label: str
) -> None:
    """The share of values at or below x, as a staircase up to `end`."""
    ranked = np.sort(values[np.isfinite(values)])
    x = np.concatenate([[1e-3], ranked, [max(end, ranked[-1]) if ranked.size else end]])
    y = np.concatenate([[0.0], np.arange(1, len(ranked) + 1), [len(ranked)]]) / len(values)
    axis.step(x, y, where="post", linewidth=1.8, label=label, **look)


def gaps(game: str, size: str, curves: Mapping[str, Measured]) -> Figure:
    """Last and average iterate's gap against oracle calls: median and the middle half of runs."""
    figure = Figure(figsize=(10, 4.8), dpi=120, layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    drawn: list[float] = []
    for axis, metric, title in zip(
        axes, ("gap_last", "gap_average"), ("last iterate", "average iterate"), strict=True
    ):
        for method, look in styles(list(curves)).items():
            measured = curves[method]
            x = measured.oracle_calls.numpy()
            values = np.maximum(getattr(measured, metric).numpy(), LOWEST)
            low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), axis=0)
            axis.plot(x, middle, linewidth=1.8, label=method, **look)
            if len(values) > 1:
                axis.fill_between(x, low, high, color=look["color"], alpha=0.13, linewidth=0)
            drawn += [float(low.min()), float(high.max())]
        axis.set_title(title, fontsize=11)
        axis.set_xlabel("oracle calls")
        axis.set_xscale("log")
        axis.set_xlim(1, max(float(measured.oracle_calls[-1]) for measured in curves.values()))
        axis.grid(alpha=0.25)
    axes[0].set_yscale("log")
    axes[0].set_ylim(min(drawn) / 1.5, max(drawn) * 1.5)
    axes[0].yaxis.set_major_locator(LogLocator(numticks=12))
    axes[0].yaxis.set_minor_formatter(NullFormatter())
    axes[0].set_ylabel("duality gap" + (f" (≥ {LOWEST:g})" if min(drawn) <= LOWEST else ""))
    runs = len(next(iter(curves.values())).gap_last)
    band = "median and middle half of the runs" if runs > 1 else "one run"
    figure.suptitle(f"{game} ({size}): {band}", fontsize=12)
    add_legend(figure, axes[0])
    return figure
