"""`experiment=figure1`: its files, what a killed run leaves, and what its words say."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.command_line import main
from benchmarks.plan import PlanError
from benchmarks.theory.command import run_experiment
from benchmarks.theory.poker import runs as poker_runs
from benchmarks.theory.poker.experiment import NEURAL
from benchmarks.theory.poker.runs import Curve, settings_of
from benchmarks.theory.poker.table import csv_rows, endings, notes, sentences
from benchmarks.theory.resolve import resolve
from mpo.games.extensive.registry import TREE_DYNAMICS

TINY = (
    "experiment=figure1", "seeds=2", "calls=20", "episodes=100", "training.rollout=40",
    "training.hidden=8", "methods=[mpo,cfr_plus,neural_mpo,neural_ppo]",
)  # fmt: skip


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def test_the_command_writes_curves_table_figure_and_report(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main([*TINY, f"out={out}"]) == 0
    rows = read(out / "figure1.csv")
    assert list(rows[0]) == [
        "method", "seed", "iteration", "oracle_calls", "episodes", "seconds", "gap_last",
        "gap_average", "exploitability",
    ]  # fmt: skip
    of = {(row["method"], row["seed"]): row for row in rows}
    assert len(of) == 4 * 2
    # The last of each: all calls, and the two whole rollouts that 100 episodes pay for.
    assert of["mpo", "1"]["oracle_calls"] == "20" and of["mpo", "1"]["episodes"] == ""
    last = of["neural_mpo", "0"]
    assert (last["iteration"], last["episodes"], last["oracle_calls"]) == ("2", "80", "")
    assert float(last["seconds"]) > 0
    # The uniform policy's is 11/12, and the networks start near it.
    first = next(row for row in rows if row["method"] == "neural_ppo")
    assert float(first["gap_last"]) == pytest.approx(11 / 12, abs=0.15)
    assert float(first["exploitability"]) == pytest.approx(float(first["gap_last"]) / 2)
    average = of["cfr_plus", "0"]
    assert float(average["exploitability"]) == pytest.approx(float(average["gap_average"]) / 2)
    table = (out / "table.md").read_text()
    for words in ("neural_ppo", "80 episodes", "20 oracle calls", "## Notes"):
        assert words in table
    assert "![figure 1](figures/figure1.png)" in (out / "report.md").read_text()
    assert (out / "figures" / "figure1.png").stat().st_size > 10_000
    metrics = json.loads((out / "result.json").read_text())["metrics"]
    seeds = [float(of["neural_mpo", seed]["gap_last"]) for seed in "01"]
    assert metrics["neural_mpo.gap"] == pytest.approx(sum(seeds) / 2)
    assert metrics["neural_mpo.exploitability"] == pytest.approx(sum(seeds) / 4)


def test_a_killed_command_goes_on_with_the_runs_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[str, int]] = []
    train = poker_runs.neural

    def stopped(name: str, objective: Any, seats: Any, seed: int, config: Any) -> Curve:
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append((name, seed))
        return train(name, objective, seats, seed, config)

    words = [*TINY[1:], f"out={tmp_path / 'out'}"]
    with monkeypatch.context() as patched:
        patched.setattr(poker_runs, "neural", stopped)
        with pytest.raises(KeyboardInterrupt):
            run_experiment("figure1", words)
    assert trained == [("neural_mpo", 0), ("neural_mpo", 1), ("neural_ppo", 0)]
    kept = {file: file.read_bytes() for file in (tmp_path / "out" / "runs").iterdir()}
    assert len(kept) == 7
    again: list[int] = []

    def counted(name: str, objective: Any, seats: Any, seed: int, config: Any) -> Curve:
        again.append(seed)
        return train(name, objective, seats, seed, config)

    monkeypatch.setattr(poker_runs, "neural", counted)
    assert run_experiment("figure1", words) == 0
    assert again == [1]
    assert all(file.read_bytes() == content for file, content in kept.items())
    assert len(read(tmp_path / "out" / "figure1.csv")) > 0


def test_the_same_seed_gives_the_same_curve_whatever_the_other_seeds(tmp_path: Path) -> None:
    found = []
    for name, seeds in (("a", "[0,1]"), ("b", "[1]")):
        words = [*TINY[2:], f"seeds={seeds}", f"out={tmp_path / name}"]
        assert run_experiment("figure1", words) == 0
        rows = read(tmp_path / name / "figure1.csv")
        found.append([(r["method"], r["gap_last"]) for r in rows if r["seed"] == "1"])
    for (method, one), (same, other) in zip(*found, strict=True):
        assert method == same
        assert float(one) == pytest.approx(float(other), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["game=kuhn_pokr"], "did you mean kuhn_poker?"),
        (["episodes=10"], "episodes: got 10, allowed is at least training.rollout (4096)"),
        (["neural_mpo.responses=4"], "neural_mpo.responses: got 4"),
        (["neural_mpo.alpha=-1"], "neural_mpo.alpha: got -1.0"),
        (["lr.neural_pg=0"], "lr.neural_pg: got 0.0"),
        (["training.baseline=critic"], "training.baseline: got 'critic'"),
        (["methods=[neural_mop]"], "neural_mpo"),
    ],
)
def test_mistakes_are_found_before_anything_runs(
    words: list[str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(PlanError) as error:
        run_experiment("figure1", [*words, f"out={tmp_path / 'out'}"])
    assert said in "\n".join(error.value.problems)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["figure1", "figure1_leduc"])
def test_the_files_of_both_games_have_all_methods_and_whole_rollouts(name: str) -> None:
    config = resolve(name, []).config
    assert config["methods"] == [*TREE_DYNAMICS, *NEURAL]
    for size in ("full", "quick"):
        config = resolve(name, [f"size={size}"]).config
        for method in NEURAL:
            settings = settings_of(method, config)
            assert settings.problems() == []
            assert settings.iterations * settings.episodes == config["episodes"]
            assert settings.lr == config["lr"][method]


def curve(method: str, seed: int, gap: float, neural: bool) -> Curve:
    cost = [0, 8]
    return Curve(
        method, seed, [0, 1], None if neural else cost, cost if neural else None, [0.0, 2.0],
        [1.0, gap], None if neural else [1.0, gap / 10],
    )  # fmt: skip


def test_endings_and_sentences_follow_from_the_curves() -> None:
    curves = [curve("cfr_plus", seed, 0.5, False) for seed in (0, 1)]
    curves += [curve("neural_mpo", seed, gap, True) for seed, gap in ((0, 0.02), (1, 0.04))]
    yardstick, mine = endings(curves)
    # Of CFR+ the average counts.
    assert yardstick.gap.value == pytest.approx(0.05)
    assert mine.exploitability.value == pytest.approx(0.015)
    assert mine.spread == pytest.approx(0.005 * 2**0.5)
    assert (mine.budget, mine.seconds, mine.neural) == (8, 2.0, True)
    text = " ".join(sentences("kuhn_poker", [yardstick, mine]))
    assert "`neural_mpo` at 0.0150 ± 0.0071 is below the 0.041 ± 0.009" in text
    worse = endings([curve("neural_mpo", 0, 0.2, True)])
    assert "at 0.1000 is not below" in " ".join(sentences("kuhn_poker", worse))
    assert "published" not in " ".join(sentences("leduc_poker_ranks", worse))
    assert any("brackets" in note for note in notes([mine]))
    assert not any("brackets" in note for note in notes(worse))
    assert csv_rows(curves)[1]["exploitability"] == pytest.approx(0.025)
