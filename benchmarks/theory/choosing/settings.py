"""The settings of `experiment=choosing`; the values are in conf/experiment/choosing.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.rules import COUNT, COUNT_OR_ZERO, POSITIVE, Rule, broken


def _different(value: list[Any]) -> bool:
    return bool(value) and len(set(value)) == len(value)


NAMED = Rule(_different, "a list of different games, such as [cyclic:10, random_logistic:100]")
STEPS = Rule(
    lambda value: _different(value) and all(POSITIVE.holds(number) for number in value),
    "a list of different numbers > 0",
)
INTERVALS = Rule(
    lambda value: _different(value) and all(COUNT.holds(number) for number in value),
    "a list of different integers ≥ 1",
)


@dataclass(frozen=True)
class Choosing:
    """What the methods are compared on."""

    games: list[str]
    """FAMILY:ACTIONS, a family of matrix games and its number of actions."""
    first_seed: int
    """Seed of the first game of each; those after it follow. The rule was tuned on 1000 and up."""
    count: int
    """Games of each."""
    large_count: int
    """Games of each with 50 or more actions."""
    calls: int
    """Oracle calls a run: evaluations of P π."""
    etas: list[float]
    """Constant stepsizes η at which each method is run."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        return broken(
            self,
            games=NAMED,
            first_seed=COUNT_OR_ZERO,
            count=COUNT,
            large_count=COUNT,
            calls=COUNT,
            etas=STEPS,
        )


@dataclass(frozen=True)
class Grid:
    """The grid over MPO's inner step, α, interval and η, and the adaptive rule's alternatives."""

    games: list[str]
    """As `games` above."""
    count: int
    """Games of each, the first ones."""
    alphas: list[float]
    """Strengths α of the magnet."""
    intervals: list[int]
    """Steps between two moves of the magnet."""
    etas: list[float]
    """Stepsizes η, of which the best of each row is shown."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        return broken(self, games=NAMED, count=COUNT, alphas=STEPS, intervals=INTERVALS, etas=STEPS)
