"""Schedules of the learning rate and of η."""

from __future__ import annotations

import math


def learning_rate_factor(step: int, total: int, warmup: int, kind: str) -> float:
    """The factor on the learning rate at optimizer step `step` of `total`.

    Linear from 1/warmup to 1 over `warmup` steps, then `constant`, or `cosine` to 0 (paper,
    Table 7: cosine with warm-up).
    """
    if step < warmup:
        return (step + 1) / warmup
    if kind == "constant":
        return 1.0
    progress = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def eta_at(iteration: int, eta: float, kind: str, horizon: int, floor: float) -> float:
    """η_k: `constant`, or `linear` η·max(floor, 1 − k/horizon) with k counted from 0.

    The paper anneals η_k = 1 − k/T_k (section 3.3), which divides by zero in 1/η_k at its end:
    hence the floor.
    """
    if kind == "constant":
        return eta
    return eta * max(floor, 1.0 - iteration / horizon)
