"""The figure of `experiment=annotators`: the games' structure, and the gap of each method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from benchmarks.figure_style import COLOURS
from benchmarks.theory.annotators.rows import End, Structure

LOWEST = 1e-8
"""Smaller gaps are drawn here: below lie only rounding errors."""

JITTER = 0.28


def draw(structures: Sequence[Structure], ends: Mapping[str, Sequence[End]]) -> Figure:
    """Left: intransitive share and support of each prompt; right: a point a prompt and method."""
    height = max(4.2, 1.6 + 0.3 * len(ends))
    figure = Figure(figsize=(11, height), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    drawn = [found for found in structures if np.isfinite(found.intransitive)]
    counts = Counter((100 * found.intransitive, found.support) for found in drawn)
    if counts:
        x, y = zip(*counts, strict=True)
        left.scatter(x, y, s=[30 * n for n in counts.values()], color=COLOURS[0], alpha=0.7)
    left.set(xlabel="intransitive triples, %", ylabel="responses that the equilibrium plays")
    left.yaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_title(f"{len(drawn)} prompts (area: how many)", fontsize=11)
    left.set_ylim(bottom=0)
    left.set_xlim(-0.5, max([10.0, *(1.1 * share for share, _ in counts)]))
    spread = np.linspace(-JITTER, JITTER, len(structures)) if len(structures) > 1 else np.zeros(1)
    for place, each in enumerate(ends.values()):
        gaps = np.maximum([end.gap_last for end in each], LOWEST)
        colour = COLOURS[place % len(COLOURS)]
        right.scatter(gaps, place + spread, s=14, color=colour, alpha=0.6, linewidths=0)
        right.scatter([float(np.median(gaps))], [place], s=110, marker="|", color=colour)
    right.set_yticks(range(len(ends)), list(ends))
    right.invert_yaxis()
    right.set_xscale("log")
    right.set_xlim(LOWEST / 2, 1.5)
    right.xaxis.set_major_locator(LogLocator(numticks=12))
    right.xaxis.set_minor_formatter(NullFormatter())
    right.set_xlabel(f"duality gap of the last iterate (≥ {LOWEST:g})")
    right.set_title("a point a prompt, a bar at the median", fontsize=11)
    for axis in (left, right):
        axis.grid(alpha=0.25)
    return figure
