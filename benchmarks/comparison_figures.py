"""Figures of a comparison: gap against samples, and each method's last gap by its own target's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from benchmarks.figure_style import COLOURS, FLOOR, MARKERS, add_legend, log_axis
from benchmarks.gap_figures import band_of, game_title, runs_of
from benchmarks.plan_results import PlanResults
from benchmarks.rows import find

WIDTH = 4.2
"""Inches a panel."""


def gap_by_samples(results: PlanResults, groups: Sequence[str]) -> Figure:
    """The last iterate's gap against the responses sampled so far, a panel a game.

    Samples, not iterations: the methods may have unequal numbers of iterations.
    """
    figure = Figure(figsize=(max(WIDTH * len(groups), 6), 4.6), layout="constrained")
    axes = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    drawn: list[float] = []
    for axis, group in zip(axes, groups, strict=True):
        drawn += _draw_curves(axis, results, group)
        axis.set_title(game_title(results, group), fontsize=11)
        axis.set_xlabel("responses sampled")
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("duality gap, last iterate")
    log_axis(axes[0], drawn)
    add_legend(figure, max(axes, key=lambda axis: len(axis.get_lines())))
    return figure


def _draw_curves(axis: Axes, results: PlanResults, group: str) -> list[float]:
    """Draw each variant's mean and band over seeds; returns the values drawn."""
    drawn: list[float] = []
    for position, variant in enumerate(results.variants()):
        runs = [run for run in runs_of(results, group) if run.variant == variant]
        if not runs:
            continue
        x, mean, low, high = band_of(runs, "samples", "gap_last")
        colour = COLOURS[position % len(COLOURS)]
        axis.plot(
            x,
            np.maximum(mean, FLOOR),
            color=colour,
            marker=MARKERS[position % len(MARKERS)],
            # A few of the points, from another one for each variant: no marker hides a curve.
            markevery=(position % 5, max(1, len(x) // 8)),
            markersize=5,
            linewidth=1.5,
            label=variant,
        )
        floored = np.maximum(low, FLOOR), np.maximum(high, FLOOR)
        axis.fill_between(x, *floored, color=colour, alpha=0.15, linewidth=0)
        drawn += mean.tolist()
    return drawn


def last_gaps(table: pd.DataFrame, results: PlanResults, groups: Sequence[str]) -> Figure:
    """Each variant's last gap with its 95 % interval, and its own target's gap, a panel a game."""
    variants = results.variants()
    size = (max(WIDTH * len(groups), 6), 1.7 + 0.36 * len(variants))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    drawn: list[float] = []
    for axis, group in zip(axes, groups, strict=True):
        for place, variant in enumerate(variants):
            colour = COLOURS[place % len(COLOURS)]
            last = find(table, group, variant, "gap_last")
            target = find(table, group, variant, "gap_target")
            if last:
                value = max(last.value, FLOOR)
                ends = [[last.value - last.low], [last.high - last.value]]
                axis.errorbar(
                    value,
                    place,
                    xerr=np.nan_to_num(ends),
                    color=colour,
                    marker=MARKERS[place % len(MARKERS)],
                    capsize=3,
                )
                drawn.append(value)
            if target:
                value = max(target.value, FLOOR)
                axis.plot(
                    value, place, marker="o", markersize=11, markerfacecolor="none", color=colour
                )
                drawn.append(value)
        axis.set_title(game_title(results, group), fontsize=11)
        axis.set_xlabel("duality gap")
        axis.grid(axis="x", alpha=0.25)
    axes[0].set_yticks(range(len(variants)), variants)
    axes[0].set_ylim(len(variants) - 0.5, -0.5)
    for axis in axes:
        log_axis(axis, drawn, "x", ticks=(1.0, 3.0))
    _explain(figure)
    return figure


def _explain(figure: Figure) -> None:
    """What the filled and the hollow markers are."""
    filled, hollow = (Line2D([], [], color="#444444", linestyle="none") for _ in range(2))
    filled.set(marker="s", label="last iterate, 95 % interval over seeds")
    hollow.set(marker="o", markersize=11, markerfacecolor="none")
    hollow.set_label("gap of the variant's own target")
    handles = [filled, hollow]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
