"""The tables and sentences of `experiment=choosing`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pandas as pd

from benchmarks.block import Block
from benchmarks.intervals import share_interval
from benchmarks.theory.choosing.runs import Cell, best
from benchmarks.theory.dynamics.table import calls
from benchmarks.wording import listed, share

RULE = "mpo_adaptive"
FOUND = "found"
"""How the stepsize of the rule is written."""


def rule_of(cells: Sequence[Cell], game: str) -> Cell:
    """The rule as it is, on a game."""
    return next(
        cell
        for cell in cells
        if cell.part == "steps" and cell.game == game and cell.method == RULE and cell.eta is None
    )


def best_steps(cells: Sequence[Cell], game: str) -> list[Cell]:
    """Each method at its best constant stepsize on a game, the best method first."""
    mine = [cell for cell in cells if cell.part == "steps" and cell.game == game]
    constant = [cell for cell in mine if cell.eta is not None]
    names = dict.fromkeys(cell.method for cell in constant)
    chosen = [best(cell for cell in constant if cell.method == name) for name in names]
    return sorted(chosen, key=Cell.rank)


def ahead(cells: Sequence[Cell], game: str) -> list[Cell]:
    """The methods that, at their best constant stepsize, do better than the rule on a game."""
    rule = rule_of(cells, game)
    return [cell for cell in best_steps(cells, game) if cell.rank() < rule.rank()]


def blocks(cells: Sequence[Cell]) -> list[Block]:
    """A table a game of each part."""
    found = []
    for game in _games(cells, "steps"):
        rows = [_cells(cell, _step_name(cell)) for cell in _compared(cells, game)]
        found.append(Block(f"{game}: each method at its best constant η", pd.DataFrame(rows)))
    for game in _games(cells, "grid"):
        rows = [_cells(cell, cell.setting) for cell in _grid_best(cells, game)]
        found.append(Block(f"{game}: MPO at the best η of each row", pd.DataFrame(rows)))
    for game in _games(cells, "alternatives"):
        mine = [cell for cell in cells if cell.part == "alternatives" and cell.game == game]
        rows = [_cells(cell, cell.setting) for cell in mine]
        found.append(Block(f"{game}: alternatives to {RULE}", pd.DataFrame(rows)))
    return found


def sentences(cells: Sequence[Cell]) -> list[str]:
    """What the rule reaches, against extragradient MWU, and who is ahead of it where."""
    lines = []
    for game in _games(cells, "steps"):
        rule = rule_of(cells, game)
        words = (
            f"{game}: `{RULE}` solves {share(share_interval(rule.solved, len(rule.calls)))} of "
            f"{len(rule.calls)} games, median {calls(rule.median)}, 90th percentile "
            f"{calls(rule.ninth)}"
        )
        rivals = best_steps(cells, game)
        for rival in (cell for cell in rivals if cell.method == "extragradient_mwu"):
            words += f"; extragradient MWU at its best, η = {rival.eta:g}, {_short(rival)}"
            if math.isfinite(rival.median) and rule.median > 0:
                words += f", {rival.median / rule.median:.1f} times the median"
        better = ahead(cells, game)
        if better:
            named = listed(
                [f"`{cell.method}` (η = {cell.eta:g}, {_short(cell)})" for cell in better]
            )
            words += f". Ahead of it: {named}."
        else:
            words += ". No method is ahead of it at its best constant η."
        lines.append(words)
    return lines


def metrics(cells: Sequence[Cell]) -> dict[str, float | None]:
    """The rule's numbers and how many methods are ahead of it, by game."""
    found: dict[str, float | None] = {}
    for game in _games(cells, "steps"):
        rule = rule_of(cells, game)
        found[f"{game}.solved"] = rule.solved / len(rule.calls)
        found[f"{game}.median"] = _finite(rule.median)
        found[f"{game}.ninth"] = _finite(rule.ninth)
        found[f"{game}.methods_ahead"] = len(ahead(cells, game))
    return found


def csv_rows(cells: Iterable[Cell]) -> list[dict[str, object]]:
    """A row a cell."""
    rows = []
    for cell in cells:
        interval = share_interval(cell.solved, len(cell.calls))
        rows.append(
            {
                "part": cell.part,
                "game": cell.game,
                "method": cell.method,
                "setting": cell.setting,
                "eta": "" if cell.eta is None else cell.eta,
                "games": len(cell.calls),
                "solved": interval.value,
                "solved_low": interval.low,
                "solved_high": interval.high,
                "calls_median": cell.median,
                "calls_90th": cell.ninth,
                "diverged": cell.diverged,
            }
        )
    return rows


def _games(cells: Sequence[Cell], part: str) -> list[str]:
    return list(dict.fromkeys(cell.game for cell in cells if cell.part == part))


def _compared(cells: Sequence[Cell], game: str) -> list[Cell]:
    return sorted([rule_of(cells, game), *best_steps(cells, game)], key=Cell.rank)


def _grid_best(cells: Sequence[Cell], game: str) -> list[Cell]:
    mine = [cell for cell in cells if cell.part == "grid" and cell.game == game]
    names = dict.fromkeys(cell.setting for cell in mine)
    return [best(cell for cell in mine if cell.setting == name) for name in names]


def _step_name(cell: Cell) -> str:
    if cell.method == RULE and cell.eta is not None:
        return f"{RULE}, constant η"
    return cell.method


def _cells(cell: Cell, name: str) -> dict[str, str]:
    return {
        "method": name + (f" ({cell.diverged} diverged)" if cell.diverged else ""),
        "η": FOUND if cell.eta is None else f"{cell.eta:g}",
        "solved": share(share_interval(cell.solved, len(cell.calls))),
        "median calls": calls(cell.median),
        "90th percentile": calls(cell.ninth),
    }


def _short(cell: Cell) -> str:
    return f"{100 * cell.solved / len(cell.calls):.1f} %, {calls(cell.median)}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
