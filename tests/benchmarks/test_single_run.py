"""One exact run from its config to its files, checked against the game itself."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from benchmarks import build, evaluate_exact, single_run
from benchmarks.compose import read_conf
from benchmarks.single_run import execute_run
from mpo.games.enumerable_lm import EnumerableGame
from mpo.games.zoo import make_game
from mpo.module import AlignmentModule
from mpo.objectives.protocol import MAGNET
from tests.benchmarks.tiny_command import EXACT, curve, finish, planned_runs, popen, result
from tests.oracles import duality_gap_by_lp, kl

VALUES = {**EXACT, "train.eval_every": 1}
ITERATIONS, PROMPTS, RESPONSES = 8, 3, 6


class Kept:
    """A run, its folder, and the distributions it went through."""

    def __init__(self, folder: Path, run: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.game = folder, make_game("smooth", 0, 3, 2, 3)
        self.policies: list[np.ndarray] = []
        self.magnets: list[np.ndarray] = []
        self.lengths: list[Tensor] = []
        build_exact, add = build.build, evaluate_exact.ExactEvaluation.after_iteration

        def building(entry: dict[str, Any], judge: Any) -> Any:
            built = build_exact(entry, judge)
            self.see(built.module)
            return built

        def after(evaluation: Any, module: AlignmentModule) -> None:
            add(evaluation, module)
            self.see(module)
            assert module.last_rollout is not None
            self.lengths.append(module.last_rollout.responses.lengths)

        monkeypatch.setattr(single_run, "build", building)
        monkeypatch.setattr(evaluate_exact.ExactEvaluation, "after_iteration", after)
        self.reports: list[dict[str, Any]] = []
        execute_run(run, folder, self.reports.append)
        self.rows = [{k: float(v) for k, v in row.items()} for row in curve(folder)]
        self.result = result(folder)

    def see(self, module: AlignmentModule) -> None:
        self.policies.append(enumerate_policy(self.game, module.policy.model))
        self.magnets.append(enumerate_policy(self.game, module.snapshots[MAGNET].model))


@torch.no_grad()
def enumerate_policy(game: EnumerableGame, model: Any) -> np.ndarray:
    """π(y|x) of every response (X, R), each in a forward pass of its own, float64."""
    table = np.zeros((len(game.prompts), game.num_responses))
    for x, prompt in enumerate(game.framed_prompts):
        for y, (row, length) in enumerate(
            zip(game.responses.tolist(), game.lengths.tolist(), strict=True)
        ):
            reply = row[:length]
            logits = model(input_ids=torch.tensor([[*prompt, *reply]])).logits[0].double()
            scores = torch.log_softmax(logits[len(prompt) - 1 : -1], -1)
            table[x, y] = math.exp(sum(float(scores[t, a]) for t, a in enumerate(reply)))
    return table


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """The moving run, once for all tests."""
    run = planned_runs(tmp_path_factory.mktemp("plan") / "out", VALUES)["moving"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        return Kept(tmp_path_factory.mktemp("run"), run, monkeypatch)


def gap(game: EnumerableGame, policy: np.ndarray) -> float:
    """Σ_x ρ(x) · both players' gains, by linear programming."""
    pairs = zip(game.prompt_weights.tolist(), game.preferences.numpy(), policy, strict=True)
    return sum(weight * duality_gap_by_lp(wins, probs) for weight, wins, probs in pairs)


def divergence(game: EnumerableGame, left: np.ndarray, right: np.ndarray) -> float:
    """Σ_x ρ(x) KL(left ‖ right)."""
    pairs = zip(game.prompt_weights.tolist(), left, right, strict=True)
    return sum(weight * kl(mine, other) for weight, mine, other in pairs)


def test_the_folder_holds_what_a_run_leaves(kept: Kept) -> None:
    names = {path.name for path in kept.folder.iterdir()}
    expected = {"result.json", "curves.csv", "samples.jsonl", "tensorboard", "policy.safetensors"}
    assert expected <= names and not any(name.startswith(".") for name in names)
    assert kept.result["schema"] == 1 and kept.result["variant"] == "moving"
    assert kept.result["environment"]["threads"] == 1
    phases = {"sampling", "scoring", "judging", "update", "evaluation"}
    assert phases <= kept.result["seconds"].keys()
    assert sum(kept.result["seconds"][phase] for phase in phases) < kept.result["seconds"]["wall"]
    assert [report["iteration"] for report in kept.reports] == list(range(1, ITERATIONS + 1))


def test_the_counts_are_what_was_done(kept: Kept) -> None:
    counts = kept.result["counts"]
    assert counts["samples"] == ITERATIONS * PROMPTS * RESPONSES
    assert counts["judge_calls"] == ITERATIONS * PROMPTS * RESPONSES * (RESPONSES - 1) // 2
    assert counts["tokens"] == sum(int(lengths.sum()) for lengths in kept.lengths)
    for row in kept.rows:
        assert row["samples"] == row["iteration"] * PROMPTS * RESPONSES


def test_the_curve_is_that_of_the_enumerated_policies(kept: Kept) -> None:
    game = kept.game
    assert [row["iteration"] for row in kept.rows] == list(range(ITERATIONS + 1))
    for k, row in enumerate(kept.rows):
        policy, first = kept.policies[k], kept.policies[0]
        average = np.mean(kept.policies[1 : k + 1], axis=0) if k else first
        assert row["gap_last"] == pytest.approx(gap(game, policy), abs=1e-6)
        assert row["gap_average"] == pytest.approx(gap(game, average), abs=1e-6)
        assert row["kl_reference"] == pytest.approx(divergence(game, policy, first), abs=1e-6)
        lengths = game.lengths.numpy()
        length = float((game.prompt_weights.numpy()[:, None] * policy * lengths).sum())
        assert row["response_length"] == pytest.approx(length, rel=1e-6)
        entropy = -float((game.prompt_weights.numpy()[:, None] * policy * np.log(policy)).sum())
        assert row["entropy"] == pytest.approx(entropy, rel=1e-5)
    assert kept.rows[-1]["gap_last"] != pytest.approx(kept.rows[-1]["gap_average"], abs=1e-3)


def test_steps_are_compared_with_the_tabular_ones(kept: Kept) -> None:
    game, eta = kept.game, 2.0
    alpha = read_conf("tuned/exact/mpo").values["method.alpha"].value
    for k, row in enumerate(kept.rows[1:], 1):
        before, magnet = kept.policies[k - 1], kept.magnets[k - 1]
        step = divergence(game, kept.policies[k], before)
        assert row["kl_step"] == pytest.approx(step, rel=1e-4, abs=1e-6)
        # Equation (4) by its first-order condition: α log π/μ + (1/η) log π/π_k − P π_k constant.
        wins = np.stack([w @ p for w, p in zip(game.preferences.numpy(), before, strict=True)])
        logits = (wins + alpha * np.log(magnet) + np.log(before) / eta) / (alpha + 1 / eta)
        target = np.exp(logits - logits.max(1, keepdims=True))
        target /= target.sum(1, keepdims=True)
        tabular = divergence(game, target, before)
        assert row["kl_step_tabular"] == pytest.approx(tabular, rel=1e-4, abs=1e-7)
        assert row["kl_magnet"] == pytest.approx(
            divergence(game, kept.policies[k], magnet), rel=1e-4, abs=1e-6
        )


def test_the_magnet_moved_when_it_should(kept: Kept) -> None:
    for k, magnet in enumerate(kept.magnets):
        np.testing.assert_array_equal(magnet, kept.policies[k - k % 3])


def test_final_metrics_are_the_last_row(kept: Kept) -> None:
    metrics, last = kept.result["metrics"], kept.rows[-1]
    for name in ("gap_last", "gap_average", "kl_reference", "response_length"):
        assert metrics[name] == last[name]
    assert metrics["gap_initial"] == kept.rows[0]["gap_last"]
    assert metrics["gap_regularised"] == metrics["gap_regularised_sequence"]
    assert 0 < metrics["gap_regularised"] < metrics["gap_initial"]
    assert metrics["iterations"] == ITERATIONS
    assert len(metrics["equilibrium_support"]) == PROMPTS


def test_samples_are_the_likeliest_responses(kept: Kept) -> None:
    lines = [json.loads(line) for line in (kept.folder / "samples.jsonl").open(encoding="utf-8")]
    assert len(lines) == PROMPTS * 10
    for line in lines:
        x = kept.game.prompt_texts.index(line["prompt"])
        y = kept.game.texts.index(line["response"])
        assert line["prob"] == pytest.approx(kept.policies[-1][x, y], rel=1e-5)
        assert line["prob_initial"] == pytest.approx(kept.policies[0][x, y], rel=1e-5)
        assert line["prob_magnet"] == pytest.approx(kept.magnets[-1][x, y], rel=1e-5)
    first = [line["prob"] for line in lines[:10]]
    assert first == sorted(first, reverse=True)
    assert first[0] == pytest.approx(kept.policies[-1][0].max(), rel=1e-5)


def test_tensorboard_has_every_scalar_of_training_and_evaluation(kept: Kept) -> None:
    events = EventAccumulator(str(kept.folder / "tensorboard")).Reload()
    names = events.Tags()["scalars"]
    for name in ("policy_loss", "kl_magnet", "kl_behaviour", "ratio", "grad_norm", "lr"):
        steps = [event.step for event in events.Scalars(f"train/{name}")]
        assert steps == list(range(1, ITERATIONS + 1)), name
    measured = {"gap_last", "gap_average", "kl_step", "kl_reference", "entropy", "response_length"}
    assert {f"evaluation/{name}" for name in measured} <= set(names)
    gaps = events.Scalars("evaluation/gap_last")
    assert [event.step for event in gaps] == list(range(ITERATIONS + 1))
    for event, row in zip(gaps, kept.rows, strict=True):
        assert event.value == pytest.approx(row["gap_last"], rel=1e-6)


def test_a_run_of_no_iterations_only_evaluates(tmp_path: Path) -> None:
    run = planned_runs(tmp_path / "out", {**VALUES, "train.iterations": 0})["moving"]
    execute_run(run, tmp_path, lambda report: None)
    metrics = result(tmp_path)["metrics"]
    assert metrics["gap_last"] == metrics["gap_initial"] > 0
    assert (metrics["iterations"], metrics["kl_reference"]) == (0, 0)


def test_gradient_checkpointing_is_not_ignored(tmp_path: Path) -> None:
    run = planned_runs(tmp_path / "out", {**VALUES, "train.gradient_checkpointing": "true"})
    blocks = build.build(run["moving"]).module.policy.decoder.layers
    assert all(block.gradient_checkpointing and block.training for block in blocks)


@pytest.mark.slow
def test_deepspeed_runs_end_to_end(tmp_path: Path, kept: Kept) -> None:
    said = finish(popen(tmp_path / "out", {**VALUES, "strategy": "deepspeed"}))
    assert "table:" in said
    folder = tmp_path / "out" / "runs" / "exact-smooth-0-moving-s0"
    rows = [{key: float(value) for key, value in row.items()} for row in curve(folder)]
    for mine, single in zip(rows, kept.rows, strict=True):
        assert mine["gap_last"] == pytest.approx(single["gap_last"], abs=1e-4)
        assert mine["tokens"] == single["tokens"]
    assert rows[-1]["gap_last"] != pytest.approx(rows[0]["gap_last"], abs=5e-3)
