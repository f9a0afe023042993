"""Exact rounds: each magnet is the equilibrium of the game that the last magnet regularises.

In both geometries of the paper: with KL, as MPO has it, and with the Euclidean distance, with which
Theorem F.4 is proven.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mpo.games.solve import EquilibriumNotFound

Array = NDArray[np.float64]

RESIDUAL = 1e-12
NEWTON_TOLERANCE = 3e-15
MAX_STEPS = 60
SHORTEST = 2.0**-20
SUFFICIENT = 1e-4  # of the decrease that a full Newton step promises
ROUNDING = 1e-9


def regularised_equilibria(preferences: Tensor, log_magnet: Tensor, alpha: float) -> Tensor:
    """log π of π ∝ μ exp(P π / α) for N games, by Newton's method.

    With π = softmax(log μ + z) it is the zero of z − S π / α, S = P − ½, whose Jacobian is never
    singular: S times the covariance of π has no real eigenvalue but 0. A line search on the norm
    therefore arrives from z = 0.

    Args:
        preferences: (N, R, R).
        log_magnet: (N, R).
        alpha: α, above 0.

    Returns:
        (N, R) float64, normalised; |π − answer| is at most 1e-12.

    Raises:
        EquilibriumNotFound: the residual is larger.
    """
    skew, magnet = (preferences - 0.5).numpy(), log_magnet.numpy()
    payoff = np.zeros_like(magnet)
    error = _error(payoff, magnet, skew, alpha)
    for _ in range(MAX_STEPS):
        far = np.abs(error).max(1) > NEWTON_TOLERANCE * (1 + np.abs(payoff).max(1))
        if not far.any():
            break
        rows = payoff[far], error[far], magnet[far], skew[far]
        payoff[far], error[far] = _searched(*rows, alpha)
    policy = _softmax(magnet + payoff)
    answered = magnet + (skew @ policy[..., None])[..., 0] / alpha
    residual = float(np.abs(_softmax(answered) - policy).max())
    if not residual <= RESIDUAL:
        raise EquilibriumNotFound(f"alpha {alpha}: residual {residual:.1e}, allowed: {RESIDUAL}")
    return torch.log_softmax(torch.from_numpy(answered), dim=-1)


def entropic_rounds(preferences: Tensor, log_start: Tensor, alpha: float, rounds: int) -> Tensor:
    """log μ_0 … log μ_n, (n + 1, N, R): μ_{n+1} = argmax-min of the game (6), with KL(π ‖ μ_n)."""
    logs = [log_start]
    for _ in range(rounds):
        logs.append(regularised_equilibria(preferences, logs[-1], alpha))
    return torch.stack(logs)


def euclidean_rounds(preferences: Tensor, start: Tensor, alpha: float, rounds: int) -> Tensor:
    """x_0 … x_n, (n + 1, N, R), with ½‖π − x_n‖² for the KL: Theorem F.4's proof.

    x_{n+1} = argmax_x  x·P x_{n+1} − (α/2)‖x − x_n‖². On its support A the payoff
    P x − α (x − x_n) is the same, off it no larger: a linear system for each A, of which the only
    solution is taken.

    Raises:
        EquilibriumNotFound: no support fits.
    """
    skew = (preferences - 0.5).numpy()
    points = [start.numpy()]
    for _ in range(rounds):
        points.append(_euclidean_equilibria(skew, points[-1], alpha))
    return torch.from_numpy(np.stack(points))


def euclidean_steps(
    preferences: Tensor, start: Tensor, alpha: float, eta: float, interval: int, rounds: int
) -> Tensor:
    """The same rounds by T steps each instead of exactly: the magnets, (rounds + 1, N, R).

    (4) with ½‖·‖²: x_{k+1} = the point of the simplex nearest to
    (x_k + η (P x_k + α μ)) / (1 + ηα).
    """
    matrix, magnets = preferences.numpy(), [start.numpy()]
    for _ in range(rounds):
        point = magnets[-1]
        for _ in range(interval):
            pulled = (matrix @ point[..., None])[..., 0] + alpha * magnets[-1]
            point = onto_simplex((point + eta * pulled) / (1 + eta * alpha))
        magnets.append(point)
    return torch.from_numpy(np.stack(magnets))


def onto_simplex(points: Array) -> Array:
    """The policy nearest to each row, (N, R): max(x − t, 0) with the t that makes it sum to 1."""
    descending = -np.sort(-points, axis=1)
    excess = (descending.cumsum(1) - 1) / np.arange(1, points.shape[1] + 1)
    kept = (descending > excess).sum(1)
    nearest: Array = np.maximum(points - excess[np.arange(len(points)), kept - 1, None], 0)
    return nearest


def _euclidean_equilibria(skew: Array, magnet: Array, alpha: float) -> Array:
    rows, size = magnet.shape
    found, worst = np.full_like(magnet, np.nan), np.full(rows, np.inf)
    for support in _supports(size):
        on = np.array(support)
        matrix = np.zeros((rows, len(on) + 1, len(on) + 1))
        matrix[:, :-1, :-1] = alpha * np.eye(len(on)) - skew[:, on[:, None], on]
        matrix[:, :-1, -1] = matrix[:, -1, :-1] = 1.0
        target = np.column_stack([alpha * magnet[:, on], np.ones(rows)])
        solved = np.linalg.solve(matrix, target[..., None])[..., 0]
        point = np.zeros((rows, size))
        point[:, on] = solved[:, :-1]
        payoff = (skew @ point[..., None])[..., 0] - alpha * (point - magnet)
        # By how much a probability is negative or an action outside pays more.
        wrong = np.maximum((payoff - solved[:, -1:]).max(1), -point.min(1))
        better = wrong < worst
        found[better], worst[better] = point[better], wrong[better]
    if not worst.max() <= ROUNDING:
        raise EquilibriumNotFound(f"Euclidean round: {worst.max():.1e} off, allowed: {ROUNDING}")
    return found


def _supports(size: int) -> list[tuple[int, ...]]:
    return [on for count in range(1, size + 1) for on in combinations(range(size), count)]


def _error(payoff: Array, magnet: Array, skew: Array, alpha: float) -> Array:
    policy = _softmax(magnet + payoff)
    error: Array = payoff - (skew @ policy[..., None])[..., 0] / alpha
    return error


def _newton_step(payoff: Array, error: Array, magnet: Array, skew: Array, alpha: float) -> Array:
    policy = _softmax(magnet + payoff)
    covariance = policy[:, :, None] * (np.eye(policy.shape[1]) - policy[:, None, :])
    jacobian = np.eye(policy.shape[1]) - skew @ covariance / alpha
    step: Array = np.linalg.solve(jacobian, -error[..., None])[..., 0]
    return step


def _searched(
    payoff: Array, error: Array, magnet: Array, skew: Array, alpha: float
) -> tuple[Array, Array]:
    """The point after a Newton step, half as far until the error falls, and its error."""
    step = _newton_step(payoff, error, magnet, skew, alpha)
    before = np.linalg.norm(error, axis=1)
    length = np.ones_like(before)
    while True:
        moved = payoff + length[:, None] * step
        error_moved = _error(moved, magnet, skew, alpha)
        short = np.linalg.norm(error_moved, axis=1) > (1 - SUFFICIENT * length) * before
        short &= length > SHORTEST
        if not short.any():
            return moved, error_moved
        length = np.where(short, length / 2, length)


def _softmax(logits: Array) -> Array:
    weights: Array = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)
