"""The figure of a language task: win rates against the initial policy."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.figure_style import COLOURS, MARKERS, add_legend
from benchmarks.language_blocks import annotator_metrics
from benchmarks.plan_results import PlanResults
from benchmarks.rows import find


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
