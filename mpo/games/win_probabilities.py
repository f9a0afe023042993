"""Preference matrices with P + Pᵀ == 1 to the bit, from logits or from margins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def from_logits(logits: Array) -> Array:
    """σ(logits), (R, R), from the upper triangle; the diagonal is ½.

    P + Pᵀ == 1 holds to the bit (design.md section 3, judge).
    """
    upper = np.triu(logits, 1)
    return _constant_sum(1 / (1 + np.exp(-np.abs(upper))), upper >= 0)


def from_margins(margins: Array) -> Array:
    """½ + margins, (R, R), from the upper triangle, whose entries are between −½ and ½.

    P + Pᵀ == 1 holds to the bit, and the diagonal is ½.
    """
    upper = np.triu(margins, 1)
    return _constant_sum(0.5 + np.abs(upper), upper >= 0)


def _constant_sum(larger: Array, row_wins: NDArray[np.bool_]) -> Array:
    """The matrix whose upper triangle holds `larger` (½ or more) or 1 − `larger`."""
    # 1 − h is exact for h ≥ ½, so the larger of the two is the one to compute.
    above = np.where(row_wins, larger, 1 - larger)
    matrix: Array = np.triu(above, 1) + np.tril(1 - above.T, -1)
    np.fill_diagonal(matrix, 0.5)
    return matrix
