"""How intransitive a preference is, and how intransitive a panel of random annotators would be.

A triple is intransitive when the majority relation, P > ½, goes round in a circle on it: a beats b,
b beats c, c beats a. A triple with a tie (P = ½ for some pair) does not count as intransitive,
though it counts as a triple; so does a panel's even split.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def intransitive_share(preferences: Tensor) -> float:
    """The share of intransitive triples among all triples of responses to the same prompt.

    `preferences`: (..., k, k) win probabilities, P[i, j] = P(y_i ≻ y_j | x), k ≥ 3; the leading
    dimensions are prompts. The count is trace(W³)/3 for W = [P > ½]: each circle of three is
    found from each of its three starting points.

    Raises ValueError for another shape, k < 3, or when P + Pᵀ = 1 does not hold to 1e-6.
    """
    if preferences.ndim < 2 or preferences.shape[-1] != preferences.shape[-2]:
        raise ValueError(f"preferences: got shape {tuple(preferences.shape)}; want (..., k, k)")
    k = preferences.shape[-1]
    if k < 3 or preferences.numel() == 0:
        raise ValueError(
            f"preferences: got {k} responses of {preferences.numel() // max(k * k, 1)} prompts; "
            "a triple needs 3 responses and at least one prompt"
        )
    preferences = preferences.double()
    error = float((preferences + preferences.mT - 1).abs().max())
    if not error <= 1e-6:
        raise ValueError(f"preferences: P + Pᵀ differs from 1 by {error}; want a preference matrix")
    # P > Pᵀ is P > ½ without the last digit of single precision.
    beats = (preferences > preferences.mT).double()
    circles = (beats @ beats * beats.mT).sum() / 3
    return float(circles) / (math.comb(k, 3) * (preferences.numel() // k**2))


def shuffled_panel_share(scores: Tensor, seed: int = 0, draws: int = 100) -> float:
    """The expected `intransitive_share` of the panel if its annotators knew nothing of each other.

    `scores`: (B, k, A), what A annotators gave k responses to each of B prompts. Each annotator's
    scores are shuffled among a prompt's responses, independently, `draws` times. Unlike random
    rankings this keeps each annotator's ties, which change how often circles come up: a panel of
    four that never ties has none.

    Raises ValueError for another number of dimensions, k < 3, no annotators or draws below 1.
    """
    if scores.ndim != 3 or scores.shape[-1] < 1 or draws < 1:
        raise ValueError(
            f"got scores of shape {tuple(scores.shape)} and draws={draws}; want (B, k, A) with "
            "A >= 1, and at least 1 draw"
        )
    generator = torch.Generator().manual_seed(seed)
    shares = []
    for _ in range(draws):
        order = torch.rand(scores.shape, generator=generator).argsort(dim=1)
        shares.append(intransitive_share(_majority(scores.gather(1, order))))
    return math.fsum(shares) / draws


def _majority(scores: Tensor) -> Tensor:
    """(..., k, k) win probabilities by the vote of annotators' scores (..., k, A)."""
    first, second = scores.unsqueeze(-2), scores.unsqueeze(-3)
    votes = (first > second).double() - (first < second).double()
    return 0.5 + votes.mean(-1) / 2
