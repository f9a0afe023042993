"""Equilibria that a magnet which never moves leads to, solved without any learning.

With a fixed magnet μ MPO stays at a regularised equilibrium, and which one depends on the
gradient of its KL (design.md section 2): ``sequence`` leads to π ∝ μ · exp(P(· ≻ π) / α) over
whole responses, ``per_token`` to the point where π(a|s) ∝ μ(a|s) · exp(Q^π(s, a) / α) at each
prefix s.

Both say that π answers its own payoffs, π = answer(β S π) with S = P − ½ and β = 1/α, where
``answer`` maps scaled payoffs (R,) to a policy; ``mpo.games.continuation`` solves that.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mpo.games.continuation import Array, follow
from mpo.games.enumerable_lm import EnumerableGame
from mpo.games.solve import EquilibriumNotFound, duality_gap

SEQUENCE_TOLERANCE = 1e-12
PER_TOKEN_TOLERANCE = 1e-10


class RegularisedGaps(NamedTuple):
    """Duality gaps of the two regularised equilibria of one magnet."""

    sequence: float
    per_token: float


def regularised_equilibrium(preferences: Tensor, log_magnet: Tensor, alpha: float) -> Tensor:
    """π ∝ μ · exp(P π / α): where ``kl_gradient: sequence`` stays with a fixed magnet.

    Args:
        preferences: (R, R) with P + Pᵀ = 1.
        log_magnet: (R,), log μ, normalised or not.
        alpha: α, positive.

    Returns:
        (R,) float64; max_y |π − answer| is at most 1e-12. It is the only solution.

    Raises:
        ValueError: α isn't positive.
        EquilibriumNotFound: the residual is larger.
    """
    log_magnet_array = _array(log_magnet)

    def answer(payoffs: Array) -> tuple[Array, Array]:
        policy = _softmax(log_magnet_array + payoffs)
        return policy, np.diag(policy) - np.outer(policy, policy)

    skew = _array(preferences) - 0.5
    policy = follow(answer, skew, alpha)
    residual = float(np.abs(answer(skew @ policy / alpha)[0] - policy).max())
    _check_residual("sequence", residual, SEQUENCE_TOLERANCE, alpha)
    return torch.from_numpy(policy)


def regularised_equilibrium_per_token(
    game: EnumerableGame, prompt: int, next_token_magnet: Tensor, alpha: float
) -> Tensor:
    """π(a|s) ∝ μ(a|s) · exp(Q^π(s, a) / α): where ``kl_gradient: per_token`` stays.

    Q^π(s, a) = E[P(y ≻ π) | y starts with s, a; then π], without the KL of later tokens: that
    term is what ``per_token`` leaves out. Solutions need not be unique at small α; this is the
    one on the curve that starts at the magnet (α = ∞).

    Args:
        game: the game.
        prompt: index of the prompt.
        next_token_magnet: (C, T, V), the magnet's log-probabilities on ``game.covering``.
        alpha: α, positive.

    Returns:
        (R,) float64; max_{s,a} |π(a|s) − answer| is at most 1e-10.

    Raises:
        ValueError: α isn't positive, or a shape is wrong.
        EquilibriumNotFound: the residual is larger.
    """
    log_magnet = _array(game.prefix_log_probs(next_token_magnet[None])[0])
    symbols, depths = game.symbols, game.max_tokens

    def answer(payoffs: Array) -> tuple[Array, Array]:
        return _answer_per_token(log_magnet, payoffs, symbols, depths)

    skew = _array(game.preferences[prompt]) - 0.5
    policy = follow(answer, skew, alpha)
    payoffs = skew @ policy / alpha
    again = answer(payoffs)[0]
    residual = float(
        np.abs(_choices(again, symbols, depths) - _choices(policy, symbols, depths)).max()
    )
    _check_residual("per_token", residual, PER_TOKEN_TOLERANCE, alpha)
    return torch.from_numpy(policy)


def regularised_gaps(
    game: EnumerableGame, next_token_magnet: Tensor, alpha: float
) -> RegularisedGaps:
    """Duality gaps in the original game of both regularised equilibria.

    Args:
        game: the game.
        next_token_magnet: (X, C, T, V), the magnet's log-probabilities on ``game.covering``.
        alpha: α, positive.

    Raises:
        ValueError, EquilibriumNotFound: as the two solvers.
    """
    log_magnet = game.log_probs(next_token_magnet.detach())
    prompts = range(len(game.prompts))
    sequence = [regularised_equilibrium(game.preferences[x], log_magnet[x], alpha) for x in prompts]
    per_token = [
        regularised_equilibrium_per_token(game, x, next_token_magnet[x], alpha) for x in prompts
    ]
    gaps = [
        duality_gap(game.preferences, torch.stack(policies), game.prompt_weights)
        for policies in (sequence, per_token)
    ]
    return RegularisedGaps(*gaps)


def _answer_per_token(
    log_magnet: Array, payoffs: Array, symbols: int, depths: int
) -> tuple[Array, Array]:
    """Backward induction: values up the tree, choices at each prefix, probabilities down.

    log_magnet is (N, V), payoffs (R,). Returns the policy (R,) and d policy / d payoffs (R, R).
    """
    size, prefixes = len(payoffs), len(log_magnet)
    value, d_value = payoffs.copy(), np.eye(size)
    log_choice = np.empty_like(log_magnet)
    d_log_choice = np.empty((*log_magnet.shape, size))
    first = prefixes
    for depth in reversed(range(depths)):
        level = slice(first - symbols**depth, first)
        below = slice(first, first + symbols ** (depth + 1))
        first = level.start
        # Until this level overwrites them, value[s] and d_value[s] belong to ending at s.
        q = np.column_stack([value[below].reshape(-1, symbols), value[level]])
        d_q = np.concatenate(
            [d_value[below].reshape(-1, symbols, size), d_value[level][:, None]], axis=1
        )
        logits = log_magnet[level] + q
        logits -= logits.max(1, keepdims=True)
        log_choice[level] = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        choice = np.exp(log_choice[level])
        d_mean = np.einsum("sa,sar->sr", choice, d_q)
        d_log_choice[level] = d_q - d_mean[:, None]
        value[level] = (choice * q).sum(1)
        d_value[level] = d_mean + np.einsum("sa,sar->sr", choice * q, d_log_choice[level])
    log_reach, d_log_reach = np.zeros(size), np.zeros((size, size))
    first = 1
    for depth in range(depths):
        above = slice(first - symbols**depth, first)
        level = slice(first, first + symbols ** (depth + 1))
        first = level.stop
        log_reach[level] = (log_reach[above, None] + log_choice[above, :symbols]).ravel()
        down = d_log_reach[above][:, None] + d_log_choice[above, :symbols]
        d_log_reach[level] = down.reshape(-1, size)
    log_reach[:prefixes] += log_choice[:, symbols]
    d_log_reach[:prefixes] += d_log_choice[:, symbols]
    policy = np.exp(log_reach)
    return policy, policy[:, None] * d_log_reach


def _choices(policy: Array, symbols: int, depths: int) -> Array:
    """(N, V): next-token probabilities of an enumerated policy (R,)."""
    mass, blocks = policy.copy(), []
    first = len(policy) - symbols**depths
    for depth in reversed(range(depths)):
        level = slice(first - symbols**depth, first)
        below = slice(first, first + symbols ** (depth + 1))
        first = level.start
        block = np.column_stack([mass[below].reshape(-1, symbols), mass[level]])
        mass[level] = block.sum(1)
        blocks.append(block / block.sum(1, keepdims=True))
    return np.concatenate(blocks[::-1])


def _check_residual(name: str, residual: float, allowed: float, alpha: float) -> None:
    if not residual <= allowed:
        raise EquilibriumNotFound(
            f"{name} equilibrium at alpha {alpha}: residual {residual:.1e}, allowed: {allowed}"
        )


def _softmax(logits: Array) -> Array:
    weights: Array = np.exp(logits - logits.max())
    return weights / weights.sum()


def _array(tensor: Tensor) -> Array:
    return tensor.detach().to(device="cpu", dtype=torch.float64).numpy()
