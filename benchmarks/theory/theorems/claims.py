"""A claim of the paper, its two sides as measured, and whether it holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.theory.theorems.games import Batch

ROUNDING = 1e-9
"""Left sides that are larger than the right one by this share of it count as equal."""


class Claim(NamedTuple):
    """left ≤ right."""

    key: str
    """In tables and files, such as theorem_3.2."""
    place: str
    """In the paper, such as Theorem 3.2."""
    says: str
    """left ≤ right in words and symbols."""
    along: str
    """What counts its points."""
    floor: float = 0.0
    """Points whose right side is not above this are not judged: they are rounding errors."""
    strict: bool = False
    """left < right."""
    last_only: bool = False
    """It speaks of the end alone; the points before are for the figure."""


class Curve(NamedTuple):
    """Both sides of a claim on one game, K points: ``x``, ``left`` and ``right`` (K,)."""

    claim: Claim
    game: str
    seed: int
    x: Tensor
    left: Tensor
    right: Tensor


class Verdict(NamedTuple):
    """Where left / right is largest, and whether the claim holds at all points."""

    claim: str
    game: str
    seed: int
    at: float
    left: float
    right: float
    ratio: float
    holds: bool


def curves(claim: Claim, batch: Batch, left: Tensor, right: Tensor, first: int = 1) -> list[Curve]:
    """A curve a game, from (K, N) sides whose points are numbered from ``first``."""
    x = torch.arange(first, first + len(left), dtype=torch.float64)
    return [
        Curve(claim, name, seed, x, left[:, row], right[:, row])
        for row, (name, seed) in enumerate(zip(batch.names, batch.seeds, strict=True))
    ]


def verdict(curve: Curve) -> Verdict | None:
    """The worst point; None where no point is above the claim's floor.

    A point that is not finite breaks the claim.
    """
    claim, left, right = curve.claim, curve.left, curve.right
    judged = ~(right <= claim.floor)
    if claim.last_only:
        judged &= torch.arange(len(right)) == len(right) - 1
    if not bool(judged.any()):
        return None
    ratios = torch.where(judged, (left / right).nan_to_num(nan=torch.inf), -torch.inf)
    at = int(ratios.argmax())
    worst = float(ratios[at])
    holds = worst < 1 if claim.strict else worst <= 1 + ROUNDING
    where = float(curve.x[at]), float(left[at]), float(right[at])
    return Verdict(claim.key, curve.game, curve.seed, *where, worst, holds)


def verdicts(all_curves: Sequence[Curve]) -> list[Verdict]:
    """Of each curve that can be judged."""
    return [found for curve in all_curves if (found := verdict(curve)) is not None]
