"""The figure of `experiment=figure1`: the duality gap by passes, by episodes and by seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.figure_style import add_legend
from benchmarks.intervals import mean_band
from benchmarks.theory.dynamics.figures import LOWEST, styles
from benchmarks.theory.poker.runs import Curve
from benchmarks.theory.poker.table import AVERAGED, PUBLISHED, gaps
from benchmarks.wording import counted


def draw(game: str, curves: Sequence[Curve]) -> Figure:
    """Mean over the seeds with its 95 % band."""
    figure = Figure(figsize=(13, 5.0), dpi=120, layout="constrained")
    passes, episodes, seconds = figure.subplots(1, 3, sharey=True)
    methods = list(dict.fromkeys(curve.method for curve in curves))
    panels: list[tuple[Axes, str, Callable[[Curve], Sequence[float] | None]]] = [
        (passes, "oracle calls (passes over the tree)", lambda curve: curve.oracle_calls),
        (episodes, "sampled episodes", lambda curve: curve.episodes),
        (seconds, "CPU seconds", lambda curve: curve.seconds),
    ]
    lowest = [0.5]
    for method, look in styles(methods).items():
        group = [curve for curve in curves if curve.method == method]
        mean, low, high = mean_band([gaps(curve) for curve in group])
        lowest.append(max(float(np.nanmin(mean)), LOWEST))
        label = f"{method} (average)" if method in AVERAGED else method
        for axis, _, along in panels:
            rows = [along(curve) for curve in group]
            if rows[0] is None:
                continue
            # The start, at 0, is left out: the axis is logarithmic. Seconds differ between seeds.
            x = np.mean(np.asarray(rows, dtype=np.float64), axis=0)[1:]
            axis.plot(x, np.maximum(mean, LOWEST)[1:], linewidth=1.8, label=label, **look)
            if len(group) > 1:
                band = np.maximum(low, LOWEST)[1:], np.maximum(high, LOWEST)[1:]
                axis.fill_between(x, *band, color=look["color"], alpha=0.15, linewidth=0)
    for axis, words, _ in panels:
        axis.set(xscale="log", xlabel=words)
        axis.grid(alpha=0.25)
    if game in PUBLISHED:
        episodes.axhline(2 * PUBLISHED[game].mean, color="#555555", linewidth=1, linestyle=":")
        episodes.annotate(
            "published", (0.02, 2 * PUBLISHED[game].mean), xycoords=("axes fraction", "data"),
            fontsize=8, va="bottom", color="#555555",
        )  # fmt: skip
    passes.set(yscale="log", ylabel="duality gap (NashConv)", ylim=(min(lowest) / 1.5, None))
    passes.yaxis.set_major_locator(LogLocator(numticks=12))
    passes.yaxis.set_minor_formatter(NullFormatter())
    passes.set_title("tabular, exact gradients", fontsize=11)
    episodes.set_title("neural, sampled episodes", fontsize=11)
    seconds.set_title("all", fontsize=11)
    seeds = len({curve.seed for curve in curves})
    band = "mean and its 95 % band, " if seeds > 1 else ""
    figure.suptitle(f"{game}: {band}{counted(seeds, 'seed')}", fontsize=12)
    add_legend(figure, seconds)
    return figure
