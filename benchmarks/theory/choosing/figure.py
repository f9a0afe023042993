"""The figures of `experiment=choosing`: shares solved against calls, and against the stepsize."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from benchmarks.figure_style import add_legend
from benchmarks.theory.choosing.runs import TOLERANCE, Cell
from benchmarks.theory.choosing.tables import RULE, best_steps, rule_of
from benchmarks.theory.dynamics.figures import styles

ACROSS = 4
CONSTANT = f"{RULE}, constant η"


def profiles(cells: Sequence[Cell], calls: int) -> Figure:
    """The share of games solved within so many calls, each method at its best constant η."""
    figure, axes = _panels(cells, f"each method at its best constant η, gap ≤ {TOLERANCE:g}")
    for game, axis in axes.items():
        shown = {_label(cell): cell for cell in best_steps(cells, game)}
        for label, look in _looks(cells).items():
            cell = rule_of(cells, game) if label == RULE else shown[label]
            ranked = np.sort([max(value, 1.0) for value in cell.calls if math.isfinite(value)])
            x = np.concatenate([[1.0], ranked, [calls]])
            y = np.append(np.arange(len(ranked) + 1), len(ranked)) / len(cell.calls)
            axis.step(x, y, where="post", label=label, **look)
        axis.set(xscale="log", xlabel="oracle calls", xlim=(1, calls))
    _finish(figure, axes)
    return figure


def steps(cells: Sequence[Cell]) -> Figure:
    """The share of games solved against the constant stepsize; the rule as a level line."""
    figure, axes = _panels(cells, f"solved to a gap of {TOLERANCE:g} against the stepsize")
    for game, axis in axes.items():
        for label, look in _looks(cells).items():
            if label == RULE:
                cell = rule_of(cells, game)
                axis.axhline(cell.solved / len(cell.calls), label=RULE, **look)
                continue
            mine = [
                cell
                for cell in cells
                if cell.part == "steps" and cell.game == game and cell.eta is not None
                if _label(cell) == label
            ]
            points = sorted((cell.eta, cell.solved / len(cell.calls)) for cell in mine)
            axis.plot(*zip(*points, strict=True), label=label, **look)
        axis.set(xscale="log", xlabel="η")
    _finish(figure, axes)
    return figure


def _panels(cells: Sequence[Cell], title: str) -> tuple[Figure, dict[str, Axes]]:
    games = list(dict.fromkeys(cell.game for cell in cells if cell.part == "steps"))
    across = min(ACROSS, len(games))
    down = math.ceil(len(games) / across)
    figure = Figure(figsize=(3.6 * across + 1, 3.1 * down + 1.4), dpi=120, layout="constrained")
    grid = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
    for axis in grid[len(games) :]:
        axis.set_visible(False)
    figure.suptitle(title[0].upper() + title[1:], fontsize=12)
    return figure, dict(zip(games, grid, strict=False))


def _looks(cells: Sequence[Cell]) -> dict[str, dict[str, object]]:
    """Label to colour, dashes and width: the rule is the widest."""
    labels = [RULE, *dict.fromkeys(_label(c) for c in cells if c.part == "steps" and c.eta)]
    return {
        label: {**look, "linewidth": 2.6 if label == RULE else 1.4}
        for label, look in styles(labels).items()
    }


def _label(cell: Cell) -> str:
    return CONSTANT if cell.method == RULE else cell.method


def _finish(figure: Figure, axes: dict[str, Axes]) -> None:
    for game, axis in axes.items():
        axis.set_title(game, fontsize=10)
        axis.set_ylim(-0.02, 1.04)
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
        axis.grid(alpha=0.25)
    next(iter(axes.values())).set_ylabel("share of games solved")
    add_legend(figure, next(iter(axes.values())))
