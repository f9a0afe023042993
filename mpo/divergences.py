"""Exact sequential KL over the whole vocabulary, without the whole vocabulary's logits.

KL(π_θ ‖ μ) of two language models is estimated as the sum over response tokens of the exact
KL(π_θ(· | s_t) ‖ μ(· | s_t)) (paper, section 3.3; Zeng et al. 2024). Positions are streamed in
chunks and recomputed in the backward pass, so that the peak of live bytes, forward and backward,
holds one chunk of logits and never batch × length × vocabulary. A frozen head that policy and
references share takes a shorter road, shared_head.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mpo.logprobs import FrozenScores, Head, chunk_rows
from mpo.shared_head import SharedHeadScores


class TokenScores(NamedTuple):
    """π_θ at N response positions."""

    logprobs: Tensor
    """(N,): log π_θ(y_t | s_t)."""
    entropy: Tensor
    """(N,): entropy of π_θ(· | s_t), nats."""
    log_normaliser: Tensor
    """(N,): log Σ_v exp(logit_v)."""
    kl: tuple[Tensor, ...]
    """One (N,) for each reference: KL(π_θ(· | s_t) ‖ reference(· | s_t)), nats."""


def token_scores(
    hidden: Tensor,
    head: Head,
    tokens: Tensor,
    references: Sequence[FrozenScores],
    chunk: int,
) -> TokenScores:
    """Log-probabilities, entropy and exact KLs at N positions; differentiable in hidden and head.

    hidden is (N, D), tokens (N,) ids, each reference's hidden (N, D′). At most `chunk` logits of
    a model are in memory at a time; when all positions fit into one chunk nothing is recomputed.
    N may be 0.
    """
    if not hidden.shape[0]:
        empty = hidden.sum(-1)
        return TokenScores(empty, empty, empty, tuple(empty for _ in references))
    if references and all(head.is_linear_in(reference.head) for reference in references):
        logprobs, entropy, normaliser, kl = SharedHeadScores.apply(
            hidden,
            torch.stack([reference.hidden for reference in references]),
            torch.stack([reference.log_normaliser for reference in references]),
            tokens,
            head,
            chunk,
        )
        return TokenScores(logprobs, entropy, normaliser, tuple(kl))
    size = chunk_rows(head, chunk)
    recompute = torch.is_grad_enabled() and hidden.shape[0] > size
    parts = []
    for start in range(0, hidden.shape[0], size):
        rows = slice(start, start + size)
        frozen = [
            FrozenScores(r.hidden[rows], r.head, r.log_normaliser[rows], r.logprobs[rows])
            for r in references
        ]
        if recompute:
            part = checkpoint(
                _chunk_scores, hidden[rows], head, tokens[rows], frozen, use_reentrant=False
            )
        else:
            part = _chunk_scores(hidden[rows], head, tokens[rows], frozen)
        parts.append(part)
    columns = [torch.cat(column) for column in zip(*parts, strict=True)]
    return TokenScores(columns[0], columns[1], columns[2], tuple(columns[3:]))


def _chunk_scores(
    hidden: Tensor, head: Head, tokens: Tensor, references: Sequence[FrozenScores]
) -> tuple[Tensor, ...]:
    logits = head.logits(hidden)
    normaliser = torch.logsumexp(logits, -1)
    logprobs = logits.gather(-1, tokens[:, None])[:, 0] - normaliser
    probs = torch.exp(logits - normaliser[:, None])
    entropy = normaliser - (probs * logits).sum(-1)
    kls = []
    for reference in references:
        other = reference.head.logits(reference.hidden) - reference.log_normaliser[:, None]
        kls.append((probs * (logits - normaliser[:, None] - other)).sum(-1))
    return (logprobs, entropy, normaliser, *kls)
