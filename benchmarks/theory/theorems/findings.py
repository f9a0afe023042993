"""A counter-example to something as the paper writes it, with the numbers that show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mpo.games.matrix_families import initial_policies, matrix_game, rock_paper_scissors


class Line(NamedTuple):
    """A curve of a counter-example: ``x`` and ``y`` (K,)."""

    label: str
    x: Tensor
    y: Tensor


class Finding(NamedTuple):
    """What does not hold as written."""

    key: str
    """In tables and files, such as opponent."""
    place: str
    """In the paper."""
    written: str
    """What is written there."""
    shown: str
    """What the numbers show, a sentence or two."""
    numbers: dict[str, float]
    """By name, for counterexamples.csv."""
    lines: tuple[Line, ...] = ()
    """What the figure draws, duality gaps; empty for none."""
    along: str = "round"
    """What counts their points."""


ROCK_PAPER_SCISSORS = rock_paper_scissors([1, 1, 1])
"""(3, 3): each action beats the next for sure; the equilibrium is uniform."""

NEAR_UNIFORM = initial_policies([0], 3).log()
"""(1, 3), log of a start near the uniform policy."""


def small(value: float) -> str:
    """A gap in words: rounding may take it a little below 0."""
    return f"{value:.0e}" if value > 0 else "0"


def transitive() -> Tensor:
    """A Bradley-Terry game of four actions: a best and a worst action, (4, 4)."""
    return matrix_game("bradley_terry", 0, 4)


def logs(*policies: Sequence[float]) -> Tensor:
    """log of policies that are given as weights, (N, R)."""
    weights = torch.tensor(policies, dtype=torch.float64)
    return (weights / weights.sum(1, keepdim=True)).log()
