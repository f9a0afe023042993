"""Scores of a rollout under π_θ and the frozen models, one micro-batch at a time."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from mpo.divergences import TokenScores
from mpo.layout import Layout
from mpo.logprobs import FrozenScores, Head, frozen_scores
from mpo.objectives.protocol import BEHAVIOUR, Needs
from mpo.policy import Policy
from mpo.records import Prompts, Responses, Scores
from mpo.snapshots import Snapshots


class Critic(Protocol):
    """A value at each response token."""

    def __call__(self, layout: Layout, trunk: Tensor | None) -> Tensor:
        """Values (B, n, T) of the layout's responses."""
        ...


class Part(NamedTuple):
    """A micro-batch of a rollout, and what stays the same over the inner steps."""

    prompts: slice
    """Which of the B prompts."""
    mask: Tensor
    """(b, n, T) bool."""
    tokens: Tensor
    """(N,) ids of the tokens that count."""
    layout: Layout
    trunk: Tensor | None
    """Hidden states that enter the first moving block, shared by every model."""
    frozen: dict[str, FrozenScores]
    """Frozen models by name, at the N tokens."""
    demonstrated: Part | None = None
    """The demonstrations beside these prompts, laid out likewise."""


def prompts_slice(prompts: Prompts, part: slice) -> Prompts:
    """Some of the prompts."""
    return Prompts(
        prompts.ids[part], prompts.lengths[part], prompts.keys[part], prompts.texts[part]
    )


def prepare(
    policy: Policy,
    snapshots: Snapshots,
    needs: Needs,
    prompts: Prompts,
    responses: Responses,
    part: slice,
    chunk: int,
) -> Part:
    """Lay out a micro-batch, run the trunk once and score the frozen models but π_k."""
    few = responses.prompts_slice(part)
    layout = policy.layout(prompts_slice(prompts, part), few)
    trunk = policy.trunk_states(layout)
    tokens = few.ids[few.mask]
    names = dict.fromkeys((*needs.kl_to, *needs.logprobs_of))
    frozen = {}
    for name in names:
        if name != BEHAVIOUR:
            model = snapshots[name]
            with torch.no_grad():
                hidden = model.hidden(layout, trunk)[few.mask]
            frozen[name] = frozen_scores(hidden, model.head, tokens, chunk)
    return Part(part, few.mask, tokens, layout, trunk, frozen)


def frozen_head(head: Head) -> Head:
    """The head as it is now: itself when it never trains, else a copy of its weights."""
    if not head.weight.requires_grad:
        return head
    bias = None if head.bias is None else head.bias.detach().clone()
    return head._replace(weight=head.weight.detach().clone(), bias=bias)


def mean_logprobs(logprobs: Tensor, mask: Tensor) -> Tensor:
    """Mean over the tokens of each response's log-probabilities (N,): (b,), mask (b, 1, T)."""
    return _dense(logprobs, mask).sum((1, 2)) / mask.sum((1, 2))


def with_behaviour(part: Part, hidden: Tensor, head: Head, scored: TokenScores) -> Part:
    """The part with π_k among its frozen models, from its scores at θ = θ_k; hidden is (N, D)."""
    kept = FrozenScores(
        hidden.detach(), head, scored.log_normaliser.detach(), scored.logprobs.detach()
    )
    return part._replace(frozen={**part.frozen, BEHAVIOUR: kept})


def scores_of(
    scored: TokenScores,
    names: tuple[str, ...],
    part: Part,
    needs: Needs,
    total_prompts: int,
    values: Tensor | None,
    demonstrations: Tensor | None,
) -> Scores:
    """Token scores (N,) set into (b, n, T), zero where the mask is False.

    `names` are the frozen models of scored.kl, in order; a KL to π_k that was not scored is 0,
    which it is at θ = θ_k, its gradient too.
    """
    dense = {name: _dense(kl, part.mask) for name, kl in zip(names, scored.kl, strict=True)}
    zero = torch.zeros_like(_dense(scored.logprobs.detach(), part.mask))
    return Scores(
        _dense(scored.logprobs, part.mask),
        _dense(scored.entropy, part.mask),
        {name: dense.get(name, zero) for name in needs.kl_to},
        {name: _dense(part.frozen[name].logprobs, part.mask) for name in needs.logprobs_of},
        part.mask,
        None if values is None else values.masked_fill(~part.mask, 0.0),
        total_prompts,
        demonstrations,
    )


def detached(scores: Scores) -> Scores:
    """The same numbers without their graph."""
    return Scores(
        scores.logprobs.detach(),
        scores.entropy.detach(),
        {name: kl.detach() for name, kl in scores.kl.items()},
        scores.other_logprobs,
        scores.mask,
        _detached(scores.values),
        scores.total_prompts,
        _detached(scores.demonstrations),
    )


def joined(parts: list[Scores]) -> Scores:
    """The scores of a whole rollout from its micro-batches'."""
    first = parts[0]
    if len(parts) == 1:
        return first
    values = [part.values for part in parts if part.values is not None]
    shown = [part.demonstrations for part in parts if part.demonstrations is not None]
    return Scores(
        torch.cat([part.logprobs for part in parts]),
        torch.cat([part.entropy for part in parts]),
        {name: torch.cat([part.kl[name] for part in parts]) for name in first.kl},
        {
            name: torch.cat([part.other_logprobs[name] for part in parts])
            for name in first.other_logprobs
        },
        torch.cat([part.mask for part in parts]),
        torch.cat(values) if values else None,
        first.total_prompts,
        torch.cat(shown) if shown else None,
    )


def _detached(values: Tensor | None) -> Tensor | None:
    return None if values is None else values.detach()


def _dense(values: Tensor, mask: Tensor) -> Tensor:
    empty = torch.zeros(mask.shape, dtype=values.dtype, device=values.device)
    return empty.masked_scatter(mask, values)
