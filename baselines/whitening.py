"""Whitening over the tokens that count."""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 1e-8
"""Added to the variance, so that numbers that do not vary are not divided by zero."""


def whiten(values: Tensor, mask: Tensor, keep_mean: bool = False) -> Tensor:
    """(v − mean)/√(var + 1e-8), and + mean where it is kept; zero where the mask is False.

    Mean and variance (of n, not of n − 1) are over every token of the mask. This is `whiten` of
    Ziegler et al. 2019, with `keep_mean` their `shift_mean=False`. Both arguments (B, n, T).
    """
    spread, mean = torch.var_mean(values[mask], correction=0)
    scaled = (values - mean) * torch.rsqrt(spread + FLOOR)
    return (scaled + mean if keep_mean else scaled) * mask
