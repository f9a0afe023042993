"""From judged pairs to advantages: comparison means, baselines, discounted returns."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_win(wins: Tensor, compared: Tensor) -> Tensor:
    """Each response's mean win probability over the opponents that it met: (B, n).

    A_i = mean_j P(y_i ≻ y_j) − b (design, section 2); wins and compared are (B, n, k).
    """
    weight = compared.to(wins.dtype)
    return (wins * weight).sum(-1) / weight.sum(-1)


def leave_one_out(wins: Tensor, compared: Tensor, own_pairs: bool) -> Tensor:
    """Mean of the comparisons that response i took no part in: (B, n) (Kool et al. 2019).

    With `own_pairs` the comparisons come in both orders, so this is exactly ½: leave-one-out then
    equals the constant baseline. NaN where no such comparison exists.
    """
    weight = compared.to(wins.dtype)
    total, count = (wins * weight).sum((-2, -1)), weight.sum((-2, -1))
    mine, met = (wins * weight).sum(-1), weight.sum(-1)
    if own_pairs:
        mine, met = mine + (wins * weight).sum(-2), met + weight.sum(-2)
    return (total[:, None] - mine) / (count[:, None] - met)


def greedy_win(greedy_wins: Tensor, compared: Tensor) -> Tensor:
    """ReMax baseline: the greedy response's mean against the same opponents: (B, n).

    greedy_wins is (B, k): P(greedy ≻ y′_j) (Li et al. 2023; paper, appendix A).
    """
    return mean_win(greedy_wins[:, None, :].expand(compared.shape), compared)


def discounts(mask: Tensor, gamma: float, every_token: bool, dtype: torch.dtype) -> Tensor:
    """G_t: (B, n, T), zero outside the mask.

    A reward at the end gives γ^{T−t}; the same reward at every token gives Σ_{l≥t} γ^{l−t}
    (paper, Algorithm 1 line 7), T the response's own length.
    """
    to_go = mask.flip(-1).cumsum(-1).flip(-1).to(dtype)
    last = torch.clamp(to_go - 1, min=0)
    if every_token:
        powers = to_go if gamma == 1.0 else (1.0 - gamma**to_go) / (1.0 - gamma)
    else:
        powers = gamma**last
    return powers * mask


def later_sum(values: Tensor) -> Tensor:
    """Σ_{l>t} values_l along the last axis, same shape."""
    return values.flip(-1).cumsum(-1).flip(-1) - values
