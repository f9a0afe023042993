"""dynamics.csv: one row a game, method and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.theory.sources.source import Measured

TOLERANCES = ("1e-2", "1e-3", "1e-6")
"""Gaps at or below which a game counts as solved, as the columns name them."""

COLUMNS = (
    "game", "method", "seed", "oracle_calls", "gap_last", "gap_average",
    *(f"calls_to_{tolerance}" for tolerance in TOLERANCES),
)  # fmt: skip


class Row(NamedTuple):
    """One run: where it ended, and since when its last iterate is within each tolerance."""

    game: str
    method: str
    seed: int
    oracle_calls: int
    gap_last: float
    gap_average: float
    calls_to: tuple[float, ...]
    """Of each of TOLERANCES; infinite where it is not within it at the end."""
    diverged: bool
    """It overflowed, and stands at its last finite iterate."""

    def cells(self) -> Mapping[str, Any]:
        """The row of the file."""
        return dict(zip(COLUMNS, (*self[:6], *self.calls_to), strict=True))


def rows_of(
    game: str, method: str, seeds: Sequence[int], oracle_calls: int, measured: Measured
) -> list[Row]:
    """The rows of one method on one game, whose last measurement is after all its calls."""
    return [
        Row(game, method, seed, oracle_calls, last, average, tuple(calls_to), diverged)
        for seed, last, average, calls_to, diverged in zip(
            seeds,
            measured.gap_last[:, -1].tolist(),
            measured.gap_average[:, -1].tolist(),
            measured.calls_to.tolist(),
            measured.diverged.tolist(),
            strict=True,
        )
    ]
