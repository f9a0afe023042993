"""What plans win, what the best answers to them win, and how far they are from an equilibrium.

Plans are (S,) or (S, N), of both players together (`plan_of` makes them from policies).
"""

from __future__ import annotations

import torch
from torch import Tensor

from mpo.games.extensive.payoffs import exact_payoffs
from mpo.games.extensive.sequence_form import EMPTY, SequenceForm


def expected_value(form: SequenceForm, plan: Tensor) -> Tensor:
    """x_0ᵀ A x_1, what player 0 wins: a scalar or (N,)."""
    return (plan * exact_payoffs(form)(plan))[form.player == 0].sum(0)


def best_response_values(form: SequenceForm, gradient: Tensor) -> Tensor:
    """max over a player's plans x of xᵀ g, from the leaves up: V(i) = max_a [g(i, a) + Σ V(i′)].

    The sum is over the information sets i′ that follow action a.

    Args:
        gradient: (S, …), K x: each player's against the other's plan.

    Returns:
        (2, …), the most that each player can win.
    """
    values = gradient.clone()
    for block in reversed(form.blocks):
        values.index_add_(0, block.parents, block.of(values).amax(1))
    return values[:EMPTY]


def best_response(form: SequenceForm, plan: Tensor) -> Tensor:
    """(S, …) policy: each player's best pure answer to the other's plan; the first of equals."""
    values = exact_payoffs(form)(plan)
    policy = torch.zeros_like(plan)
    policy[:EMPTY] = 1
    for block in reversed(form.blocks):
        best, action = block.of(values).max(1)
        block.of(policy).scatter_(1, action.unsqueeze(1), 1)
        values.index_add_(0, block.parents, best)
    return policy


def nash_conv(form: SequenceForm, plan: Tensor) -> Tensor:
    """Σ_i [max_x' u_i(x', x_-i) − u_i(x)], a scalar or (N,): 0 at a Nash equilibrium alone.

    It is the duality gap of the two plans. The u_i sum to 0, so that the maxima are enough.
    """
    return best_response_values(form, exact_payoffs(form)(plan)).sum(0)


def exploitability(form: SequenceForm, plan: Tensor) -> Tensor:
    """Half of `nash_conv`: what a best answer wins on average over the two seats."""
    return nash_conv(form, plan) / 2
