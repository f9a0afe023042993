"""The trials of `tune`: scores, the best of each method, best.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

from benchmarks.aggregate import aggregate, table_so_far
from benchmarks.blocks import blocks
from benchmarks.findings import findings
from benchmarks.footnotes import footnotes
from benchmarks.plan_results import read_plan
from benchmarks.rows import find
from benchmarks.trials import ALL_GAMES, best_trials
from tests.benchmarks.comparison_folder import METHODS, method_entry, write_method_run
from tests.benchmarks.plan_folder import (
    LetterPanel,
    language_entry,
    write_failure,
    write_language_run,
    write_plan,
)

GAMES = ("smooth-0", "first_token-0")
SCORES = {
    ("mpo", 0): 0.2, ("mpo", 1): 0.1, ("mpo", 2): 0.3,
    ("ppo", 0): 0.35, ("ppo", 1): 0.36, ("ppo", 2): 0.34,
}  # fmt: skip
VALUES = {0: {"train.lr": 0.001}, 1: {"train.lr": 0.003}, 2: {"train.lr": 0.01}}


def tuning(folder: Path, failed: tuple[str, ...] = ()) -> None:
    """Three learning rates of two methods on two games and two seeds."""
    entries, lasts = [], []
    for (method, number), score in SCORES.items():
        for position, group in enumerate(GAMES):
            for seed in range(2):
                entry = method_entry(group, method, seed)
                name = f"{method}-{number}"
                entry["config"]["train"]["lr"] = VALUES[number]["train.lr"]
                entries.append(entry | {"variant": name, "name": f"exact-{group}-{name}-s{seed}"})
                lasts.append(score + (0.01 if position else -0.01))
    trials = {
        f"{method}-{number}": {"method": method, "values": VALUES[number]}
        for method, number in SCORES
    }
    write_plan(folder, entries, kind="tune", name="tune_exact", compare=[], trials=trials)
    for entry, last in zip(entries, lasts, strict=True):
        if entry["variant"] in failed:
            if entry["seed"] == 0 and entry["group"] == GAMES[0]:
                write_failure(folder, entry, "NonFiniteLossError: loss: not finite")
        else:
            own = entry["variant"].partition("-")[0]
            write_method_run(folder, entry | {"variant": own}, last)


def test_a_score_is_the_mean_over_games_and_seeds(tmp_path: Path) -> None:
    tuning(tmp_path)
    table = aggregate(tmp_path)
    for (method, number), score in SCORES.items():
        found = find(table, ALL_GAMES, f"{method}-{number}", "trial_score")
        assert found is not None and found.value == pytest.approx(score) and found.n == 2


def test_the_best_trial_of_each_method_is_marked_and_written(tmp_path: Path) -> None:
    tuning(tmp_path)
    table = aggregate(tmp_path)
    results = read_plan(tmp_path)
    assert best_trials(table, results) == {"mpo": "mpo-1", "ppo": "ppo-2"}
    best = OmegaConf.to_container(OmegaConf.load(tmp_path / "best.yaml"))
    assert best == {"mpo": {"train.lr": 0.003}, "ppo": {"train.lr": 0.01}}
    (block,) = blocks(table, results)
    frame = block.frame.set_index("trial")
    assert frame[frame["best"] == "best"].index.tolist() == ["mpo-1", "ppo-2"]
    assert frame.loc["ppo-0", ["method", "train.lr", "score"]].tolist() == [
        "ppo", "0.001", "0.350 [0.350, 0.350]",
    ]  # fmt: skip
    report = (tmp_path / "report.md").read_text("utf-8")
    assert "Of 3 trials `mpo` is best at train.lr=0.003." in report
    # mpo's best lies inside its grid, ppo's at the end of it.
    assert "may be better: ppo train.lr 0.01 (largest of 3)." in report
    assert "`ppo` is best at train.lr=0.01 (train.lr at the end of what was tried)." in report
    assert "no seed in common" not in report


def test_a_trial_that_failed_is_named_and_cannot_be_the_best(tmp_path: Path) -> None:
    tuning(tmp_path, failed=("mpo-1",))
    table = aggregate(tmp_path)
    results = read_plan(tmp_path)
    assert best_trials(table, results)["mpo"] == "mpo-0"
    (block,) = blocks(table, results)
    cells = block.frame.set_index("trial").loc["mpo-1"]
    assert cells["score"].startswith("no score") and cells["best"] == ""
    assert any("NonFiniteLossError" in note for note in footnotes(table, results))


def test_a_method_without_a_score_is_left_out(tmp_path: Path) -> None:
    tuning(tmp_path, failed=("ppo-0", "ppo-1", "ppo-2"))
    aggregate(tmp_path)
    best = OmegaConf.to_container(OmegaConf.load(tmp_path / "best.yaml"))
    assert best == {"mpo": {"train.lr": 0.003}}


def test_the_table_so_far_shows_trials(tmp_path: Path) -> None:
    tuning(tmp_path, failed=("ppo-0", "ppo-1", "ppo-2"))
    assert "mpo-1" in table_so_far(tmp_path) and "no score" in table_so_far(tmp_path)


def test_methods_with_other_values_share_the_table(tmp_path: Path) -> None:
    entries = [method_entry("smooth-0", name, 0) for name in ("mpo", "ppo")]
    values: dict[str, dict[str, Any]] = {"mpo": {"method.alpha": 0.2}, "ppo": {"method.beta": 0.05}}
    trials = {name: {"method": name, "values": own} for name, own in values.items()}
    write_plan(tmp_path, entries, kind="tune", compare=[], trials=trials)
    for entry in entries:
        write_method_run(tmp_path, entry)
    table = aggregate(tmp_path)
    (block,) = blocks(table, read_plan(tmp_path))
    frame = block.frame.set_index("trial")
    assert frame["method.alpha"].tolist() == ["0.2", "-"]
    assert frame["method.beta"].tolist() == ["-", "0.05"]
    assert "α as in the table" in footnotes(table, read_plan(tmp_path))[0]


def test_on_a_language_task_the_higher_win_rate_is_the_better(tmp_path: Path) -> None:
    names = ("mpo-0", "mpo-1")
    entries = [language_entry("initial", 0), *(language_entry(name, 0) for name in names)]
    for entry in entries[1:]:
        entry["config"]["method"] = dict(METHODS["mpo"])
    trials = {
        name: {"method": "mpo", "values": {"train.lr": lr}}
        for name, lr in zip(names, (0.1, 0.2), strict=True)
    }
    write_plan(tmp_path, entries, kind="tune", compare=[], trials=trials)
    for entry, words in zip(entries, (8.0, 4.0, 12.0), strict=True):
        write_language_run(tmp_path, entry, words)
    table = aggregate(tmp_path, LetterPanel)
    results = read_plan(tmp_path)
    wins = {name: find(table, "smollm2", name, "win_rate") for name in names}
    scores = {name: find(table, "smollm2", name, "trial_score") for name in names}
    assert wins == scores and wins["mpo-0"] is not None and wins["mpo-1"] is not None
    assert wins["mpo-1"].value > wins["mpo-0"].value
    assert best_trials(table, results) == {"mpo": "mpo-1"}
    assert isinstance(table, pd.DataFrame) and findings(table, results).can
