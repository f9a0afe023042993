"""Demonstrated responses that train beside self-play: the pretraining term of PPO-ptx."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mpo.data import Iterations, PromptSet
from mpo.records import Prompts, Responses


class Demonstrations:
    """Prompts with one demonstrated response each, in an order that is a function of the seed."""

    def __init__(
        self,
        prompts: PromptSet,
        responses: Sequence[Sequence[int]],
        batch_size: int,
        iterations: int,
        seed: int,
    ):
        empty = [prompts.texts[i] for i, ids in enumerate(responses) if not ids]
        if empty or len(responses) != len(prompts):
            raise ValueError(
                f"demonstrations: got {len(responses)} responses to {len(prompts)} prompts, of no "
                f"tokens to {empty}; allowed is one response of at least a token to each"
            )
        place = {key: i for i, key in enumerate(prompts.keys)}
        self._ids = [list(ids) for ids in responses]
        self._place = place
        self._batches = Iterations(prompts, batch_size, iterations, seed)

    def batch(self, iteration: int, device: torch.device) -> tuple[Prompts, Responses]:
        """The prompts of an iteration, (B, P), and their responses, (B, 1, T)."""
        prompts = self._batches[iteration]
        chosen = [self._ids[self._place[key]] for key in prompts.keys.tolist()]
        lengths = torch.tensor([len(ids) for ids in chosen])
        ids = torch.zeros(len(chosen), 1, int(lengths.max()), dtype=torch.long)
        for row, tokens in enumerate(chosen):
            ids[row, 0, : len(tokens)] = torch.tensor(tokens)
        ended = torch.ones_like(lengths).bool()[:, None]
        shown = Responses(*(part.to(device) for part in (ids, lengths[:, None], ended)))
        ids, lengths, keys = (part.to(device) for part in prompts[:3])
        return Prompts(ids, lengths, keys, prompts.texts), shown
