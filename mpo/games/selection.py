"""Which two of n samples are called best and worst: the pairs that iterative DPO trains on."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


def best_and_worst(probs: Tensor, rewards: Tensor, n: int) -> Tensor:
    """The exact law of (argmax, argmin) of the rewards of n iid samples, for each prompt.

    Of equal rewards the first sample is taken, so that when all n are equal best and worst are
    one response, on the diagonal.

    Args:
        probs: (X, R), who draws the samples; rows sum to 1.
        rewards: (X, R).
        n: samples; 2 or more.

    Returns:
        (X, R, R) float64: [x, w, l] = P(best = w, worst = l); each prompt's sum to 1.

    Raises:
        ValueError: n is below 2, or shapes differ.
    """
    check_selection(probs, rewards, n)
    laws = []
    for chance, reward in zip(_array(probs), _array(rewards), strict=True):
        law = chance[:, None] * chance * selection_odds(chance, reward, n)
        _, group = np.unique(reward, return_inverse=True)
        tied = np.bincount(group, weights=chance)[group]
        laws.append(law + np.diag(chance * tied ** (n - 1)))
    return torch.from_numpy(np.stack(laws))


def check_selection(probs: Tensor, rewards: Tensor, n: int) -> None:
    """Raise ValueError when n is below 2 or the shapes differ."""
    if n < 2:
        raise ValueError(f"n: got {n}, allowed: 2 or more")
    if probs.shape != rewards.shape:
        raise ValueError(
            f"rewards: got shape {tuple(rewards.shape)}, allowed: {tuple(probs.shape)}, as probs"
        )


def selection_odds(probs: Array, rewards: Array, n: int) -> Array:
    """P(best = w, worst = l) / (p(w) p(l)) of one prompt, 0 where r(w) ≤ r(l): (R, R).

    Between rewards a > b, with masses p_a and p_b and the mass m of what is strictly between,
    inclusion and exclusion give (m + p_a + p_b)ⁿ − (m + p_a)ⁿ − (m + p_b)ⁿ + mⁿ. Here it is
    expanded into its positive terms n!/(i! j! (n−i−j)!) p_aⁱ p_bʲ mⁿ⁻ⁱ⁻ʲ, i, j ≥ 1: differences
    of powers would lose all digits of rare responses. The odds stay finite when p underflows.
    """
    _, group = np.unique(rewards, return_inverse=True)
    mass = np.bincount(group, weights=probs)
    above = np.triu(np.ones((len(mass), len(mass))), 1)
    up_to = np.cumsum(above * mass, axis=1)
    between = np.concatenate([np.zeros((len(mass), 1)), up_to[:, :-1]], axis=1)
    odds = np.zeros_like(between)
    for i in range(1, n):
        for j in range(1, n - i + 1):
            ways = math.comb(n, i) * math.comb(n - i, j)
            odds += ways * mass ** (i - 1) * mass[:, None] ** (j - 1) * between ** (n - i - j)
    odds *= above
    # Rows of `odds` are the worst's group, columns the best's; the result has them the other way.
    result: Array = odds.T[group][:, group]
    return result


def sampled_best_and_worst(
    probs: Tensor, preferences: Tensor, n: int, draws: int, seed: int
) -> Tensor:
    """A Monte-Carlo estimate of (best, worst) of n samples by mean win over each other.

    Response i's score is mean_j P(y_i ≻ y_j | x) over the other n − 1 samples; of equal scores
    the first is taken. The first sample goes through all R responses, each with an equal share of
    the draws, weighted by its probability: all responses occur, however rare.

    Args:
        probs: (X, R), who draws the samples; rows sum to 1.
        preferences: (X, R, R).
        n: samples; 2 or more.
        draws: sets of n samples a prompt, rounded up to a multiple of R.
        seed: of numpy's generator; the same for each prompt.

    Returns:
        (X, R, R) float64: [x, w, l] = P(best = w, worst = l); each prompt's sum to 1.

    Raises:
        ValueError: n is below 2.
    """
    if n < 2:
        raise ValueError(f"n: got {n}, allowed: 2 or more")
    laws = []
    for chance, wins in zip(_array(probs), _array(preferences), strict=True):
        size = len(chance)
        each = -(-draws // size)
        generator = np.random.default_rng(seed)
        drawn = generator.choice(size, size=(size * each, n), p=chance / chance.sum())
        drawn[:, 0] = np.repeat(np.arange(size), each)
        # A sample's win against itself is ½ for all, so it changes no order. Place by place, as
        # all n² comparisons of all sets at once would be the largest array of a run.
        scores = np.stack(
            [sum(wins[drawn[:, i], drawn[:, j]] for j in range(n)) for i in range(n)], axis=1
        )
        rows = np.arange(len(drawn))
        best, worst = drawn[rows, scores.argmax(1)], drawn[rows, scores.argmin(1)]
        weights = chance[drawn[:, 0]] / each
        law = np.bincount(best * size + worst, weights=weights, minlength=size * size)
        laws.append(law.reshape(size, size))
    return torch.from_numpy(np.stack(laws))


def _array(tensor: Tensor) -> Array:
    return tensor.detach().to(device="cpu", dtype=torch.float64).numpy()
