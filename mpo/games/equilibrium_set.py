"""All equilibria of a preference matrix at once: a game with ties may have many.

A policy π is an equilibrium exactly when no action wins against it more than half the time,
max_y P(y ≻ π) ≤ ½: linear constraints, so that the set is a polytope and each question about it a
linear program (scipy's HiGHS).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog
from torch import Tensor

from mpo.games.solve import SUPPORT_TOLERANCE, EquilibriumNotFound

Array = NDArray[np.float64]

UNIQUE_TOLERANCE = 1e-6
"""Equilibria whose probabilities differ by no more count as one."""


class EquilibriumSet(NamedTuple):
    """How often equilibria play each action: ``lowest`` and ``highest`` probability, (R,)."""

    lowest: Tensor
    highest: Tensor

    @property
    def unique(self) -> bool:
        """Whether there is only one equilibrium, up to ``UNIQUE_TOLERANCE``."""
        return bool((self.highest - self.lowest).max() <= UNIQUE_TOLERANCE)

    @property
    def played(self) -> int:
        """Actions that at least one equilibrium plays: the size of the largest support."""
        return int((self.highest > max(SUPPORT_TOLERANCE, UNIQUE_TOLERANCE)).sum())


def equilibrium_set(preferences: Tensor) -> EquilibriumSet:
    """The lowest and the highest probability of each action over all equilibria.

    Args:
        preferences: (R, R) with P + Pᵀ = 1.

    Raises:
        EquilibriumNotFound: a program had no solution.
    """
    matrix = preferences.to(torch.float64).numpy()
    size = len(matrix)
    ends = np.empty((2, size))
    for sign, row in zip((1.0, -1.0), ends, strict=True):
        for action in range(size):
            cost = np.zeros(size)
            cost[action] = sign
            row[action] = _solve(cost, matrix, np.zeros((0, size)), np.zeros(0))[action]
    lowest, highest = torch.from_numpy(ends.clip(0.0, 1.0))
    return EquilibriumSet(lowest, highest)


def distance_to_equilibria(preferences: Tensor, policy: Tensor) -> float:
    """min over equilibria q of the total variation ½ Σ |π − q|, between 0 and 1.

    Args:
        preferences: (R, R) with P + Pᵀ = 1.
        policy: (R,), π, sums to 1.

    Raises:
        EquilibriumNotFound: the program had no solution.
    """
    matrix = preferences.to(torch.float64).numpy()
    aim = policy.to(torch.float64).numpy()
    size = len(aim)
    # Variables (q, t) with t ≥ |π − q|.
    one = np.eye(size)
    absolute = np.block([[one, -one], [-one, -one]])
    cost = np.concatenate([np.zeros(size), np.full(size, 0.5)])
    solved = _solve(cost, matrix, absolute, np.concatenate([aim, -aim]))
    return float(0.5 * np.abs(aim - solved[:size]).sum())


def _solve(cost: Array, matrix: Array, more: Array, limits: Array) -> Array:
    """The variables, of which the first R are an equilibrium, at the least cost."""
    size, variables = len(matrix), len(cost)
    wins = np.zeros((size, variables))
    wins[:, :size] = matrix
    total = np.zeros((1, variables))
    total[0, :size] = 1.0
    solved = linprog(
        c=cost,
        A_ub=np.vstack([wins, more]),
        b_ub=np.concatenate([np.full(size, 0.5), limits]),
        A_eq=total,
        b_eq=[1.0],
        bounds=(0, None),
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if solved.x is None:
        raise EquilibriumNotFound(f"linear program: {solved.message}")
    return np.asarray(solved.x, dtype=np.float64)
