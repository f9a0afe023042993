"""`experiment=dynamics`: its files, and its numbers against a loop of their own."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.command_line import main
from benchmarks.theory.dynamics.experiment import recorded
from benchmarks.theory.dynamics.figures import styles
from mpo.games.extensive.cfr_plus import CFRPlus
from mpo.games.extensive.dilated import DilatedMD
from mpo.games.extensive.kuhn import kuhn_poker
from mpo.games.extensive.sequence_form import random_log_policies, sequence_form
from mpo.games.extensive.trajectory import run_tree
from mpo.games.matrix_families import FAMILIES, initial_policies, matrix_game

COLUMNS = (
    "game,method,seed,oracle_calls,gap_last,gap_average,calls_to_1e-2,calls_to_1e-3,calls_to_1e-6"
)


def run(out: Path, *words: str) -> list[dict[str, str]]:
    assert main(["experiment=dynamics", *words, f"out={out}"]) == 0
    with (out / "dynamics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def gap(matrix: np.ndarray, policy: np.ndarray) -> float:
    return 2 * float((matrix @ policy).max() - 0.5)


def by_hand(
    matrix: np.ndarray, start: np.ndarray, calls: int, alpha: float, eta: float, interval: int
) -> tuple[float, float, list[float]]:
    """MPO (α > 0) or multiplicative weights (α = 0) in plain probabilities: gaps, and calls_to."""
    policy, magnet, iterates = start, start, [start]
    calls_to = [math.inf] * 3
    for step in range(calls + 1):
        for place, tolerance in enumerate((1e-2, 1e-3, 1e-6)):
            here = gap(matrix, policy) <= tolerance
            calls_to[place] = min(calls_to[place], step) if here else math.inf
        if step == calls:
            break
        weights = (
            policy ** (1 / (1 + eta * alpha))
            * magnet ** (eta * alpha / (1 + eta * alpha))
            * np.exp(eta / (1 + eta * alpha) * matrix @ policy)
        )
        policy = weights / weights.sum()
        iterates.append(policy)
        if (step + 1) % interval == 0:
            magnet = policy
    return gap(matrix, policy), gap(matrix, np.mean(iterates, axis=0)), calls_to


def test_the_files_numbers_are_those_of_a_loop_by_hand(tmp_path: Path) -> None:
    words = ("game=[cyclic,rock_paper_scissors]", "game.actions=5", "seeds=[3,8]", "calls=400")
    settings = ("mpo.alpha=0.2", "mpo.eta=0.7", "mpo.magnet_interval=30", "mwu.eta=0.4")
    rows = run(tmp_path / "out", *words, *settings, "methods=[mpo,mwu]")
    assert [(row["game"], row["method"], row["seed"]) for row in rows] == [
        (game, method, seed)
        for game in ("cyclic", "rock_paper_scissors")
        for method in ("mpo", "mwu")
        for seed in ("3", "8")
    ]
    assert any(math.isfinite(float(row["calls_to_1e-3"])) for row in rows)
    for row in rows:
        actions, seed = 5 if row["game"] == "cyclic" else 3, int(row["seed"])
        matrix = matrix_game(row["game"], seed, actions).numpy()
        start = initial_policies(seed, actions)[0].numpy()
        alpha, eta = (0.2, 0.7) if row["method"] == "mpo" else (0.0, 0.4)
        last, average, calls_to = by_hand(matrix, start, 400, alpha, eta, 30)
        assert float(row["gap_last"]) == pytest.approx(last, rel=1e-6, abs=1e-12)
        assert float(row["gap_average"]) == pytest.approx(average, rel=1e-6)
        tolerances = ("1e-2", "1e-3", "1e-6")
        assert [float(row[f"calls_to_{name}"]) for name in tolerances] == calls_to
        assert row["oracle_calls"] == "400"


def test_the_columns_are_as_promised_and_a_step_of_two_calls_counts_two(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = run(out, "methods=[extragradient_mwu,mwu]", "seeds=1", "calls=31", "game.actions=4")
    assert (out / "dynamics.csv").read_text().splitlines()[0] == COLUMNS
    assert [row["oracle_calls"] for row in rows] == ["30", "31"]


def test_a_users_matrix_starts_elsewhere_with_every_seed(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("0.5,0.9,0.2\n0.1,0.5,0.7\n0.8,0.3,0.5\n")
    words = ("game=matrix", f"game.path={file}", "methods=mwu", "calls=50", "mwu.eta=0.3")
    rows = run(tmp_path / "out", *words, "seeds=2")
    matrix = np.loadtxt(file, delimiter=",")
    for row, start in zip(rows, initial_policies([0, 1], 3).numpy(), strict=True):
        last, average, _ = by_hand(matrix, start, 50, 0.0, 0.3, 1)
        assert row["game"] == "matrix"
        assert float(row["gap_last"]) == pytest.approx(last, rel=1e-6)
        assert float(row["gap_average"]) == pytest.approx(average, rel=1e-6)
    assert "mine.csv, 3 actions, 2 starts" in (tmp_path / "out" / "table.md").read_text()


def test_an_extensive_form_game_is_played_by_its_own_methods(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("game=[kuhn,openspiel:kuhn_poker]", "seeds=[2,5]", "calls=90", "md.eta=0.3")
    rows = run(out, *words)
    assert list(dict.fromkeys(row["method"] for row in rows)) == ["mpo", "mmd", "md", "cfr_plus"]
    form = sequence_form(kuhn_poker())
    start = random_log_policies(form, [2, 5])
    for method, column in (("md", DilatedMD(eta=0.3)), ("cfr_plus", CFRPlus())):
        direct = run_tree(column, form, start, 90)
        for game in ("kuhn", "openspiel:kuhn_poker"):
            found = [row for row in rows if (row["game"], row["method"]) == (game, method)]
            last = [float(row["gap_last"]) for row in found]
            # The two trees number their actions alike, so the starts are the same too.
            assert last == pytest.approx(direct.gap_last[:, 0].tolist(), rel=1e-9)
    assert (out / "figures" / "gap_openspiel_kuhn_poker.png").is_file()


def test_noise_depends_on_the_seed_alone_and_shows_in_the_notes(tmp_path: Path) -> None:
    words = ("methods=mpo", "calls=40", "game.actions=4", "noise=0.05")
    both = run(tmp_path / "both", *words, "seeds=[4,9]")
    one = run(tmp_path / "one", *words, "seeds=[9]")
    exact = run(tmp_path / "exact", *words[:-1], "seeds=[9]")
    assert float(both[1]["gap_last"]) == pytest.approx(float(one[0]["gap_last"]), rel=1e-9)
    assert both[1]["gap_last"] != exact[0]["gap_last"]
    assert "noise of standard deviation 0.05" in (tmp_path / "one" / "table.md").read_text()


def test_what_overflows_is_marked_and_the_others_go_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = run(out, "methods=[mwu,mpo]", "mwu.eta=1e308", "seeds=3", "calls=200")
    assert all(math.isfinite(float(row["gap_last"])) for row in rows)
    table, report = (out / "table.md").read_text(), (out / "report.md").read_text()
    for text in (table, report):
        assert "mwu on random_logistic: 3 of 3 runs overflowed" in text
        assert "mwu (3 diverged)" in text and "mpo (" not in text
    solved = [row for row in rows if row["method"] == "mpo" and row["calls_to_1e-2"] != "inf"]
    assert solved


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_played_from_the_command(family: str, tmp_path: Path) -> None:
    rows = run(tmp_path / "out", f"game={family}", "methods=mpo", "seeds=1", "calls=10")
    assert [row["game"] for row in rows] == [family]
    assert 0 <= float(rows[0]["gap_last"]) <= 1


@pytest.mark.parametrize("calls", [1, 2, 37, 4000])
def test_measurements_rise_from_the_start_to_the_last_call(calls: int) -> None:
    points = recorded(calls)
    assert points[0] == 0 and points[-1] == calls
    assert points == sorted(set(points))


def test_no_two_methods_look_alike() -> None:
    looks = styles([f"method {number}" for number in range(25)])
    assert len({(look["color"], look["linestyle"]) for look in looks.values()}) == 25
