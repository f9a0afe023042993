"""A Nash equilibrium of the sequence form by linear programming (scipy's HiGHS)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import bmat, coo_array, csr_array
from torch import Tensor

from mpo.games.extensive.sequence_form import EMPTY, SequenceForm, plan_of, policy_of
from mpo.games.extensive.values import expected_value, nash_conv
from mpo.games.solve import EquilibriumNotFound

MOST_LEFT = 1e-8
"""NashConv that a solution may have, times the largest payoff."""


class TreeEquilibrium(NamedTuple):
    """``policy`` (S,), ``plan`` (S,), the ``value`` for player 0 and the ``nash_conv`` left."""

    policy: Tensor
    plan: Tensor
    value: float
    nash_conv: float


def tree_equilibrium(form: SequenceForm) -> TreeEquilibrium:
    """max_{x, p} p(∅) subject to E_0 x = e, x ≥ 0, E_1ᵀ p ≤ Aᵀ x (Koller, Megiddo, von Stengel).

    p is the value to player 0 of each information set of player 1; the multipliers of the
    inequalities are player 1's plan. One equilibrium, a vertex of the set of them.

    Raises:
        EquilibriumNotFound: the program wasn't solved to a NashConv of `MOST_LEFT`.
    """
    indices, payoffs = form.kernel.indices().numpy(), form.kernel.values().numpy()
    kernel = csr_array((payoffs, indices), shape=(form.sequences, form.sequences))
    own = [(form.player == player).nonzero()[:, 0].numpy() for player in range(2)]
    matrix = kernel[own[0]][:, own[1]]
    here, there = (_constraints(form, player, own[player]) for player in range(2))
    unknown = here.shape[1] + there.shape[0]
    goal = np.zeros(unknown)
    goal[here.shape[1]] = -1
    one = np.zeros(here.shape[0])
    one[0] = 1
    solved = linprog(
        c=goal,
        A_ub=bmat([[-matrix.T, there.T]]),
        b_ub=np.zeros(there.shape[1]),
        A_eq=bmat([[here, coo_array((here.shape[0], there.shape[0]))]]),
        b_eq=one,
        bounds=[(0, None)] * here.shape[1] + [(None, None)] * there.shape[0],
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if solved.x is None:
        raise EquilibriumNotFound(f"{form.name}: linear program: {solved.message}")
    rough = np.zeros(form.sequences)
    rough[own[0]] = solved.x[: here.shape[1]]
    rough[own[1]] = -solved.ineqlin.marginals
    policy = policy_of(form, torch.from_numpy(np.clip(rough, 0, None)))
    policy[:EMPTY] = 1
    plan = plan_of(form, policy)
    left = float(nash_conv(form, plan))
    allowed = MOST_LEFT * max(1.0, float(np.abs(payoffs).max()))
    if not left <= allowed:
        raise EquilibriumNotFound(
            f"{form.name}: linear program: NashConv {left:.1e} left, allowed: {allowed:.1e}"
        )
    return TreeEquilibrium(policy, plan, float(expected_value(form, plan)), left)


def _constraints(form: SequenceForm, player: int, own: NDArray[np.int64]) -> csr_array:
    """E: x(∅) = 1, and the actions of each information set sum to the sequence before it."""
    column = np.zeros(form.sequences, dtype=np.int64)
    column[own] = np.arange(len(own))
    rows, columns, values, row = [0], [0], [1.0], 1
    for block in form.blocks:
        for number, parent in enumerate(block.parents.tolist()):
            if int(form.player[parent]) == player:
                first = column[block.first + number * block.actions]
                rows += [row] * (block.actions + 1)
                columns += [int(column[parent]), *range(first, first + block.actions)]
                values += [-1.0] + [1.0] * block.actions
                row += 1
    return coo_array((values, (rows, columns)), shape=(row, len(own))).tocsr()
