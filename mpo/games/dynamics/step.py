"""The tabular steps: magnetic mirror descent in closed form, which MPO approximates, and MWU."""

from __future__ import annotations

import torch
from torch import Tensor

from mpo.games.dynamics.protocol import Number


def mmd_step(
    preferences: Tensor,
    policy: Tensor,
    opponent: Tensor,
    log_magnet: Tensor,
    alpha: float,
    eta: float,
) -> Tensor:
    """One step of magnetic mirror descent (the paper's equation (4)), in closed form.

    π_{k+1} = argmax_π  π·(P o) − α KL(π ‖ μ) − (1/η) KL(π ‖ π_k)
            ∝ exp((P o + α log μ + (1/η) log π_k) / (α + 1/η))

    Args:
        preferences: (…, R, R), P(y ≻ y').
        policy: (…, R), π_k.
        opponent: (…, R), o: π_k itself in the theory, the magnet in Algorithm 1 to the letter.
        log_magnet: (…, R), log μ, normalised or not.
        alpha: α, strength of the magnet, 0 or more (0: multiplicative weights).
        eta: η, stepsize, positive; ``math.inf`` drops the last term.

    Returns:
        (…, R), π_{k+1}, sums to 1.

    Raises:
        ValueError: α or η out of range, or α = 0 with η infinite.
    """
    if not alpha >= 0:
        raise ValueError(f"alpha: got {alpha}, allowed: 0 or more")
    if not eta > 0:
        raise ValueError(f"eta: got {eta}, allowed: above 0")
    strength = alpha + 1 / eta
    if strength == 0:
        raise ValueError("eta: got inf with alpha 0, allowed: one of the two terms must be there")
    gradient = (preferences @ opponent[..., None])[..., 0]
    # A term of weight 0 is left out: 0 · log 0 would be NaN.
    if alpha > 0:
        gradient = gradient + alpha * log_magnet
    if eta < float("inf"):
        gradient = gradient + policy.log() / eta
    return torch.softmax(gradient / strength, dim=-1)


def magnetic_step(
    log_policy: Tensor, payoffs: Tensor, log_magnet: Tensor, alpha: Number, eta: Number
) -> Tensor:
    """The same step on logarithms, for a finite η and payoffs g that are given.

    log π_{k+1} = (log π_k + η (g + α log μ)) / (1 + η α) − log Z

    Args:
        log_policy: (N, R), log π_k.
        payoffs: (N, R), g: P o, or what a dynamic takes in its place.
        log_magnet: (N, R), log μ.
        alpha: α, 0 or more.
        eta: η, above 0 and finite.

    Returns:
        (N, R), log π_{k+1}, normalised.
    """
    pulled = log_policy + eta * (payoffs + alpha * log_magnet)
    return torch.log_softmax(pulled / (1 + eta * alpha), dim=-1)


def mirror_step(log_policy: Tensor, payoffs: Tensor, eta: Number) -> Tensor:
    """Mirror descent with the entropy: π_{k+1} ∝ π_k exp(η g), the step above at α = 0.

    Shapes as ``magnetic_step``.
    """
    return torch.log_softmax(log_policy + eta * payoffs, dim=-1)
