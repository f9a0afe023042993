"""The two walks over the sequences that every dilated dynamic takes, in memory that is kept.

A game such as Kuhn poker has 26 sequences: a step costs what its torch calls cost, not what they
compute. So the views of each block are made once, and the calls write where they point.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mpo.games.extensive.sequence_form import Block, SequenceForm


class _Views(NamedTuple):
    """A block's parts of the buffers, (infosets, actions, N), and two of (infosets, N)."""

    inner: bool
    parents: Tensor
    plan: Tensor
    scores: Tensor
    log_policy: Tensor
    first: Tensor
    first_of_each: Tensor
    second: Tensor


class Passes:
    """Both walks for N runs at a time; not to be shared by threads."""

    def __init__(self, form: SequenceForm, runs: int):
        self.form = form
        self.runs = runs
        shape = (form.sequences, runs)
        self._plan = torch.empty(shape, dtype=torch.float64)
        self.scores = torch.empty(shape, dtype=torch.float64)
        """Where scores may be put together: `log_policy` need not copy them then."""
        self._log_policy = torch.zeros(shape, dtype=torch.float64)
        self._down = tuple(self._views(block) for block in form.blocks)
        self._up = self._down[::-1]

    def plan(self, log_policy: Tensor) -> Tensor:
        """x(s) = π(s) x(parent of s), from (S, N) log π; the next call writes over it."""
        plan = torch.exp(log_policy, out=self._plan)
        for views in self._down:
            if views.inner:
                torch.index_select(plan, 0, views.parents, out=views.first)
                views.plan.mul_(views.first_of_each)
        return plan

    def log_policy(self, scores: Tensor) -> Tensor:
        """log of the policy whose plan is argmax_x ⟨scores, x⟩ − ψ(x), ψ the dilated entropy.

        ψ(x) = Σ_i x(parent of i) Σ_a π(a | i) log π(a | i) (Hoda et al. 2010). From the leaves up,

            π(· | i) ∝ exp u(i, ·),  u(i, a) = scores(i, a) + Σ_{i′ after (i, a)} log Σ exp u(i′, ·)

        Args:
            scores: (S, N), of both players; each maximises over the own plans. `scores` of this
                object is written over, another tensor isn't.
        """
        up = scores if scores is self.scores else self.scores.copy_(scores)
        for views in self._up:
            torch.log_softmax(views.scores, 1, out=views.log_policy)
            if views.inner:
                # log Σ exp u = u − log π, taken where π is largest: nothing cancels there.
                torch.amax(views.scores, 1, out=views.first)
                torch.amax(views.log_policy, 1, out=views.second)
                up.index_add_(0, views.parents, views.first.sub_(views.second))
        return self._log_policy.clone()

    def _views(self, block: Block) -> _Views:
        first = torch.empty(block.infosets, self.runs, dtype=torch.float64)
        return _Views(
            block.depth > 0,
            block.parents,
            block.of(self._plan),
            block.of(self.scores),
            block.of(self._log_policy),
            first,
            first.unsqueeze(1),
            torch.empty_like(first),
        )
