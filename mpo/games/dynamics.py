"""The tabular step that MPO approximates: magnetic mirror descent in closed form."""

from __future__ import annotations

import torch
from torch import Tensor


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
