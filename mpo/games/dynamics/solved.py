"""Since when a run has been solved: its gap fell to a tolerance and stayed there."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class SolvedSince:
    """Watches the gaps of N rows, step after step.

    The first time at or below a tolerance says little of a last iterate: one that circles passes
    near an equilibrium by chance and goes away again.
    """

    def __init__(self, rows: int, tolerances: Sequence[float]):
        self.tolerances = torch.tensor(list(tolerances), dtype=torch.float64)
        self.calls = torch.full((rows, len(self.tolerances)), math.inf, dtype=torch.float64)
        """(N, tolerances): the oracle calls after which the gap was at or below each tolerance in
        every step looked at since; ``inf`` where it is above now."""
        self._within = torch.zeros_like(self.calls, dtype=torch.bool)

    def look(self, gap: Tensor, calls: int, alive: Tensor) -> None:
        """Take note of the gaps (N,) after ``calls`` oracle calls; rows not alive are unsolved."""
        within = (gap[:, None] <= self.tolerances) & alive[:, None]
        # Nearly all steps change nothing, and indexing by a mask is slow.
        if torch.equal(within, self._within):
            return
        self.calls[~within] = math.inf
        self.calls[within & ~self._within] = calls
        self._within = within
