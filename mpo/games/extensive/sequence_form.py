"""The sequence form (von Stengel 1996; Koller, Megiddo and von Stengel 1996) of a game tree.

Instead of π(a | i), a player chooses a plan x: x(s) is the product of the own probabilities up to
and with sequence s. Plans are a polytope, and what player 0 wins, x_0ᵀ A x_1, is linear in each.
Both players' plans stand in one vector (see `mpo.games.extensive.tree` for the order), and

    g = K x,  K = [[0, A], [−Aᵀ, 0]]  (rows and columns in the order of the sequences)

is each player's gradient: the own payoff is x_iᵀ g_i.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mpo.games.extensive.rules import TERMINAL
from mpo.games.extensive.tree import GameTree

EMPTY = 2
"""The first sequences are the two empty ones."""


class Block(NamedTuple):
    """Information sets of one depth with equally many actions: consecutive sequences."""

    first: int
    """The first sequence."""
    infosets: int
    actions: int
    depth: int
    """How many own moves came before; at 0 the parents are the empty sequences."""
    parents: Tensor
    """(infosets,) int64: the sequence that leads to each."""

    def of(self, values: Tensor) -> Tensor:
        """A view of (S, …) values: (infosets, actions, …)."""
        here = values.narrow(0, self.first, self.infosets * self.actions)
        return here.view(self.infosets, self.actions, *values.shape[1:])


class SequenceForm(NamedTuple):
    """A game in sequence form."""

    name: str
    blocks: tuple[Block, ...]
    """By rising depth: all but the empty sequences."""
    player: Tensor
    """(S,) int64: whose sequence it is."""
    choice: Tensor
    """(S,) int64: which choice it belongs to: 0 and 1 for the empty sequences, which are one each,
    and 2 + i for those of information set i. Rises with the sequence."""
    uniform: Tensor
    """(S,) float64: the policy that plays all actions of an information set equally often."""
    kernel: Tensor
    """(S, S) float64, sparse (COO): K."""

    @property
    def sequences(self) -> int:
        """S, of both players together."""
        return len(self.player)


def sequence_form(tree: GameTree) -> SequenceForm:
    """The sequence form of a tree: K sums reach · payoff of the ends of each pair of sequences."""
    blocks = []
    keys = torch.stack([tree.depth, tree.actions], 1)
    for key in keys.unique(dim=0):
        members = (keys == key).all(1).nonzero()[:, 0]
        depth, actions = key.tolist()
        first = int(tree.first[members[0]])
        blocks.append(Block(first, len(members), actions, depth, tree.parent[members]))
    ends = tree.mover == TERMINAL
    zero, one = tree.last[ends].T
    worth = tree.reach[ends] * tree.payoff[ends]
    size = len(tree.action)
    kernel = torch.sparse_coo_tensor(
        torch.stack([torch.cat([zero, one]), torch.cat([one, zero])]),
        torch.cat([worth, -worth]),
        (size, size),
        check_invariants=True,
    ).coalesce()
    empty = torch.arange(EMPTY)
    owner = torch.cat([empty, torch.repeat_interleave(tree.player, tree.actions)])
    choice = torch.cat([empty, EMPTY + torch.repeat_interleave(tree.actions)])
    uniform = 1 / choice.bincount()[choice].to(torch.float64)
    return SequenceForm(tree.name, tuple(blocks), owner, choice, uniform, kernel)


def plan_of(form: SequenceForm, policy: Tensor) -> Tensor:
    """x(s) = π(s) x(parent of s): from (S, …) probabilities to (S, …) plans."""
    plan = policy.clone()
    for block in form.blocks:
        if block.depth:
            block.of(plan).mul_(plan.index_select(0, block.parents).unsqueeze(1))
    return plan


def policy_of(form: SequenceForm, plan: Tensor) -> Tensor:
    """π(s) = x(s) / x(parent of s): from (S, …) plans to (S, …) probabilities.

    Where the plan never comes, the policy is uniform.
    """
    policy = plan.clone()
    for block in form.blocks:
        weights = block.of(plan)
        total = weights.sum(1, keepdim=True)
        block.of(policy).copy_(
            torch.where(total > 0, weights / total.clamp_min(1e-300), 1 / block.actions)
        )
    return policy


def normalised(form: SequenceForm, policy: Tensor) -> bool:
    """Whether (S, …) numbers are 0 or more and sum to 1 in each information set, within 1e-9."""
    totals = torch.zeros_like(policy).index_add_(0, form.choice, policy)
    sums = totals.index_select(0, form.choice)
    return bool((policy >= 0).all()) and bool(((sums - 1).abs() <= 1e-9).all())


def random_log_policies(form: SequenceForm, seeds: Sequence[int], scale: float = 0.5) -> Tensor:
    """(S, N) float64: log of softmax of N(0, scale²) logits, one column a seed (numpy's)."""
    logits = np.stack(
        [np.random.default_rng(seed).normal(0, scale, form.sequences) for seed in seeds], 1
    )
    log_policy = torch.zeros(logits.shape, dtype=torch.float64)
    for block in form.blocks:
        block.of(log_policy).copy_(block.of(torch.from_numpy(logits)).log_softmax(1))
    return log_policy
