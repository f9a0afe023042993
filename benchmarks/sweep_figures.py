"""The figure of a sweep: gap against alpha."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from benchmarks.best_alpha import family_of
from benchmarks.exact_rows import TASK as EXACT
from benchmarks.figure_style import COLOURS, FLOOR, MARKERS, add_legend, log_axis
from benchmarks.plan_results import PlanResults
from benchmarks.rows import find


def gap_by_alpha(table: pd.DataFrame, results: PlanResults) -> Figure:
    """The last iterate's gap against alpha with its 95 % interval, a panel a game."""
    groups = results.groups(EXACT)
    figure = Figure(figsize=(max(4.2 * len(groups), 6), 4.2), layout="constrained")
    axes = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    alphas = {run.variant: float(run.method["alpha"]) for run in results.runs}
    families = list(dict.fromkeys(str(family_of(variant)) for variant in alphas))
    drawn: list[float] = []
    for axis, group in zip(axes, groups, strict=True):
        for colour, marker, family in zip(COLOURS, MARKERS, families, strict=False):
            own = sorted((a, v) for v, a in alphas.items() if family_of(v) == family)
            found = [(a, find(table, group, v, "gap_last")) for a, v in own]
            points = [(alpha, gap) for alpha, gap in found if gap]
            if points:
                x = [alpha for alpha, _ in points]
                y = np.array([gap.value for _, gap in points])
                low, high = (
                    np.nan_to_num(np.abs(y - [end for end in ends]))
                    for ends in zip(*[(gap.low, gap.high) for _, gap in points], strict=True)
                )
                axis.errorbar(
                    x,
                    np.maximum(y, FLOOR),
                    yerr=(low, high),
                    color=colour,
                    marker=marker,
                    capsize=3,
                    label=family,
                )
                drawn += y.tolist()
        axis.set_xscale("log")
        axis.set_xticks(sorted(set(alphas.values())))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel("α")
        axis.set_title(group, fontsize=11)
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("duality gap, last iterate")
    log_axis(axes[0], drawn)
    add_legend(figure, axes[0])
    return figure
