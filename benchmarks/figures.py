"""Figures of a plan: gap against iteration, gap by alpha, win rates."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from benchmarks.atomic import written_aside
from benchmarks.best_alpha import family_of, is_sweep
from benchmarks.blocks import annotator_metrics
from benchmarks.exact_rows import TASK as EXACT
from benchmarks.exact_rows import equilibrium_kind
from benchmarks.figure_style import COLOURS, FLOOR, MARKERS, add_legend, log_axis
from benchmarks.intervals import mean_band
from benchmarks.plan_results import PlanResults, RunResult
from benchmarks.rows import find

SOLVERS = {
    "gap_regularised_sequence": ("sequence", (0, (6, 2))),
    "gap_regularised_per_token": ("per_token", (0, (1.5, 1.5))),
}


def draw_figures(table: pd.DataFrame, results: PlanResults) -> list[str]:
    """Write the figures the plan has numbers for; returns their names in the plan's folder."""
    figures: dict[str, Figure] = {}
    if is_sweep(results) and results.done(EXACT):
        figures["gap_by_alpha"] = gap_by_alpha(table, results)
    elif not is_sweep(results):
        groups = [g for g in results.groups(EXACT) if _runs(results, g)]
        if groups:
            figures["gap_all"] = gap_of_games(results, groups)
        for group in groups:
            figures[f"gap_{group}"] = gap_of_game(results, group)
    for task in results.tasks():
        for group in results.groups(task) if task != EXACT else []:
            if any(find(table, group, variant, "win_rate") for variant in results.variants()):
                figures["win_rates"] = win_rates(table, results, group)
    folder = results.folder / "figures"
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        with written_aside(folder / f"{name}.png") as aside:
            figure.savefig(aside, dpi=150)
    return [f"figures/{name}.png" for name in figures]


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
        f"{_game_title(results, group)}: duality gap, {_seeds_words(results, group)}", fontsize=12
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
        axis.set_title(_game_title(results, groups[position]), fontsize=11)
        if position + columns >= len(groups):
            axis.set_xlabel("iteration")
            axis.tick_params(labelbottom=True)
        if position % columns == 0:
            axis.set_ylabel("duality gap, last iterate")
    log_axis(axes[0, 0], drawn)
    add_legend(figure, axes[0, 0])
    return figure


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


def win_rates(table: pd.DataFrame, results: PlanResults, group: str) -> Figure:
    """Win rates against the initial policy: total, without brevity, and by annotator."""
    variants = [v for v in results.variants() if find(table, group, v, "win_rate")]
    names = annotator_metrics(table, group)
    metrics = ["win_rate", "win_rate_without_brevity", *[f"win_rate_{name}" for name in names]]
    labels = ["all annotators", "without brevity", *names]
    kept = [
        (m, label)
        for m, label in zip(metrics, labels, strict=True)
        if find(table, group, variants[0], m)
    ]
    figure = Figure(figsize=(7.5, 1.6 + 0.48 * len(kept)), layout="constrained")
    axis = figure.subplots()
    offsets = np.linspace(-0.16, 0.16, len(variants)) if len(variants) > 1 else [0.0]
    for variant, offset, colour, marker in zip(variants, offsets, COLOURS, MARKERS, strict=False):
        found = [find(table, group, variant, metric) for metric, _ in kept]
        points = [(place, interval) for place, interval in enumerate(found) if interval]
        values = np.array([interval.value for _, interval in points])
        ends = np.array([(interval.low, interval.high) for _, interval in points])
        errors = np.nan_to_num(np.abs(ends - values[:, None])).T
        places = np.array([place for place, _ in points]) + offset
        axis.errorbar(
            values,
            places,
            xerr=errors,
            fmt=marker,
            color=colour,
            capsize=3,
            markersize=6,
            label=variant,
        )
    axis.axvline(0.5, color="#444444", linewidth=1, linestyle="--")
    axis.axhline(1.5 if len(kept) > len(names) + 1 else 0.5, color="#CCCCCC", linewidth=1)
    axis.set_yticks(range(len(kept)), [label for _, label in kept])
    axis.set_ylim(len(kept) - 0.5, -0.5)
    axis.set_xlabel("win rate with 95 % interval (dashed: no change)")
    axis.set_title(f"{group}: against the initial policy", fontsize=11)
    axis.grid(axis="x", alpha=0.25)
    add_legend(figure, axis)
    return figure


def _draw_gaps(axis: Axes, results: PlanResults, group: str, metric: str) -> list[float]:
    """Draw each variant's curve and the solver's lines; returns the values drawn."""
    drawn: list[float] = []
    for position, variant in enumerate(results.variants()):
        runs = [run for run in _runs(results, group) if run.variant == variant]
        if not runs:
            continue
        colour = COLOURS[position % len(COLOURS)]
        curves = [run.curves().set_index("iteration")[metric] for run in runs]
        shared = reduce(lambda a, b: a.intersection(b), [curve.index for curve in curves])
        values = np.array([curve.loc[shared].to_numpy(dtype=float) for curve in curves])
        mean, low, high = mean_band(values)
        x = shared.to_numpy()
        style = ("-", (0, (5, 1.5)), "-.", (0, (3, 1, 1, 1, 1, 1)))[position // 2 % 4]
        axis.plot(
            x, np.maximum(mean, FLOOR), color=colour, linewidth=1.8, linestyle=style, label=variant
        )
        axis.fill_between(
            x, np.maximum(low, FLOOR), np.maximum(high, FLOOR), color=colour, alpha=0.2, linewidth=0
        )
        drawn += [*mean.tolist(), *low[np.isfinite(low)].tolist()]
    for metric_name, (label, dashes) in SOLVERS.items():
        level = float(np.mean([run.metrics[metric_name] for run in _runs(results, group)]))
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


def _runs(results: PlanResults, group: str) -> list[RunResult]:
    return [run for run in results.done(EXACT) if run.group == group]


def _game_title(results: PlanResults, group: str) -> str:
    """The game with the kind of its equilibrium, as in the table."""
    support = _runs(results, group)[0].metrics["equilibrium_support"]
    return f"{group} ({equilibrium_kind(support)} equilibrium)"


def _seeds_words(results: PlanResults, group: str) -> str:
    seeds = len({run.seed for run in _runs(results, group)})
    return "one seed" if seeds == 1 else f"mean and 95 % band over {seeds} seeds"


def figure_paths(folder: Path) -> list[Path]:
    """The figures that a plan's folder holds."""
    return sorted((folder / "figures").glob("*.png"))
