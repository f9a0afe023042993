"""Prompts by iteration: which prompts an iteration trains on is a function of the seed alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from mpo.records import Prompts

ROUNDS_STREAM = 2**31
"""Keeps the numbers that split prompts into rounds apart from those of any epoch."""


class PromptSet:
    """Tokenised prompts with their identities and texts."""

    def __init__(self, ids: Sequence[Sequence[int]], keys: Sequence[int], texts: Sequence[str]):
        if not ids:
            raise ValueError("prompts: got none, allowed is at least one")
        empty = [texts[i] for i, tokens in enumerate(ids) if not tokens]
        if empty:
            raise ValueError(f"prompts: got prompts of no tokens {empty}, allowed is at least one")
        self.ids, self.keys, self.texts = ids, keys, texts

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, index: Sequence[int]) -> Prompts:
        """The prompts at `index`, padded on the right to their longest."""
        lengths = torch.tensor([len(self.ids[i]) for i in index])
        ids = torch.zeros(len(index), int(lengths.max()), dtype=torch.long)
        for row, i in enumerate(index):
            ids[row, : lengths[row]] = torch.tensor(self.ids[i])
        keys = torch.tensor([self.keys[i] for i in index])
        return Prompts(ids, lengths, keys, tuple(self.texts[i] for i in index))

    def first(self, count: int) -> PromptSet:
        """The first `count` prompts."""
        return PromptSet(self.ids[:count], self.keys[:count], self.texts[:count])


class Iterations(Dataset[Prompts]):
    """Item k is iteration k's batch: a walk through one permutation of the prompts an epoch.

    With R rounds the prompts are split evenly by another permutation, and iteration k of K walks
    through the share of round ⌊k·R/K⌋ (paper, appendix B.3).
    """

    def __init__(
        self, prompts: PromptSet, batch_size: int, iterations: int, seed: int, rounds: int = 1
    ):
        share = len(prompts) // rounds
        if batch_size > share:
            a_round = "" if rounds == 1 else f" of each of the {rounds} rounds"
            raise ValueError(
                f"train.prompts: got {batch_size}, allowed is at most the {share} training prompts"
                f"{a_round}"
            )
        self.prompts, self.batch_size = prompts, batch_size
        self.iterations, self.seed, self.rounds = iterations, seed, rounds

    def __len__(self) -> int:
        return self.iterations

    def __getitem__(self, iteration: int) -> Prompts:
        current = iteration * self.rounds // self.iterations
        first = -(-current * self.iterations // self.rounds)
        share = self._share(current)
        epoch, place = divmod(iteration - first, len(share) // self.batch_size)
        key = [self.seed, epoch] if self.rounds == 1 else [self.seed, epoch, current]
        order = share[np.random.default_rng(key).permutation(len(share))]
        chosen = order[place * self.batch_size : (place + 1) * self.batch_size]
        return self.prompts.batch(sorted(chosen.tolist()))

    def _share(self, current: int) -> NDArray[np.int64]:
        """Indices of the prompts of a round."""
        everything = np.arange(len(self.prompts))
        if self.rounds == 1:
            return everything
        mixed = np.random.default_rng([self.seed, ROUNDS_STREAM]).permutation(everything)
        return np.array_split(mixed, self.rounds)[current]


class From(Sampler[int]):
    """Iterations from `start` on: where a resumed run goes on."""

    def __init__(self, start: int, iterations: int):
        self.start, self.iterations = start, iterations

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.iterations))

    def __len__(self) -> int:
        return self.iterations - self.start


class PromptDataModule(L.LightningDataModule):
    """The training prompts of a run, from iteration `start` on."""

    def __init__(self, iterations: Iterations, start: int = 0):
        super().__init__()
        self.iterations, self.start = iterations, start

    def train_dataloader(self) -> DataLoader[Prompts]:
        """One batch an iteration; items are whole batches already."""
        return DataLoader(
            self.iterations,
            batch_size=None,
            sampler=From(self.start, len(self.iterations)),
            collate_fn=_as_it_is,
        )


def _as_it_is(batch: Any) -> Any:
    """Keeps the record; the loader's own conversion would make lists of its tuples."""
    return batch
