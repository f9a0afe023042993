"""The duality gap of a policy and the Nash equilibrium of a preference matrix."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor

SUPPORT_TOLERANCE = 1e-8
"""A response belongs to an equilibrium's support if its probability is above this."""


class EquilibriumNotFound(RuntimeError):
    """A solver ended without an equilibrium of the promised accuracy."""


class NashEquilibrium(NamedTuple):
    """A symmetric Nash equilibrium: ``policy`` (R,) float64, its ``value`` (½) and its support."""

    policy: Tensor
    value: float
    support: int


def duality_gap(preferences: Tensor, policy: Tensor, weights: Tensor) -> float:
    """Σ_x ρ(x) · 2 (max_y P(y ≻ π | x) − ½), the exact gap of a policy (design.md section 2).

    Both players of the symmetric game gain the same by deviating, hence the 2. It is between
    0 (a Nash equilibrium) and 1.

    Args:
        preferences: (X, R, R), P(y ≻ y' | x).
        policy: (X, R), π(y | x), rows sum to 1.
        weights: (X,), ρ(x), sums to 1.

    Raises:
        ValueError: shapes don't fit, or a row of ``policy`` doesn't sum to 1 within 1e-4 (looser
            than float64 so that a float32 policy passes).
    """
    prompts, responses = policy.shape
    if tuple(preferences.shape) != (prompts, responses, responses):
        raise ValueError(
            f"preferences: got shape {tuple(preferences.shape)}, "
            f"allowed: {(prompts, responses, responses)}, as policy has {(prompts, responses)}"
        )
    if tuple(weights.shape) != (prompts,):
        raise ValueError(f"weights: got shape {tuple(weights.shape)}, allowed: {(prompts,)}")
    policy = policy.to(torch.float64)
    totals = policy.sum(1)
    if not bool(((totals - 1).abs() <= 1e-4).all()):
        raise ValueError(f"policy: got rows that sum to {totals.tolist()}, allowed: 1")
    wins = (preferences.to(torch.float64) @ policy[:, :, None])[:, :, 0]
    return float((weights.to(torch.float64) * 2 * (wins.amax(1) - 0.5)).sum())


def duality_gaps(preferences: Tensor, policies: Tensor) -> Tensor:
    """2 (max_y P(y ≻ π) − ½) of N policies, each on a game of its own, or all on one game.

    Args:
        preferences: (N, R, R), or (1, R, R) or (R, R) for one game of all.
        policies: (N, R), rows sum to 1.

    Returns:
        (N,) float64.

    Raises:
        ValueError: shapes don't fit, or a row of ``policies`` doesn't sum to 1 within 1e-4; the
            message names the first such row.
    """
    if policies.ndim != 2:
        raise ValueError(f"policies: got shape {tuple(policies.shape)}, allowed: (N, R)")
    rows, actions = policies.shape
    if tuple(preferences.shape) not in {
        (rows, actions, actions),
        (1, actions, actions),
        (actions, actions),
    }:
        raise ValueError(
            f"preferences: got shape {tuple(preferences.shape)}, "
            f"allowed: {(rows, actions, actions)}, as policies has {(rows, actions)}, or one game"
        )
    policies = policies.to(torch.float64)
    totals = policies.sum(1)
    if wrong := torch.nonzero(~((totals - 1).abs() <= 1e-4)).flatten().tolist():
        row = wrong[0]
        raise ValueError(f"policies: got row {row} that sums to {float(totals[row])}, allowed: 1")
    wins = (preferences.to(torch.float64) @ policies[:, :, None])[:, :, 0]
    return 2 * (wins.amax(1) - 0.5)


def nash_equilibrium(preferences: Tensor) -> NashEquilibrium:
    """max_π min_y' Σ_y π(y) P(y ≻ y'), by linear programming (scipy's HiGHS).

    Args:
        preferences: (R, R) with P + Pᵀ = 1.

    Returns:
        One equilibrium, a vertex of the set of them (it need not be unique).

    Raises:
        ValueError: ``preferences`` isn't a square matrix with P + Pᵀ = 1.
        EquilibriumNotFound: the program wasn't solved to a gap of 1e-9.
    """
    matrix = preferences.to(torch.float64).numpy()
    size = len(matrix)
    if matrix.shape != (size, size) or not np.allclose(matrix + matrix.T, 1, rtol=0, atol=1e-12):
        raise ValueError(f"preferences: got shape {matrix.shape}, allowed: square with P + Pᵀ = 1")
    # Variables (π, v): maximise v subject to v - Σ_y π(y) P(y ≻ y') <= 0 for every y'.
    solved = linprog(
        c=np.append(np.zeros(size), -1.0),
        A_ub=np.column_stack([-matrix.T, np.ones(size)]),
        b_ub=np.zeros(size),
        A_eq=np.append(np.ones(size), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0, None)] * size + [(None, None)],
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if solved.x is None:
        raise EquilibriumNotFound(f"linear program: {solved.message}")
    policy = np.clip(solved.x[:size], 0, None)
    policy = policy / policy.sum()
    gap = 2 * (float((matrix @ policy).max()) - 0.5)
    if gap > 1e-9:
        raise EquilibriumNotFound(f"linear program: gap {gap:.1e} left, allowed: 1e-9")
    return NashEquilibrium(
        policy=torch.from_numpy(policy),
        value=float(policy @ matrix @ policy),
        support=int((policy > SUPPORT_TOLERANCE).sum()),
    )
