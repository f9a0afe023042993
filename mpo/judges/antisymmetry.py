"""Preferences of which the two orders of a pair add up to 1 to the bit."""

from __future__ import annotations

import torch
from torch import Tensor


def complementary(high: Tensor, first: Tensor) -> Tensor:
    """`high`, the winner's probability in [½, 1], where `first` wins, else 1 − high.

    1 − high is exact there, so that the answers for (a, b) and (b, a) add up to 1 without rounding,
    provided that `high` is the same number in both and `first` the opposite, or high = ½.
    """
    return torch.where(first, high, 1 - high)
