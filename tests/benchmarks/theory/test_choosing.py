"""`experiment=choosing`: its choice of a best step, its comparison, and what it writes."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.command_line import main
from benchmarks.theory.choosing.runs import (
    ALTERNATIVES,
    Cell,
    as_it_is,
    at_steps,
    batch_of,
    best,
    grid,
    parsed,
)
from benchmarks.theory.choosing.tables import ahead, best_steps, blocks, metrics, sentences
from benchmarks.theory.resolve import resolve
from mpo.games.dynamics.comal import COMAL
from mpo.games.dynamics.magnetic import MPO
from mpo.games.dynamics.mirror import OptimisticMWU
from mpo.games.dynamics.trajectory import run
from mpo.games.matrix_families import initial_policies, matrix_game

NEVER = math.inf


def cell(method: str, eta: float | None, *calls: float, part: str = "steps") -> Cell:
    return Cell(part, "cyclic:10", method, "", eta, calls, 0)


def test_each_stepsize_gets_what_it_gets_alone() -> None:
    batch = batch_of("random_logistic:6", 1000, 5, 2)
    assert batch.preferences.shape == (5, 6, 6)
    together = at_steps("steps", "optimistic", "", OptimisticMWU(), batch, [0.5, 2.0, 8.0], 300)
    assert [found.eta for found in together] == [0.5, 2.0, 8.0]
    games = torch.stack([matrix_game("random_logistic", seed, 6) for seed in range(1000, 1005)])
    start = initial_policies(range(1000, 1005), 6).log()
    for found in together:
        alone = run(OptimisticMWU(found.eta or 0.0), games, start, 300, tolerances=[1e-3])
        assert found.calls == tuple(alone.calls_to[:, 0].tolist())
        one = as_it_is("steps", "optimistic", "", OptimisticMWU(found.eta or 0.0), batch, 300)
        assert one == found
    assert together[1].solved != together[2].solved


def test_large_games_are_fewer_and_steps_that_a_method_forbids_are_left_out() -> None:
    assert len(batch_of("cyclic:50", 1000, 5, 2).log_policy) == 2
    batch = batch_of("cyclic:4", 1000, 2, 2)
    # COMAL's ηα is at most 1.
    steps = at_steps("steps", "comal", "", COMAL(alpha=0.5), batch, [1.0, 2.0, 4.0], 20)
    assert [found.eta for found in steps] == [1.0, 2.0]
    assert at_steps("steps", "comal", "", COMAL(alpha=0.5), batch, [4.0], 20) == []


def test_the_grid_is_over_inner_steps_strengths_and_intervals() -> None:
    batch = batch_of("cyclic:4", 1000, 2, 2)
    cells = grid(batch, [0.1, 0.2], [5], [0.5, 1.0], 40)
    assert len(cells) == 3 * 2 * 2
    found = next(
        c for c in cells if c.setting == "extragradient, α = 0.2, magnet every 5" and c.eta == 1.0
    )
    method = MPO(alpha=0.2, eta=1.0, magnet_interval=5, inner="extragradient")
    assert found.calls == as_it_is("grid", "mpo", found.setting, method, batch, 40).calls


def test_the_best_solves_most_then_is_fastest() -> None:
    more = cell("mwu", 1.0, 300.0, 400.0, 500.0, NEVER)
    fewer = cell("mwu", 2.0, 1.0, 2.0, NEVER, NEVER)
    faster = cell("mwu", 3.0, 100.0, 200.0, 900.0, NEVER)
    assert best([fewer, more]) is more
    assert best([fewer, more, faster]) is more  # median 450 against 550
    assert (more.solved, more.median) == (3, 450.0)
    assert math.isinf(fewer.median)
    np.testing.assert_allclose(
        cell("mwu", 1.0, 10.0, 20.0, 30.0, 40.0).ninth, np.quantile([10, 20, 30, 40], 0.9)
    )


def test_the_comparison_names_every_method_that_is_ahead() -> None:
    cells = [
        cell("mpo_adaptive", None, 10.0, 20.0, 30.0),
        cell("mpo_adaptive", 2.0, 10.0, 30.0, 30.0),
        cell("mwu", 1.0, 1.0, 2.0, NEVER),
        cell("mpo", 1.0, 5.0, 15.0, 90.0),
        cell("mpo", 2.0, NEVER, NEVER, NEVER),
        cell("extragradient_mwu", 3.0, 40.0, 50.0, 60.0),
    ]
    order = [(found.method, found.eta) for found in best_steps(cells, "cyclic:10")]
    assert order == [
        ("mpo", 1.0), ("mpo_adaptive", 2.0), ("extragradient_mwu", 3.0), ("mwu", 1.0)
    ]  # fmt: skip
    assert [found.method for found in ahead(cells, "cyclic:10")] == ["mpo"]
    (line,) = sentences(cells)
    assert "100.0 % [43.9, 100.0] of 3 games, median 20, 90th percentile 28" in line
    assert "η = 3, 100.0 %, 50, 2.5 times the median" in line
    assert line.endswith("Ahead of it: `mpo` (η = 1, 100.0 %, 15).")
    assert metrics(cells) == {
        "cyclic:10.solved": 1.0,
        "cyclic:10.median": 20.0,
        "cyclic:10.ninth": 28.0,
        "cyclic:10.methods_ahead": 1,
    }
    (line,) = sentences([found for found in cells if found.method != "mpo"])
    assert line.endswith("No method is ahead of it at its best constant η.")
    (block,) = blocks(cells)
    assert block.frame["method"].tolist() == [
        "mpo", "mpo_adaptive", "mpo_adaptive, constant η", "extragradient_mwu", "mwu"
    ]  # fmt: skip
    assert block.frame["η"].tolist() == ["1", "found", "2", "3", "1"]


def test_games_are_a_family_and_a_number() -> None:
    assert parsed("cyclic:10") == ("cyclic", 10)
    for wrong in ("cyclic", "cyclic:", "cyclic:ten", "cyclic:-1"):
        with pytest.raises(ValueError, match="FAMILY:ACTIONS"):
            parsed(wrong)


def test_all_mistakes_come_out_together() -> None:
    words = [
        "games=[cyclic,cyclik:10,cyclic:2]", "grid.games=[bradley_terry:1]", "methods=[mwu]",
        "etas=[0]", "grid.intervals=[0]", "count=0",
    ]  # fmt: skip
    problems = resolve("choosing", words).problems
    for wanted in (
        "games: cyclic: got 'cyclic', allowed is FAMILY:ACTIONS",
        "games: cyclik:10: family: got 'cyclik'",
        "games: cyclic:2: actions: got 2",
        "grid.games: bradley_terry:1: actions: got 1",
        "methods: got no mpo_adaptive",
        "etas: got [0",
        "grid.intervals: got [0]",
        "count: got 0",
    ):
        assert [p for p in problems if wanted in p], (wanted, problems)


def test_the_command_writes_tables_figures_and_report(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [
        "experiment=choosing", f"out={out}", "games=[cyclic:4,rock_paper_scissors:3]", "count=3",
        "calls=60", "etas=[1,4]", "methods=[mpo_adaptive,mwu,comal]", "grid.games=[cyclic:4]",
        "grid.count=2", "grid.alphas=[0.1]", "grid.intervals=[5]", "grid.etas=[1]",
        "first_seed=1000",
    ]  # fmt: skip
    assert main(words) == 0
    with (out / "choosing.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # The rule as it is and 3 methods at 2 stepsizes on 2 games; 3 inner steps; the alternatives.
    assert len(rows) == 2 * (1 + 3 * 2) + 3 + len(ALTERNATIVES)
    assert {row["games"] for row in rows if row["part"] == "steps"} == {"3"}
    assert {row["games"] for row in rows if row["part"] != "steps"} == {"2"}
    with (out / "runs.csv").open(newline="", encoding="utf-8") as file:
        runs = list(csv.DictReader(file))
    assert {row["seed"] for row in runs} == {"1000", "1001", "1002"}
    times = [
        float(row["calls_to_1e-3"])
        for row in runs
        if (row["game"], row["method"], row["eta"]) == ("cyclic:4", "mpo_adaptive", "")
    ]
    solved = next(row for row in rows if row["method"] == "mpo_adaptive" and row["eta"] == "")
    assert float(solved["solved"]) == np.mean(np.isfinite(times))
    for figure in ("profiles", "steps"):
        assert (out / "figures" / f"{figure}.png").stat().st_size > 10_000
    report = (out / "report.md").read_text()
    assert "cyclic:4: MPO at the best η of each row" in report
    assert "first 20" not in report  # there are no large games
    result = json.loads((out / "result.json").read_text())
    assert result["metrics"]["cyclic:4.solved"] == float(solved["solved"])
