"""How far Theorem 3.2's bound goes beyond its condition η ≤ α/L².

Near π_r* a step is linear. With D the covariance of π_r*, S = P − ½ and A = D^½ S D^½, which is
antisymmetric, the step maps w = D^½ (log π − log π_r*) to (1 + ηA) w / (1 + ηα), and the KL is
½|w|². With σ the largest singular value of A the KL falls in the worst direction by

    (1 + η²σ²) / (1 + ηα)²,

no more than 1/(1 + ηα) exactly for η ≤ α/σ². And σ ≤ L: the theorem's condition suffices, and
L²/σ² is how much of it is given away near the equilibrium.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.theory.experiments import Config
from benchmarks.theory.theorems.fixed_magnet import STEP_RATE, approach
from benchmarks.theory.theorems.games import Batch, divergence, payoffs
from mpo.games.dynamics.step import magnetic_step

MULTIPLES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Of α/L²."""

NEAR = 1e-5
"""Largest |log π − log π_r*| of the start that shows the local rate."""

MARGIN = 0.02
"""The local condition is looked at so far below and above it, as a share of η."""


class Scanned(NamedTuple):
    """The bound per step on one game at η = ``multiple`` · α/L²: the largest left/right."""

    game: str
    seed: int
    multiple: float
    ratio: float
    holds: bool


class Local(NamedTuple):
    """The bound near π_r* in the worst direction.

    ``smoothness`` L, ``sigma`` σ; ``slack`` L²/σ²; ``below`` and ``above``: left/right at η 2 %
    below and above α/σ².
    """

    game: str
    seed: int
    smoothness: float
    sigma: float
    slack: float
    below: float
    above: float


def scan(batch: Batch, config: Config) -> list[Scanned]:
    """Every game at every multiple."""
    rows = []
    for multiple in MULTIPLES:
        eta = multiple * config["alpha"] / batch.smoothness**2
        found = approach(batch, config["alpha"], config["steps"], eta)
        allowed = found.away[:-1] / (1 + eta[:, 0] * config["alpha"])
        ratios = torch.where(allowed > STEP_RATE.floor, found.away[1:] / allowed, 0.0).amax(0)
        for name, seed, ratio in zip(batch.names, batch.seeds, ratios.tolist(), strict=True):
            rows.append(Scanned(name, seed, multiple, ratio, ratio <= 1))
    return rows


def local(batch: Batch, config: Config) -> list[Local]:
    """Every game near its regularised equilibrium."""
    alpha = config["alpha"]
    found = approach(batch, alpha, 0, alpha / batch.smoothness**2)
    sigma, direction = worst_direction(batch.preferences, found.log_equilibrium)
    limit = alpha / sigma[:, None] ** 2
    below, above = (
        _step_ratio(batch, found.log_equilibrium, found.log_magnet, direction, alpha, eta)
        for eta in (limit * (1 - MARGIN), limit * (1 + MARGIN))
    )
    smoothness = batch.smoothness[:, 0]
    columns = (smoothness, sigma, (smoothness / sigma) ** 2, below, above)
    numbers = zip(*(column.tolist() for column in columns), strict=True)
    return [
        Local(name, seed, *row)
        for name, seed, row in zip(batch.names, batch.seeds, numbers, strict=True)
    ]


def worst_direction(preferences: Tensor, log_equilibrium: Tensor) -> tuple[Tensor, Tensor]:
    """σ (N,), and log π − log π_r* (N, R) in the plane in which A turns most; largest entry 1."""
    policy = log_equilibrium.exp()
    covariance = torch.diag_embed(policy) - policy[:, :, None] * policy[:, None, :]
    values, vectors = torch.linalg.eigh(covariance)
    # The first eigenvalue is 0 but for rounding: shifting all logits changes no policy.
    values, vectors = values[:, 1:], vectors[:, :, 1:]
    root = vectors * values.sqrt()[:, None, :]
    turning = root.transpose(1, 2) @ (preferences - 0.5) @ root
    _, singular, rows = torch.linalg.svd(turning)
    shift = (vectors / values.sqrt()[:, None, :] @ rows[:, 0, :, None])[..., 0]
    return singular[:, 0], shift / shift.abs().amax(1, keepdim=True)


def _step_ratio(
    batch: Batch,
    log_equilibrium: Tensor,
    log_magnet: Tensor,
    direction: Tensor,
    alpha: float,
    eta: Tensor,
) -> Tensor:
    """KL after a step from near the equilibrium, over KL before / (1 + ηα), (N,)."""
    start = torch.log_softmax(log_equilibrium + NEAR * direction, dim=-1)
    answer = payoffs(batch.preferences, start)
    after = magnetic_step(start, answer, log_magnet, alpha, eta)
    before, now = divergence(log_equilibrium, start), divergence(log_equilibrium, after)
    return now / before * (1 + eta[:, 0] * alpha)
