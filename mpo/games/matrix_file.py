"""A preference matrix from a file: .npy, or .csv with R rows of R numbers and nothing else."""

from __future__ import annotations

import csv
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mpo.games.win_probabilities import Array, from_margins

TOLERANCE = 1e-6
"""How far P + Pᵀ may be from 1: single precision and six decimals pass."""


class MatrixFileError(ValueError):
    """A file without a preference matrix: which file, and everything that is wrong with it."""

    def __init__(self, file: str | Path, problems: list[str]) -> None:
        self.problems = problems
        super().__init__(f"{file}: " + "; ".join(problems))


def read_matrix(file: str | Path) -> Tensor:
    """The preference matrix in a file, P[i, j] = P(i ≻ j).

    What rounding has left of P + Pᵀ − 1, at most ``TOLERANCE``, is taken away: the result has
    P + Pᵀ == 1 to the bit, and differs from the file by half as much.

    Args:
        file: .npy (an array of real numbers) or .csv (numbers, commas, no header).

    Returns:
        (R, R) float64, R ≥ 2.

    Raises:
        MatrixFileError: the file can't be read, or isn't a square matrix of two or more actions
            with finite entries in [0, 1] and P + Pᵀ = 1. It has all problems, each kind with its
            first entry as row, column (counted from 0) and value.
    """
    path = Path(file)
    readers = {".npy": _read_npy, ".csv": _read_csv}
    if path.suffix.lower() not in readers:
        raise MatrixFileError(
            file, [f"name: got the ending {path.suffix!r}, allowed: {', '.join(readers)}"]
        )
    try:
        matrix = readers[path.suffix.lower()](path)
    except (OSError, ValueError, EOFError, csv.Error, BadZipFile) as error:
        raise MatrixFileError(file, [str(error)]) from error
    if problems := _problems(matrix):
        raise MatrixFileError(file, problems)
    return torch.from_numpy(from_margins((matrix - matrix.T) / 2))


def _problems(matrix: Array) -> list[str]:
    """All that keeps an array from being a preference matrix; empty if nothing does."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        return [f"shape: got {matrix.shape}, allowed: as many rows as columns"]
    problems = []
    if len(matrix) < 2:
        problems.append(f"shape: got {matrix.shape}, allowed: 2 actions or more")
    finite = np.isfinite(matrix)
    if not finite.all():
        problems.append(_first(~finite, matrix, "a finite number"))
    outside = finite & ((matrix < 0) | (matrix > 1))
    if outside.any():
        problems.append(_first(outside, matrix, "between 0 and 1"))
    comparable = finite & finite.T & ~outside & ~outside.T
    total = np.where(comparable, matrix, 0.5) + np.where(comparable, matrix, 0.5).T
    uneven = np.triu(np.abs(total - 1) > TOLERANCE)
    if uneven.any():
        row, column = np.argwhere(uneven)[0]
        problems.append(
            f"row {row}, column {column}: got {matrix[row, column]:.12g} with "
            f"{matrix[column, row]:.12g} at row {column}, column {row}, allowed: a sum of 1"
            + _more(uneven)
        )
    return problems


def _first(bad: NDArray[np.bool_], matrix: Array, allowed: str) -> str:
    row, column = np.argwhere(bad)[0]
    return (
        f"row {row}, column {column}: got {matrix[row, column]:.12g}, allowed: {allowed}"
        + _more(bad)
    )


def _more(bad: NDArray[np.bool_]) -> str:
    others = int(bad.sum()) - 1
    return f" (and {others} more like it)" if others else ""


def _read_npy(path: Path) -> Array:
    loaded = np.load(path, allow_pickle=False)
    if not isinstance(loaded, np.ndarray) or loaded.dtype.kind not in "fiub":
        kind = getattr(loaded, "dtype", type(loaded).__name__)
        raise ValueError(f"content: got {kind}, allowed: an array of real numbers")
    return loaded.astype(np.float64)


def _read_csv(path: Path) -> Array:
    """Rows of numbers; empty lines at the end don't count."""
    with path.open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.reader(lines))
    while rows and not any(cell.strip() for cell in rows[-1]):
        rows.pop()
    if not rows:
        raise ValueError("content: got no rows, allowed: R rows of R numbers")
    for number, row in enumerate(rows):
        if len(row) != len(rows):
            raise ValueError(
                f"row {number}: got {len(row)} numbers, allowed: {len(rows)}, as there are "
                f"{len(rows)} rows"
            )
    return np.array([[_number(cell, i, j) for j, cell in enumerate(r)] for i, r in enumerate(rows)])


def _number(cell: str, row: int, column: int) -> float:
    try:
        return float(cell)
    except ValueError:
        raise ValueError(
            f"row {row}, column {column}: got {cell.strip()!r}, allowed: a number"
        ) from None
