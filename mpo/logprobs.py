"""From hidden states to log-probabilities, one chunk of positions at a time."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Head(NamedTuple):
    """The map from a hidden state to logits: softcap(W h + bias) / temperature."""

    weight: Tensor
    """(V, D)."""
    bias: Tensor | None = None
    """(V,)."""
    softcap: float | None = None
    """Gemma 2's final logit soft-capping, c·tanh(z / c)."""
    temperature: float = 1.0
    """The sampling temperature: scores are those of the distribution that was sampled."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (N, V) of hidden states (N, D)."""
        logits = torch.nn.functional.linear(hidden, self.weight, self.bias)
        if self.softcap is not None:
            logits = self.softcap * torch.tanh(logits / self.softcap)
        return logits if self.temperature == 1.0 else logits / self.temperature

    def is_linear_in(self, other: Head) -> bool:
        """True when both are the same frozen linear map, so that the short form of the KL holds."""
        return (
            self.weight is other.weight
            and self.bias is other.bias
            and self.softcap is None
            and other.softcap is None
            and self.temperature == other.temperature
            and not self.weight.requires_grad
        )


class FrozenScores(NamedTuple):
    """A frozen model at the N response positions of a rollout: kept for all inner steps."""

    hidden: Tensor
    """(N, D)."""
    head: Head
    log_normaliser: Tensor
    """(N,): log Σ_v exp(logit_v)."""
    logprobs: Tensor
    """(N,): log π(y_t | s_t)."""


def chunk_rows(head: Head, chunk: int) -> int:
    """Positions whose vocabulary makes up a chunk of at most `chunk` logits, at least one."""
    return max(1, chunk // head.weight.shape[0])


@torch.no_grad()
def frozen_scores(hidden: Tensor, head: Head, tokens: Tensor, chunk: int) -> FrozenScores:
    """Normalisers and token log-probabilities of a frozen model, `chunk` logits at a time.

    hidden is (N, D), tokens (N,) ids. Peak memory is one chunk of logits.
    """
    rows = chunk_rows(head, chunk)
    normalisers, logprobs = [], []
    for part, ids in zip(hidden.split(rows), tokens.split(rows), strict=True):
        logits = head.logits(part)
        normaliser = torch.logsumexp(logits, -1)
        normalisers.append(normaliser)
        logprobs.append(logits.gather(-1, ids[:, None])[:, 0] - normaliser)
    return FrozenScores(hidden, head, torch.cat(normalisers), torch.cat(logprobs))
