"""What `experiment=choosing` runs: constant stepsizes, the grid over MPO, and the alternatives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from benchmarks.theory.dynamics.table import quantile
from mpo.games.dynamics.adaptive import MPOAdaptive
from mpo.games.dynamics.magnetic import MPO, Inner
from mpo.games.dynamics.trajectory import run
from mpo.games.matrix_families import initial_policies, matrix_game

TOLERANCE = 1e-3
LARGE = 50
"""Games of so many actions or more are fewer."""

ALTERNATIVES: dict[str, dict[str, float]] = {
    "as it is": {},
    "η = 2 throughout": {"eta": 2.0},
    "η = 2, nothing mixed into the magnet, α from 0.05": {
        "eta": 2.0, "step_share": 0.4, "strength": 0.25, "least_strength": 5e-4, "exploration": 0.0,
    },
    "nothing mixed into the magnet": {"exploration": 0.0},
    "a twentieth of the mixing": {"exploration": 1.0},
    "twice the mixing": {"exploration": 40.0},
    "no part above 0.03 mixed in": {"most_exploration": 0.03},
    "c = 0.2": {"step_share": 0.2},
    "c = 0.5": {"step_share": 0.5},
    "c = 0.6, above 1/√3": {"step_share": 0.6},
    "λ forgets at once": {"memory": 0.0},
    "λ never falls": {"memory": 1.0},
    "first step of 2 for ½": {"first_step": 2.0},
    "κ from 0.4": {"strength": 0.4},
    "κ from 0.025": {"strength": 0.025},
    "κ stays at 0.1": {"weakening": 1.0},
    "κ halved at each move": {"weakening": 0.5},
    "magnet moved at 0.3 of the residual": {"progress": 0.3},
    "magnet moved at 0.01 of the residual": {"progress": 0.01},
}  # fmt: skip
"""Fields of MPOAdaptive that are changed, one idea a row."""


class Batch(NamedTuple):
    """Games of one family: ``preferences`` (N, R, R), ``log_policy`` (N, R)."""

    game: str
    preferences: Tensor
    log_policy: Tensor


class Cell(NamedTuple):
    """One setting on the games of a family."""

    part: str
    """steps | grid | alternatives."""
    game: str
    method: str
    setting: str
    """What is the same for the cells from which the best is taken."""
    eta: float | None
    """None: found by the rule."""
    calls: tuple[float, ...]
    """Oracle calls of each game until it was solved to ``TOLERANCE`` for good; infinite: never."""
    diverged: int

    @property
    def solved(self) -> int:
        """Number of games."""
        return sum(map(math.isfinite, self.calls))

    @property
    def median(self) -> float:
        """Of all games."""
        return quantile(self.calls, 0.5)

    @property
    def ninth(self) -> float:
        """90th percentile of all games."""
        return quantile(self.calls, 0.9)

    def rank(self) -> tuple[float, float, float]:
        """Smaller is better: unsolved games, then the median, then the 90th percentile."""
        return (len(self.calls) - self.solved, self.median, self.ninth)


def parsed(game: str) -> tuple[str, int]:
    """FAMILY:ACTIONS.

    Raises:
        ValueError: another form.
    """
    family, colon, actions = game.partition(":")
    if not colon or not actions.isdecimal():
        raise ValueError(f"got {game!r}, allowed is FAMILY:ACTIONS, such as cyclic:10")
    return family, int(actions)


def batch_of(game: str, first_seed: int, count: int, large_count: int) -> Batch:
    """Its games, one a seed."""
    family, actions = parsed(game)
    kept = min(count, large_count) if actions >= LARGE else count
    seeds = range(first_seed, first_seed + kept)
    games = torch.stack([matrix_game(family, seed, actions) for seed in seeds])
    return Batch(game, games, initial_policies(seeds, actions).log())


def at_steps(
    part: str, name: str, setting: str, method: Any, batch: Batch, etas: Sequence[float], calls: int
) -> list[Cell]:
    """The method at each constant stepsize that it allows, all as rows of one run."""
    allowed = [eta for eta in etas if not replace(method, eta=eta).problems()]
    if not allowed:
        return []
    rows = len(batch.log_policy)
    column = torch.tensor(allowed, dtype=torch.float64).repeat_interleave(rows)[:, None]
    many = Batch(
        batch.game,
        batch.preferences.repeat(len(allowed), 1, 1),
        batch.log_policy.repeat(len(allowed), 1),
    )
    reached, diverged = _played(replace(method, eta=column), many, calls)
    return [
        Cell(part, batch.game, name, setting, eta, tuple(times.tolist()), int(lost.sum()))
        for eta, times, lost in zip(allowed, reached.split(rows), diverged.split(rows), strict=True)
    ]


def as_it_is(part: str, name: str, setting: str, method: Any, batch: Batch, calls: int) -> Cell:
    """The method with its own stepsize."""
    reached, diverged = _played(method, batch, calls)
    eta = method.eta
    return Cell(part, batch.game, name, setting, eta, tuple(reached.tolist()), int(diverged.sum()))


def grid(
    batch: Batch,
    alphas: Iterable[float],
    intervals: Iterable[int],
    etas: Sequence[float],
    calls: int,
) -> list[Cell]:
    """MPO with each inner step, strength and interval, at each stepsize."""
    cells = []
    for inner, alpha, interval in product(get_args(Inner), alphas, intervals):
        method = MPO(alpha=alpha, magnet_interval=interval, inner=inner)
        setting = f"{inner}, α = {alpha:g}, magnet every {interval}"
        cells += at_steps("grid", "mpo", setting, method, batch, etas, calls)
    return cells


def alternatives(batch: Batch, calls: int) -> list[Cell]:
    """The adaptive rule with one idea changed at a time."""
    return [
        as_it_is(
            "alternatives", "mpo_adaptive", label, replace(MPOAdaptive(), **fields), batch, calls
        )
        for label, fields in ALTERNATIVES.items()
    ]


def best(cells: Iterable[Cell]) -> Cell:
    """The one that solves most games; of equals, the one with the smallest median."""
    return min(cells, key=Cell.rank)


def _played(method: Any, batch: Batch, calls: int) -> tuple[Tensor, Tensor]:
    ended = run(method, batch.preferences, batch.log_policy, calls, tolerances=[TOLERANCE])
    return ended.calls_to[:, 0], ended.diverged
