"""The records that pass through the engine, with their shapes declared once.

B prompts, n responses a prompt, k opponents' responses a prompt, P prompt tokens, T response
tokens, V vocabulary, D hidden width.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor


class Prompts(NamedTuple):
    """A batch of tokenised prompts, padded on the right."""

    ids: Tensor
    """(B, P) token ids."""
    lengths: Tensor
    """(B,) tokens that count."""
    keys: Tensor
    """(B,) int64, each prompt's identity: the key of its random numbers."""
    texts: tuple[str, ...]
    """B prompts as the judge reads them."""


class Responses(NamedTuple):
    """Sampled responses, grouped by prompt, padded on the right.

    Masks come from lengths, never from ids: the padding token may be the end token.
    """

    ids: Tensor
    """(B, n, T) token ids."""
    lengths: Tensor
    """(B, n) tokens that count; the end-of-sequence token counts, a truncated response has none."""
    ended: Tensor
    """(B, n) bool, True where the response ended by itself."""

    @property
    def mask(self) -> Tensor:
        """(B, n, T) bool, True where a token counts."""
        steps = torch.arange(self.ids.shape[-1], device=self.ids.device)
        return steps < self.lengths[..., None]

    def select(self, index: slice) -> Responses:
        """The responses whose place among a prompt's n is in `index`."""
        return Responses(self.ids[:, index], self.lengths[:, index], self.ended[:, index])

    def prompts_slice(self, index: slice) -> Responses:
        """The responses of the prompts in `index`."""
        return Responses(self.ids[index], self.lengths[index], self.ended[index])


class Rollout(NamedTuple):
    """One iteration's prompts, the responses that train, and what the judge said of them."""

    iteration: int
    iterations: int
    prompts: Prompts
    responses: Responses
    """(B, n, T): samples of π_k."""
    texts: tuple[tuple[str, ...], ...]
    """B × n responses as the judge read them."""
    opponents: Responses | None
    """(B, k, T), or None when the policy's own samples are each other's opponents."""
    opponent_texts: tuple[tuple[str, ...], ...]
    """B × k."""
    wins: Tensor
    """(B, n, k) float64: P(y_i ≻ y′_j | x)."""
    compared: Tensor
    """(B, n, k) bool: which pairs were judged."""
    greedy_wins: Tensor | None
    """(B, k) float64: P(greedy response ≻ y′_j | x), where the objective needs it."""
    judge_calls: int
    """Unordered pairs that were judged, the greedy response's included, and responses scored."""
    samples: int
    """Responses generated."""
    tokens: int
    """Response tokens generated."""
    rewards: Tensor | None = None
    """(B, n) float64: r(x, y_i) of a reward model, where the objective needs it."""
    state: Mapping[str, float] = MappingProxyType({})
    """The numbers of an adaptive objective at this iteration."""


class Scores(NamedTuple):
    """What the models say of a rollout's responses; zero where the mask is False."""

    logprobs: Tensor
    """(B, n, T): log π_θ(y_t | s_t)."""
    entropy: Tensor
    """(B, n, T): entropy of π_θ(· | s_t), nats."""
    kl: dict[str, Tensor]
    """name → (B, n, T): KL(π_θ(· | s_t) ‖ π_name(· | s_t)) over the whole vocabulary, nats."""
    other_logprobs: dict[str, Tensor]
    """name → (B, n, T): log π_name(y_t | s_t), no gradient."""
    mask: Tensor
    """(B, n, T) bool."""
    values: Tensor | None
    """(B, n, T) the critic's, where the objective needs them."""
    total_prompts: int
    """Prompts of the whole iteration, over micro-batches and ranks: what losses divide by."""
    demonstrations: Tensor | None = None
    """(B,): mean log π_θ of the tokens of each prompt's demonstration, where they are needed."""


class Weighted(NamedTuple):
    """A metric's contribution: its mean over what was seen, and the weight of what was seen."""

    mean: Tensor
    weight: float


Metrics = dict[str, Weighted]
