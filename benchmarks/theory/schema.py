"""The settings of the experiments on games; the values are in conf/experiment/.

A section is a frozen dataclass; OmegaConf checks the types, `problems()` the rest. Nothing here
imports torch, so that --help needs none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.rules import COUNT, NOT_NEGATIVE, POSITIVE, Rule, broken

SCHEMA = 1
"""Version of config.yaml and result.json of the experiments on games."""

ACTIONS = Rule(lambda value: value >= 2, "an integer ≥ 2: with one action there is no game")
THREE_WEIGHTS = Rule(
    lambda value: (
        len(value) == 3 and all(share > 0 for share in value) and sum(value) < float("inf")
    ),
    "three numbers > 0",
)


def _different(value: list[Any]) -> bool:
    return bool(value) and len(set(value)) == len(value)


@dataclass(frozen=True)
class Machine:
    """Settings that every experiment on games has."""

    threads: int
    """Torch threads; part of the config, because sums depend on it."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        return broken(self, threads=COUNT)


@dataclass(frozen=True)
class Dynamics:
    """`experiment=dynamics`: what is run on the games, and how long."""

    calls: int
    """Oracle calls a run: evaluations of P π (K x in sequence form)."""
    noise: float
    """Standard deviation of the normal noise on each entry of P π; 0: exact."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        return broken(self, calls=COUNT, noise=NOT_NEGATIVE)


@dataclass(frozen=True)
class Game:
    """`experiment=dynamics`: the games."""

    names: list[str]
    """Matrix games: families, or `matrix` (a file). Or extensive-form games: kuhn, leduc,
    leduc_ranks, openspiel:NAME. Also as `game=…`."""
    actions: int
    """R, actions of a seeded matrix game; rock_paper_scissors always has 3."""
    path: str | None
    """File of `game=matrix`, .npy or .csv: the R × R win probabilities, P + Pᵀ = 1."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        names = Rule(_different, "a list of different games, such as [cyclic, bradley_terry]")
        return broken(self, names=names, actions=ACTIONS)


@dataclass(frozen=True)
class Figure3:
    """`experiment=figure3`: the curves on the simplex."""

    alphas: list[float]
    """Strengths α of the fixed magnet, a curve and a regularised equilibrium each."""
    mpo_alpha: float
    """α of MPO, whose magnet moves."""
    magnet_interval: int
    """Iterations between two moves of MPO's magnet."""
    eta: float
    """Stepsize η of all curves."""
    iterations: int
    """Iterations of all curves."""
    start: list[float]
    """Where all curves start, and the magnet of MMD: three weights, made to sum to 1."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        strengths = Rule(
            lambda value: _different(value) and all(POSITIVE.holds(alpha) for alpha in value),
            "a list of different numbers > 0",
        )
        return broken(
            self,
            alphas=strengths,
            mpo_alpha=POSITIVE,
            magnet_interval=COUNT,
            eta=POSITIVE,
            iterations=COUNT,
            start=THREE_WEIGHTS,
        )


@dataclass(frozen=True)
class WeightedGame:
    """`experiment=figure3`: weighted rock-paper-scissors."""

    weights: list[float]
    """How often the equilibrium plays rock, scissors and paper: three weights, in proportion."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        return broken(self, weights=THREE_WEIGHTS)
