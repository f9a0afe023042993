"""What the paper claims of MMD with a magnet that stays: Theorems 3.2, 3.5 and F.1."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.theory.experiments import Config
from benchmarks.theory.theorems.claims import Claim, Curve, curves
from benchmarks.theory.theorems.games import Batch, divergence, follow, path, payoffs
from benchmarks.theory.theorems.rounds import regularised_equilibria
from mpo.games.dynamics.magnetic import MMD, MPO, MPORT

RATE = Claim(
    "theorem_3.2",
    "Theorem 3.2",
    "KL(π_r* ‖ π_k) ≤ KL(π_r* ‖ π_0) (1 + ηα)^−k at η = α/L²",
    "step",
    floor=1e-16,
)
STEP_RATE = Claim(
    "theorem_3.2_step",
    "Theorem 3.2, its proof",
    "KL(π_r* ‖ π_{k+1}) ≤ KL(π_r* ‖ π_k) / (1 + ηα) at η = α/L²",
    "step",
    floor=1e-16,
)
EQUAL_STEPS = Claim(
    "theorem_3.5",
    "Theorem 3.5",
    "max |log π_k − log π'_k| ≤ 1e-10, π' by MD on the reward P π − α log(π/μ) with η/(1 + ηα)",
    "step",
)
GAP_RATE = Claim(
    "theorem_F.1",
    "Theorem F.1",
    "ε_α(π_k) ≤ C (1 + ηα)^(−k/2), C = 2√2 (L + α / min π) √KL(π_r* ‖ π_0)",
    "step",
    floor=1e-7,
)
EQUAL = 1e-10


class Approach(NamedTuple):
    """MMD on its way: ``logs`` (K + 1, N, R), log π_k; ``away`` (K + 1, N), KL(π_r* ‖ π_k);
    ``log_equilibrium`` (N, R), log π_r*; ``log_magnet`` (N, R); ``eta`` (N, 1)."""

    logs: Tensor
    away: Tensor
    log_equilibrium: Tensor
    log_magnet: Tensor
    eta: Tensor


def claims(batch: Batch, config: Config) -> list[Curve]:
    """Both sides of each theorem on each game of a batch."""
    alpha = config["alpha"]
    found = approach(batch, alpha, config["steps"], alpha / batch.smoothness**2)
    shrink = 1 / (1 + found.eta * alpha)
    powers = _powers(shrink, config["steps"])
    return [
        *curves(RATE, batch, found.away[1:], found.away[0] * powers),
        *curves(STEP_RATE, batch, found.away[1:], found.away[:-1] * shrink[:, 0]),
        *curves(EQUAL_STEPS, batch, *_equal_steps(batch, alpha, config["steps"], found.eta)),
        *curves(GAP_RATE, batch, *_gap_rate(batch, alpha, found, powers)),
    ]


def approach(batch: Batch, alpha: float, steps: int, eta: Tensor) -> Approach:
    """MMD from each game's start to the regularised equilibrium of a uniform magnet.

    Args:
        batch: N games.
        alpha: α.
        steps: K.
        eta: (N, 1), η.
    """
    log_magnet = torch.full_like(batch.log_policy, -math.log(batch.log_policy.shape[1]))
    dynamic = MMD(alpha=alpha, eta=eta)
    state = dynamic.initial(batch.log_policy)._replace(log_magnet=log_magnet)
    logs = follow(dynamic, state, batch.preferences, steps)
    equilibrium = regularised_equilibria(batch.preferences, log_magnet, alpha)
    away = divergence(equilibrium.expand_as(logs), logs)
    return Approach(logs, away, equilibrium, log_magnet, eta)


def _powers(shrink: Tensor, steps: int) -> Tensor:
    """(1 + ηα)^−k for k = 1 … K, (K, N)."""
    exponents = torch.arange(1, steps + 1, dtype=torch.float64)[:, None]
    return shrink[:, 0] ** exponents


def _equal_steps(batch: Batch, alpha: float, steps: int, eta: Tensor) -> tuple[Tensor, Tensor]:
    """How far MMD and MD on the transformed reward are apart, (K, N), and what is allowed."""
    mmd = MPO(alpha=alpha, eta=eta, magnet_interval=steps + 1)
    apart = (path(mmd, batch, steps) - path(MPORT.equal_to(mmd), batch, steps)).abs().amax(2)
    return apart[1:], torch.full_like(apart[1:], EQUAL)


def _gap_rate(batch: Batch, alpha: float, found: Approach, powers: Tensor) -> tuple[Tensor, Tensor]:
    """The regularised game's gap, sup ⟨G(π_k), π_k − π⟩ with G = −P π + α log(π/μ), and its bound.

    G is Lipschitz with L + α / min π along the way, ‖π − π'‖₁ ≤ 2, and by Pinsker
    ‖π_r* − π_k‖₁ ≤ √(2 KL); G(π_r*) is the same for all actions.
    """
    slope = alpha * (found.logs - found.log_magnet) - payoffs(batch.preferences, found.logs)
    gap = (found.logs.exp() * slope).sum(2) - slope.amin(2)
    least = torch.minimum(found.logs.amin((0, 2)), found.log_equilibrium.amin(1)).exp()
    lipschitz = batch.smoothness[:, 0] + alpha / least
    constant = 2 * math.sqrt(2) * lipschitz * found.away[0].sqrt()
    return gap[1:], constant * powers.sqrt()
