from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mpo.games.matrix_families import matrix_game
from mpo.games.matrix_file import MatrixFileError, read_matrix

GOOD = matrix_game("random_logistic", 0, 4).numpy()


def saved(folder: Path, matrix: Any) -> Path:
    file = folder / "m.npy"
    np.save(file, np.asarray(matrix))
    return file


def changed(*entries: tuple[int, int, float]) -> Any:
    matrix = GOOD.copy()
    for row, column, value in entries:
        matrix[row, column] = value
    return matrix


def test_npy_comes_back_to_the_bit(tmp_path: Path) -> None:
    for seed in range(10):
        wins = matrix_game("random_logistic", seed, 12)
        assert torch.equal(read_matrix(saved(tmp_path, wins.numpy())), wins)
    whole = read_matrix(saved(tmp_path, np.array([[0.5, 1], [0, 0.5]], dtype=np.float32)))
    assert whole.tolist() == [[0.5, 1.0], [0.0, 0.5]]


def test_csv_is_read_and_rounding_is_taken_away(tmp_path: Path) -> None:
    file = tmp_path / "m.CSV"
    np.savetxt(file, GOOD, delimiter=",", fmt="%.6f")
    with file.open("a") as lines:
        lines.write("\n \n")
    got = read_matrix(str(file))
    np.testing.assert_allclose(got.numpy(), GOOD, atol=1e-6)
    assert bool((got + got.T == 1).all()) and bool((got.diagonal() == 0.5).all())
    # Spreadsheets begin a file with a byte order mark.
    np.savetxt(file, GOOD, delimiter=" , ", fmt="%.17g", encoding="utf-8-sig")
    assert torch.equal(read_matrix(file), torch.from_numpy(GOOD))


@pytest.mark.parametrize(
    ("matrix", "problem"),
    [
        (GOOD[:3], "shape: got (3, 4), allowed: as many rows as columns"),
        (GOOD[0], "shape: got (4,), allowed: as many rows as columns"),
        ([[0.5]], "shape: got (1, 1), allowed: 2 actions or more"),
        (np.zeros((0, 0)), "shape: got (0, 0), allowed: 2 actions or more"),
        (
            changed((2, 1, np.nan), (3, 0, np.inf)),
            "row 2, column 1: got nan, allowed: a finite number (and 1 more like it)",
        ),
        (changed((1, 2, -0.25), (2, 1, 1.25)), "row 1, column 2: got -0.25, allowed: between 0"),
        (changed((1, 2, 1.25), (2, 1, -0.25)), "row 1, column 2: got 1.25, allowed: between 0"),
        (
            changed((0, 3, 0.75), (3, 0, 0.5)),
            "row 0, column 3: got 0.75 with 0.5 at row 3, column 0, allowed: a sum of 1",
        ),
        (changed((2, 2, 0.6)), "row 2, column 2: got 0.6 with 0.6 at row 2, column 2"),
        (np.array([["a", "b"], ["c", "d"]]), "content: got <U1, allowed: an array of real"),
    ],
)
def test_the_first_bad_entry_is_named(tmp_path: Path, matrix: Any, problem: str) -> None:
    file = saved(tmp_path, matrix)
    with pytest.raises(MatrixFileError) as caught:
        read_matrix(file)
    assert len(caught.value.problems) == 1 and caught.value.problems[0].startswith(problem)
    assert str(caught.value).startswith(f"{file}: ")


def test_all_kinds_of_mistakes_come_together(tmp_path: Path) -> None:
    bad = changed((0, 1, np.nan), (1, 2, 2.0), (3, 2, 0.9), (2, 3, 0.9))
    with pytest.raises(MatrixFileError) as caught:
        read_matrix(saved(tmp_path, bad))
    starts = ["row 0, column 1: got nan", "row 1, column 2: got 2,", "row 2, column 3: got 0.9 w"]
    assert len(caught.value.problems) == 3
    for problem, start in zip(caught.value.problems, starts, strict=True):
        assert problem.startswith(start)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("m.txt", "0.5", "name: got the ending '.txt', allowed: .npy, .csv"),
        ("m.csv", "", "content: got no rows"),
        ("m.csv", "0.5,0.2\n0.8\n", "row 1: got 1 numbers, allowed: 2, as there are 2 rows"),
        ("m.csv", "0.5,x\n0.8,0.5\n", "row 0, column 1: got 'x', allowed: a number"),
        ("m.csv", "a,b\n0.5,1\n0,0.5\n", "row 0: got 2 numbers, allowed: 3"),
        ("m.npy", "0.5,0.2\n", ""),
        ("m.npy", "", ""),
    ],
)
def test_a_file_that_is_none_is_named(
    tmp_path: Path, name: str, content: str, problem: str
) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(MatrixFileError) as caught:
        read_matrix(file)
    assert str(caught.value).startswith(f"{file}: {problem}")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MatrixFileError, match=r"gone.npy: .*No such file"):
        read_matrix(tmp_path / "gone.npy")


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    file = tmp_path / "m.npy"
    np.save(file, np.array([[None, 1]], dtype=object), allow_pickle=True)
    with pytest.raises(MatrixFileError):
        read_matrix(file)
