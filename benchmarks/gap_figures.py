"""Figures of duality gaps against iterations, and the curves that all gap figures draw."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.exact_rows import TASK, equilibrium_kind
from benchmarks.figure_style import COLOURS, FLOOR, add_legend, log_axis
from benchmarks.intervals import Array, mean_band
from benchmarks.plan_results import PlanResults, RunResult

SOLVERS = {
    "gap_regularised_sequence": ("sequence", (0, (6, 2))),
    "gap_regularised_per_token": ("per_token", (0, (1.5, 1.5))),
}


def gap_of_game(results: PlanResults, group: str) -> Figure:
    """Last and average iterate's gap against iteration, mean and 95 % band over seeds."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    panels = (("gap_last", "last iterate"), ("gap_average", "average iterate"))
    drawn: list[float] = []
    for axis, (metric, title) in zip(axes, panels, strict=True):
        drawn += _draw_gaps(axis, results, group, metric)
        axis.set_title(title, fontsize=11)
        axis.set_xlabel("iteration")
    axes[0].set_ylabel("duality gap")
    log_axis(axes[0], drawn)
    figure.suptitle(
        f"{game_title(results, group)}: duality gap, {_seeds_words(results, group)}", fontsize=12
    )
    add_legend(figure, axes[0])
    return figure


def gap_of_games(results: PlanResults, groups: Sequence[str]) -> Figure:
    """The last iterate's gap against iteration, a panel a game."""
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(max(4.2 * columns, 6), 3.3 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    drawn: list[float] = []
    for position, axis in enumerate(axes.flat):
        if position >= len(groups):
            axis.set_axis_off()
            continue
        drawn += _draw_gaps(axis, results, groups[position], "gap_last")
        axis.set_title(game_title(results, groups[position]), fontsize=11)
        if position + columns >= len(groups):
            axis.set_xlabel("iteration")
            axis.tick_params(labelbottom=True)
        if position % columns == 0:
            axis.set_ylabel("duality gap, last iterate")
    log_axis(axes[0, 0], drawn)
    add_legend(figure, axes[0, 0])
    return figure


def _draw_gaps(axis: Axes, results: PlanResults, group: str, metric: str) -> list[float]:
    """Draw each variant's curve and the solver's lines; returns the values drawn."""
    drawn: list[float] = []
    for position, variant in enumerate(results.variants()):
        runs = [run for run in runs_of(results, group) if run.variant == variant]
        if not runs:
            continue
        colour = COLOURS[position % len(COLOURS)]
        x, mean, low, high = band_of(runs, "iteration", metric)
        style = ("-", (0, (5, 1.5)), "-.", (0, (3, 1, 1, 1, 1, 1)))[position // 2 % 4]
        axis.plot(
            x, np.maximum(mean, FLOOR), color=colour, linewidth=1.8, linestyle=style, label=variant
        )
        axis.fill_between(
            x, np.maximum(low, FLOOR), np.maximum(high, FLOOR), color=colour, alpha=0.2, linewidth=0
        )
        drawn += [*mean.tolist(), *low[np.isfinite(low)].tolist()]
    for metric_name, (label, dashes) in SOLVERS.items():
        known = [run.metrics for run in runs_of(results, group)]
        solved = [metrics[metric_name] for metrics in known if metric_name in metrics]
        if not solved:
            continue
        level = float(np.mean(solved))
        axis.axhline(
            max(level, FLOOR),
            color="#444444",
            linewidth=1.1,
            linestyle=dashes,
            label=f"fixed magnet (solver), {label}",
        )
        drawn.append(level)
    axis.grid(alpha=0.25)
    return drawn


def band_of(
    runs: Sequence[RunResult], against: str, metric: str
) -> tuple[Array, Array, Array, Array]:
    """x, mean, low and high of a metric over runs, at the x that all of them have measured."""
    curves = [run.curves().drop_duplicates(against).set_index(against)[metric] for run in runs]
    shared = reduce(lambda a, b: a.intersection(b), [curve.index for curve in curves])
    values = np.array([curve.loc[shared].to_numpy(dtype=float) for curve in curves])
    return shared.to_numpy(dtype=float), *mean_band(values)


def runs_of(results: PlanResults, group: str) -> list[RunResult]:
    """The game's runs that are done."""
    return [run for run in results.done(TASK) if run.group == group]


def game_title(results: PlanResults, group: str) -> str:
    """The game with the kind of its equilibrium, as in the table."""
    support = runs_of(results, group)[0].metrics["equilibrium_support"]
    return f"{group} ({equilibrium_kind(support)} equilibrium)"


def _seeds_words(results: PlanResults, group: str) -> str:
    seeds = len({run.seed for run in runs_of(results, group)})
    return "one seed" if seeds == 1 else f"mean and 95 % band over {seeds} seeds"
