"""What the paper claims of magnets that move: Lemmas 3.3, 3.6, F.2, Theorems 3.4, 3.7 and F.4."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.theory.experiments import Config
from benchmarks.theory.theorems.claims import Claim, Curve, curves
from benchmarks.theory.theorems.games import Batch, divergence, gaps, path
from benchmarks.theory.theorems.rounds import (
    entropic_rounds,
    euclidean_rounds,
    regularised_equilibria,
)
from mpo.games.dynamics.magnetic import MPO

NEARER = Claim(
    "lemma_3.3",
    "Lemma 3.3",
    "KL(π* ‖ μ_{n+1}) < KL(π* ‖ μ_n), μ_{n+1} the exact equilibrium of (6)",
    "round",
    strict=True,
)
STEP_NEARER = Claim(
    "lemma_F.2",
    "Lemma F.2",
    "KL(π* ‖ μ_{n+1}) + KL(μ_{n+1} ‖ μ_n) ≤ KL(π* ‖ μ_n)",
    "round",
    floor=1e-7,
)
EXACT_END = Claim(
    "theorem_3.4",
    "Theorem 3.4",
    "the gap of μ_n after the last exact round ≤ the tolerance",
    "round",
    last_only=True,
)
ROUND_RATE = Claim(
    "lemma_3.6",
    "Lemma 3.6",
    "KL(π_r* ‖ μ_{n+1}) ≤ KL(π_r* ‖ μ_n) (1 + ηα)^−T, π_r* for the magnet μ_n, η = α/L²",
    "round",
    floor=1e-20,
)
END = Claim(
    "theorem_3.7",
    "Theorem 3.7",
    "the gap of μ_n after the last round of T steps ≤ the tolerance",
    "round",
    last_only=True,
)
EUCLIDEAN_RATE = Claim(
    "theorem_F.4",
    "Theorem F.4, exact Euclidean rounds",
    "gap(x_n) ≤ 2√2 α ‖x_0 − π*‖₂ / √n",
    "round",
)
ENTROPIC_RATE = Claim(
    "theorem_F.4_KL",
    "Theorem F.4, exact KL rounds",
    "√n gap(μ_n) in the second half of the rounds ≤ its maximum in the first",
    "round",
)
STILL_FAR = 1e-5
"""Lemma 3.3 is of magnets that are no equilibrium: this gap or more."""


def claims(batch: Batch, config: Config) -> list[Curve]:
    """Both sides of each claim on each game of a batch."""
    return [*_exact(batch, config), *_steps(batch, config)]


def _exact(batch: Batch, config: Config) -> list[Curve]:
    alpha, rounds = config["alpha"], config["rounds"]
    logs = entropic_rounds(batch.preferences, batch.log_policy, alpha, rounds)
    gap = gaps(batch.preferences, logs)
    away = divergence(batch.nash.log().expand_as(logs), logs)
    moved = divergence(logs[1:], logs[:-1])
    # Once the magnet is an equilibrium to rounding, it does not move.
    before = torch.where(gap[:-1] >= STILL_FAR, away[:-1], 0.0)
    allowed = torch.full_like(gap[1:], config["tolerance"])
    start = batch.log_policy.exp()
    points = euclidean_rounds(batch.preferences, start, alpha, rounds)
    count = torch.arange(1, rounds + 1, dtype=torch.float64)[:, None]
    bound = 2 * math.sqrt(2) * alpha * (start - batch.nash).norm(dim=1) / count.sqrt()
    grown = gap[1:] * count.sqrt()
    half = rounds // 2
    most = grown[:half].amax(0).expand_as(grown[half:])
    return [
        *curves(NEARER, batch, away[1:], before),
        *curves(STEP_NEARER, batch, away[1:] + moved, away[:-1]),
        *curves(EXACT_END, batch, gap[1:], allowed),
        *curves(EUCLIDEAN_RATE, batch, gaps(batch.preferences, points[1:].log()), bound),
        *curves(ENTROPIC_RATE, batch, grown[half:], most, first=half + 1),
    ]


def _steps(batch: Batch, config: Config) -> list[Curve]:
    alpha, interval, rounds = config["alpha"], config["round_steps"], config["rounds"]
    eta = alpha / batch.smoothness**2
    mpo = MPO(alpha=alpha, eta=eta, magnet_interval=interval)
    magnets = path(mpo, batch, interval * rounds)[::interval]
    left, right = round_rate(batch.preferences, magnets, alpha, eta, interval)
    gap = gaps(batch.preferences, magnets)[1:]
    return [
        *curves(ROUND_RATE, batch, left, right),
        *curves(END, batch, gap, torch.full_like(gap, config["tolerance"])),
    ]


def round_rate(
    preferences: Tensor, magnets: Tensor, alpha: float, eta: Tensor, interval: int
) -> tuple[Tensor, Tensor]:
    """Both sides of Lemma 3.6, (n, N), from magnets (n + 1, N, R), each with its own π_r*."""
    targets = torch.stack([regularised_equilibria(preferences, m, alpha) for m in magnets[:-1]])
    shrink = (1 / (1 + eta[:, 0] * alpha)) ** interval
    return divergence(targets, magnets[1:]), divergence(targets, magnets[:-1]) * shrink
