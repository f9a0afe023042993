"""`experiment=figure3`: where its curves end, by another road, and what it writes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.command_line import main
from benchmarks.theory.resolve import resolve
from benchmarks.theory.simplex.experiment import sentences, solve
from mpo.games.matrix_families import rock_paper_scissors

WORDS = ("iterations=600", "game.weights=[2,3,5]", "start=[6,1,3]", "alphas=[0.2,0.6]")


def test_the_curves_end_where_the_theory_says() -> None:
    config = resolve("figure3", WORDS).config
    game = rock_paper_scissors(config["game"]["weights"])
    found = solve(game, config)
    matrix, start = game.numpy(), np.array([0.6, 0.1, 0.3])
    np.testing.assert_allclose(found.nash.policy.numpy(), [0.2, 0.3, 0.5], rtol=1e-9)
    assert [curve.key for curve in found.curves] == ["md", "mmd_0.2", "mmd_0.6", "mpo"]
    for curve, point, alpha in zip(found.curves[1:-1], found.regularised, (0.2, 0.6), strict=True):
        end = curve.policies[-1].numpy()
        # π ∝ μ exp(P π / α), with the start as the magnet.
        answer = start * np.exp(matrix @ end / alpha)
        np.testing.assert_allclose(end, answer / answer.sum(), rtol=1e-8)
        np.testing.assert_allclose(point.policy.numpy(), end, rtol=1e-8)
    for curve in found.curves:
        np.testing.assert_allclose(curve.policies[0].numpy(), start, rtol=1e-12)
        gaps = 2 * ((curve.policies.numpy() @ matrix.T).max(1) - 0.5)
        np.testing.assert_allclose(curve.gaps.numpy(), gaps, atol=1e-12)
        assert len(curve.gaps) == 601
    first, *_, mpo = found.curves
    # KL(π* ‖ π_k) of mirror descent never falls: log E_{π_k} exp(η P π_k) ≥ η/2 = η π*·P π_k.
    away = -(np.array([0.2, 0.3, 0.5]) * np.log(first.policies.numpy())).sum(1)
    assert (np.diff(away) > 0).all()
    assert float(mpo.gaps[-1]) < 1e-2
    assert mpo.magnets is not None
    np.testing.assert_array_equal(mpo.magnets.numpy(), mpo.policies[::100].numpy())


def test_the_sentences_give_the_curves_numbers() -> None:
    config = resolve("figure3", WORDS).config
    game = rock_paper_scissors(config["game"]["weights"])
    found = solve(game, config)
    lines = sentences(game, found, config)
    assert len(lines) == len(found.curves)
    assert lines[0].startswith("MD (η = 0.5) ends at a duality gap of")
    near = (found.curves[2].policies - found.regularised[1].policy).abs().amax(1) <= 1e-6
    stays = int((~near).nonzero()[-1]) + 1
    assert f"within 1e-6 of it after {stays} iterations" in lines[2]


def test_the_command_writes_curves_points_figure_and_report(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["experiment=figure3", "iterations=50", "mpo_alpha=0.3", f"out={out}"]) == 0
    with (out / "curves.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["curve", "iteration", "rock", "scissors", "paper", "gap"]
    assert len(rows) == 6 * 51
    for row in rows:
        total = sum(float(row[action]) for action in ("rock", "scissors", "paper"))
        assert total == pytest.approx(1, rel=1e-12)
    with (out / "points.csv").open(newline="", encoding="utf-8") as file:
        points = {row["point"]: float(row["gap"]) for row in csv.DictReader(file)}
    assert points.pop("nash") == pytest.approx(0, abs=1e-12)
    # The stronger the pull to the magnet, the further from the game's own equilibrium.
    assert list(points.values()) == sorted(points.values())
    assert (out / "figures" / "figure3.png").stat().st_size > 10_000
    assert "![figure 3](figures/figure3.png)" in (out / "report.md").read_text()
    metrics = json.loads((out / "result.json").read_text())["metrics"]
    assert metrics["gap_mpo"] == float(rows[-1]["gap"])


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("alphas=[0.1,0.1]", "alphas: got [0.1, 0.1], allowed is a list of different numbers > 0"),
        ("alphas=[-1]", "alphas: got [-1.0]"),
        ("start=[1,0,0]", "start: got [1.0, 0.0, 0.0], allowed is three numbers > 0"),
        ("eta=0", "eta: got 0.0, allowed is a number > 0"),
        ("game.weights=[1,2]", "game.weights: got [1.0, 2.0], allowed is three numbers > 0"),
    ],
)
def test_a_mistake_is_named(word: str, expected: str) -> None:
    (problem,) = resolve("figure3", [word]).problems
    assert problem.startswith(expected)
