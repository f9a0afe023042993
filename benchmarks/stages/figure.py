"""The learning curve of a stage."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from benchmarks.figure_style import COLOURS
from mpo.training.fit import Row


def draw_curve(rows: Sequence[Row], title: str) -> Figure:
    """Training and held-out loss by step, and below them the gradient's norm."""
    figure = Figure(figsize=(7, 5), dpi=120, layout="constrained")
    losses, norms = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for name, label, marker, colour in (
        ("loss", "training, before the step", "", COLOURS[0]),
        ("held_out_loss", "held out", "o", COLOURS[1]),
    ):
        points = [(row["step"], row[name]) for row in rows if name in row]
        if points:
            losses.plot(*zip(*points, strict=True), marker=marker, color=colour, label=label)
    norms.plot(
        [row["step"] for row in rows if "grad_norm" in row],
        [row["grad_norm"] for row in rows if "grad_norm" in row],
        color=COLOURS[7],
    )
    losses.set_ylabel("loss a term, nats")
    norms.set_ylabel("gradient norm")
    norms.set_xlabel("optimizer step")
    losses.set_title(title)
    losses.legend(frameon=False)
    return figure
