"""The payoffs P π that a dynamic may ask for: exact, or with noise that a seed decides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mpo.games.dynamics.protocol import Payoffs

CALLS_A_BLOCK = 64
"""Noise is drawn for so many calls at once: a generator a row is slow to ask one by one."""


def exact_payoffs(preferences: Tensor) -> Payoffs:
    """π -> P π, row by row.

    The payoffs of the same policies asked twice in a row are not computed again: a trajectory's
    gap of an iterate and the dynamic's first call at it share one product.

    Args:
        preferences: (N, R, R), or (1, R, R), one game for all rows.
    """
    # As a row times Pᵀ: the batched product of matrix and column takes five times as long.
    transposed = preferences.transpose(1, 2)
    asked: Tensor | None = None
    answered: Tensor | None = None

    def payoffs(policies: Tensor) -> Tensor:
        nonlocal asked, answered
        if asked is None or answered is None or not torch.equal(asked, policies):
            asked = policies
            if len(transposed) == 1:
                answered = policies @ transposed[0]
            else:
                answered = torch.bmm(policies[:, None, :], transposed)[:, 0]
        return answered

    return payoffs


def row_seeds(seed: int, rows: int) -> list[int]:
    """The seeds of the rows of a batch: row i's depends on ``seed`` and i alone."""
    return [int(np.random.SeedSequence((seed, i)).generate_state(1)[0]) for i in range(rows)]


def noisy_payoffs(preferences: Tensor, noise: float, seed: int | Sequence[int]) -> Payoffs:
    """π -> P π + noise · N(0, 1), independently for each entry and each call.

    A row's noise is a function of its seed and of the number of the call, whatever the other rows
    are. No other random numbers are drawn or disturbed.

    Args:
        preferences: as ``exact_payoffs``.
        noise: standard deviation of an entry's error, 0 or more.
        seed: 0 or more; an int stands for ``row_seeds`` of it; a sequence has one for each row.
    """
    return with_noise(exact_payoffs(preferences), noise, seed)


def with_noise(exact: Payoffs, noise: float, seed: int | Sequence[int]) -> Payoffs:
    """The same on top of payoffs that are given."""
    generators: list[torch.Generator] = []
    block = torch.empty(0)
    calls = 0

    def payoffs(policies: Tensor) -> Tensor:
        nonlocal block, calls
        rows, actions = policies.shape
        if not generators:
            seeds = row_seeds(seed, rows) if isinstance(seed, int) else seed
            generators.extend(torch.Generator().manual_seed(one) for one in seeds)
        if calls % CALLS_A_BLOCK == 0:
            shape = (CALLS_A_BLOCK, actions)
            block = torch.stack(
                [torch.randn(shape, generator=g, dtype=torch.float64) for g in generators], dim=1
            )
        error = block[calls % CALLS_A_BLOCK]
        calls += 1
        return exact(policies) + noise * error

    return payoffs
