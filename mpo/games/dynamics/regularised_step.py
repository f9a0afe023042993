"""The step that the methods with a KL penalty to a reference share, and their states.

All of them play the game with payoff P(π ≻ π') − α KL(π ‖ μ) + α KL(π' ‖ μ), whose only
equilibrium is π ∝ μ exp(P π / α) (Munos et al. 2023, arXiv 2312.00886), and move by
mirror descent on its gradient. They differ in where P π is evaluated and in what μ does.

Shapes as in ``protocol.py``: N rows, R actions.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from mpo.games.dynamics.field_checks import FieldChecks
from mpo.games.dynamics.protocol import Number
from mpo.games.dynamics.step import mirror_step

Schedule = Literal["constant", "falling"]


class ReferenceState(NamedTuple):
    """``log_policy`` (N, R) and ``log_reference`` (N, R), log μ, which never moves."""

    log_policy: Tensor
    log_reference: Tensor


class ScheduledState(NamedTuple):
    """The same with the number of steps done, for a stepsize that falls with it."""

    log_policy: Tensor
    log_reference: Tensor
    steps: int


def regularised_step(
    log_policy: Tensor, log_reference: Tensor, wins: Tensor, alpha: Number, eta: Number
) -> Tensor:
    """argmax_π  π·(g − α log(π_k/μ)) − (1/η) KL(π ‖ π_k)  ∝  π_k^{1−ηα} μ^{ηα} exp(η g).

    It is the magnetic step of ``step.py`` with the stepsize η / (1 − ηα).

    Args:
        log_policy: (N, R), log π_k.
        log_reference: (N, R), log μ.
        wins: (N, R), g, P of whichever policy the method evaluates.
        alpha: α, positive.
        eta: η, positive; ηα at most 1.

    Returns:
        (N, R), log π_{k+1}, normalised.
    """
    gradient = wins - alpha * (log_policy - log_reference)
    return mirror_step(log_policy, gradient, eta)


def geometric_mixture(log_policy: Tensor, log_reference: Tensor, share: Number) -> Tensor:
    """(N, R), log of π^{1−s} μ^s, normalised: ``share`` s is the reference's."""
    return torch.log_softmax((1 - share) * log_policy + share * log_reference, dim=-1)


def falling_stepsize(alpha: Number, steps: int) -> Number:
    """η_k = 2 / (α (k + 2)), k = 0, 1, …: the stepsize of the theorems on the last iterate.

    KL(π*_α ‖ π_k) is at most 8 / (α² (k + 1)) with it (Munos et al. 2023, Theorem 1, for
    ``NashMDMixture``). The first step goes back to μ, as ηα = 1 there.
    """
    return 2 / (alpha * (steps + 2))


def check_alpha_and_eta(checks: FieldChecks) -> None:
    """Both positive, and ηα at most 1: above, the step would move away from the reference."""
    before = len(checks.found)
    checks.positive("alpha", "eta")
    if len(checks.found) > before:
        return
    alpha, eta = (torch.as_tensor(getattr(checks.dynamic, field)) for field in ("alpha", "eta"))
    too_large = eta * alpha > 1
    if bool(too_large.any()):
        checks.found.append(
            f"eta: got eta * alpha up to {float((eta * alpha).max())}, allowed: 1 or less"
        )
