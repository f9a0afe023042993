"""Trajectories on the simplex of three actions, and their duality gaps beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import mpltern
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter
from torch import Tensor

from benchmarks.figure_style import COLOURS, add_legend

LOWEST = 1e-12
"""Smaller gaps are drawn here."""

START = {"marker": "D", "markersize": 7, "linestyle": "", "color": "white", "mec": "black"}
REGULARISED = {"marker": "o", "markersize": 8, "linestyle": "", "color": "#444444", "mec": "white"}
NASH = {"marker": "*", "markersize": 20, "linestyle": "", "color": "#E69F00", "mec": "black"}
MAGNET = {"marker": "s", "markersize": 3.5, "linestyle": "", "color": "black"}


class Curve(NamedTuple):
    """A trajectory."""

    key: str
    label: str
    policies: Tensor
    """(K + 1, 3), from the start on."""
    gaps: Tensor
    """(K + 1,)."""
    magnets: Tensor | None
    """(M, 3): where the magnet was; None for one that never moves."""


class Point(NamedTuple):
    """An equilibrium, (3,)."""

    key: str
    label: str
    policy: Tensor


def draw(
    curves: Sequence[Curve], regularised: Sequence[Point], nash: Point, actions: Sequence[str]
) -> Figure:
    """The simplex on the left, gaps against iterations on the right.

    `curves`: mirror descent, a curve for each of `regularised`, and MPO.
    """
    figure = Figure(figsize=(11.5, 5.6), dpi=120, layout="constrained")
    simplex: Any = figure.add_subplot(1, 2, 1, projection=mpltern.TernaryAxes.name)
    gaps = figure.add_subplot(1, 2, 2)
    _draw_simplex(simplex, curves, regularised, nash, actions)
    _draw_gaps(gaps, curves)
    add_legend(figure, gaps)
    return figure


def _look(position: int, curves: Sequence[Curve]) -> dict[str, Any]:
    """MD grey, MPO black and strong, the MMD curves between them in colour."""
    if position == 0:
        return {"color": "#999999", "linewidth": 0.9}
    if position == len(curves) - 1:
        return {"color": "#000000", "linewidth": 1.8}
    return {"color": COLOURS[(position - 1) % 6], "linewidth": 1.4}


def _draw_simplex(
    axis: Any,
    curves: Sequence[Curve],
    regularised: Sequence[Point],
    nash: Point,
    actions: Sequence[str],
) -> None:
    for position, curve in enumerate(curves):
        axis.plot(*curve.policies.T.numpy(), **_look(position, curves), zorder=2 + position / 10)
        if curve.magnets is not None:
            axis.plot(*curve.magnets.T.numpy(), **MAGNET, zorder=4)
    for position, point in enumerate(regularised, start=1):
        look = REGULARISED | {"color": _look(position, curves)["color"]}
        axis.plot(*point.policy[:, None].numpy(), **look, zorder=5)
    axis.plot(*nash.policy[:, None].numpy(), **NASH, zorder=3.5)
    axis.plot(*curves[0].policies[:1].T.numpy(), **START, zorder=6)
    axis.set(tlabel=actions[0], llabel=actions[1], rlabel=actions[2])
    axis.grid(alpha=0.25)
    marks = {
        "start, and MMD's magnet": START,
        "regularised equilibria": REGULARISED,
        nash.label: NASH,
        "MPO's magnets": MAGNET,
    }
    axis.legend(
        handles=[Line2D([], [], **look, label=label) for label, look in marks.items()],
        loc="upper left", bbox_to_anchor=(-0.2, 1.12), frameon=False, fontsize=9,
    )  # fmt: skip


def _draw_gaps(axis: Axes, curves: Sequence[Curve]) -> None:
    lowest = 1.0
    for position, curve in enumerate(curves):
        drawn = curve.gaps.clamp(min=LOWEST).numpy()
        axis.plot(drawn, label=curve.label, **_look(position, curves))
        lowest = min(lowest, float(drawn.min()))
    axis.set_yscale("log")
    axis.set_ylim(lowest / 2, 2)
    axis.yaxis.set_major_locator(LogLocator(numticks=14))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_xlim(0, len(curves[0].gaps) - 1)
    axis.set_xlabel("iteration")
    axis.set_ylabel("duality gap of the last iterate")
    axis.grid(alpha=0.25)
