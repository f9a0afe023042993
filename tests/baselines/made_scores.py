"""Random scores and rollouts of chosen lengths, for losses that are checked against plain loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mpo.records import Prompts, Responses, Rollout, Scores

LENGTHS = ((3, 1, 5), (2, 4, 4), (1, 1, 5), (5, 2, 3))
"""Tokens of 4 × 3 responses."""


def draw(seed: int, *shape: int) -> Tensor:
    """Normal float64 numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def mask_of(lengths: Sequence[Sequence[int]] = LENGTHS) -> Tensor:
    """(B, n, T) bool."""
    table = torch.tensor(lengths)
    return torch.arange(int(table.max())) < table[..., None]


def made_scores(
    reference: str, seed: int = 0, lengths: Sequence[Sequence[int]] = LENGTHS
) -> Scores:
    """Scores with noise for numbers; the values are not zero outside the mask, as a critic's."""
    mask = mask_of(lengths)
    logprobs, entropy, other, values = (draw(seed + i, *mask.shape) for i in range(4))
    return Scores(
        -logprobs.abs() * mask,
        entropy.abs() * mask,
        {},
        {reference: -other.abs() * mask},
        mask,
        values,
        mask.shape[0],
        draw(seed + 4, mask.shape[0]),
    )


def moved(scores: Scores, size: float, seed: int) -> Scores:
    """The scores after a random step of θ: new log-probabilities, values and demonstrations."""
    step, other = draw(seed, *scores.mask.shape), draw(seed + 1, *scores.mask.shape)
    assert scores.values is not None and scores.demonstrations is not None
    shift = size * draw(seed + 2, *scores.demonstrations.shape)
    return scores._replace(
        logprobs=(scores.logprobs + size * step) * scores.mask,
        values=scores.values + size * other,
        demonstrations=scores.demonstrations + shift,
    )


def part_of(scores: Scores, prompts: slice) -> Scores:
    """A micro-batch of the scores."""
    return scores._replace(
        logprobs=scores.logprobs[prompts],
        entropy=scores.entropy[prompts],
        kl={name: each[prompts] for name, each in scores.kl.items()},
        other_logprobs={name: each[prompts] for name, each in scores.other_logprobs.items()},
        mask=scores.mask[prompts],
        values=None if scores.values is None else scores.values[prompts],
        demonstrations=None if scores.demonstrations is None else scores.demonstrations[prompts],
    )


def made_rollout(
    rewards: Tensor | None,
    lengths: Sequence[Sequence[int]] = LENGTHS,
    wins: Tensor | None = None,
    texts: tuple[tuple[str, ...], ...] | None = None,
    state: Mapping[str, float] | None = None,
) -> Rollout:
    """A rollout of responses that all read differently, unless said."""
    table = torch.tensor(lengths)
    batch, n = table.shape
    words = tuple(tuple(f"response {i}" for i in range(n)) for _ in range(batch))
    zeros = torch.zeros(batch, 1, dtype=torch.long)
    prompts = Prompts(zeros, zeros[:, 0] + 1, zeros[:, 0], ("",) * batch)
    ids = torch.zeros(batch, n, int(table.max()), dtype=torch.long)
    wins = torch.full((batch, n, n), 0.5, dtype=torch.float64) if wins is None else wins
    return Rollout(
        iteration=0,
        iterations=1,
        prompts=prompts,
        responses=Responses(ids, table, table > 0),
        texts=words if texts is None else texts,
        opponents=None,
        opponent_texts=words,
        wins=wins,
        compared=(1 - torch.eye(n)).bool().expand(batch, n, n),
        greedy_wins=None,
        judge_calls=batch * n,
        samples=batch * n,
        tokens=int(table.sum()),
        rewards=rewards,
        state=state or {},
    )
