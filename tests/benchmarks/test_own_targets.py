"""Each method's own target on a small game, and that an evaluation records it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines.iterative_dpo import IterativeDPO
from baselines.ppo import PPO
from benchmarks.evaluate_exact import ExactEvaluation
from benchmarks.own_targets import OwnTarget, own_target
from mpo.games.bradley_terry_fit import population_reward
from mpo.games.dynamics import mmd_step
from mpo.games.enumerable_lm import EnumerableGame
from mpo.games.population import population_dpo
from mpo.games.selection import best_and_worst
from mpo.objectives.mpo import MPO
from mpo.objectives.mpo_rt import MPORT
from tests.engine import prompt_set, tiny_game, tiny_module, tiny_policy
from tests.oracles import duality_gap_by_lp

ALPHA = 0.2
FIXED = MPO(alpha=ALPHA, magnet_interval=None)
SMOOTHED = IterativeDPO(label_smoothing=0.1, beta=1.0)


@pytest.fixture(scope="module")
def game() -> EnumerableGame:
    return tiny_game()


@pytest.fixture(scope="module")
def next_token(game: EnumerableGame) -> Tensor:
    return ExactEvaluation(game, prompt_set(game)).next_token(tiny_policy(game))


def found(objective: Any, game: EnumerableGame, next_token: Tensor, rounds: int = 1) -> OwnTarget:
    target = own_target(objective, game, next_token, rounds)
    assert target is not None
    return target


def policy_of(target: OwnTarget) -> Tensor:
    assert target.log_probs is not None
    probs = target.log_probs.exp()
    np.testing.assert_allclose(probs.sum(1).numpy(), 1, rtol=1e-9)
    return probs


def wins_over(game: EnumerableGame, opponent: Tensor) -> Tensor:
    return (game.preferences @ opponent[:, :, None])[:, :, 0]


def same_tilt(policy: Tensor, log_magnet: Tensor, payoff: Tensor, strength: float) -> None:
    """log π/μ − payoff/strength is one number a prompt."""
    left = policy.log() - log_magnet - payoff / strength
    np.testing.assert_allclose((left - left[:, :1]).numpy(), 0, atol=1e-9)


def test_the_gap_is_that_of_the_policy(game: EnumerableGame, next_token: Tensor) -> None:
    for objective in (FIXED, PPO(), SMOOTHED, IterativeDPO()):
        target = found(objective, game, next_token)
        pairs = zip(game.preferences.numpy(), policy_of(target).numpy(), strict=True)
        assert target.gap == pytest.approx(
            np.mean([duality_gap_by_lp(wins, probs) for wins, probs in pairs]), abs=1e-8
        )


@pytest.mark.parametrize(
    "objective",
    [
        MPO(),
        MPO(kl_gradient="per_token"),
        MPO(proximal="clip"),
        MPO(baseline="remax", discount_baseline=False, pairs="disjoint"),
        MPORT(),
    ],
)
def test_a_moving_magnet_goes_to_an_equilibrium(
    objective: Any, game: EnumerableGame, next_token: Tensor
) -> None:
    assert own_target(objective, game, next_token, 1) == ("Nash equilibrium", 0.0, None)


@pytest.mark.parametrize(
    "objective",
    [
        FIXED,
        MPO(alpha=ALPHA, magnet_interval=None, proximal="clip"),
        MPORT(alpha=ALPHA, magnet_interval=None),
    ],
)
def test_a_fixed_magnet_goes_where_a_policy_answers_itself(
    objective: Any, game: EnumerableGame, next_token: Tensor
) -> None:
    target = found(objective, game, next_token)
    policy, magnet = policy_of(target), game.log_probs(next_token)
    assert target.name == "regularised equilibrium"
    same_tilt(policy, magnet, wins_over(game, policy), ALPHA)
    # The tabular step stays where it is.
    stepped = mmd_step(game.preferences, policy, policy, magnet, ALPHA, 0.5)
    np.testing.assert_allclose(stepped.numpy(), policy.numpy(), atol=1e-10)


def test_per_token_goes_elsewhere(game: EnumerableGame, next_token: Tensor) -> None:
    sequence = found(FIXED, game, next_token)
    per_token = found(dataclasses.replace(FIXED, kl_gradient="per_token"), game, next_token)
    assert per_token.name == "per-token regularised equilibrium"
    assert float((policy_of(sequence) - policy_of(per_token)).abs().sum(1).max()) > 1e-3


def test_without_self_play_it_answers_the_initial_policy(
    game: EnumerableGame, next_token: Tensor
) -> None:
    objective = MPO(alpha=ALPHA, self_play=False, symmetric=False, magnet_interval=7)
    target, initial = found(objective, game, next_token), game.log_probs(next_token)
    assert target.name == "answer to the initial policy"
    same_tilt(policy_of(target), initial, wins_over(game, initial.exp()), ALPHA)


def test_ppo_goes_to_the_tilted_reference(game: EnumerableGame, next_token: Tensor) -> None:
    reference = game.log_probs(next_token)
    rewards = population_reward(game.preferences, reference.exp())
    target = found(PPO(beta=0.3), game, next_token)
    assert target.name == "tilted reference"
    same_tilt(policy_of(target), reference, rewards, 0.3)
    unheld = policy_of(found(PPO(beta=0.0), game, next_token))
    assert torch.equal(unheld.argmax(1), rewards.argmax(1))
    assert bool((unheld.amax(1) == 1).all())
    nearly = found(PPO(beta=1e-3), game, next_token)
    assert nearly.gap == pytest.approx(found(PPO(beta=0.0), game, next_token).gap, abs=1e-3)


def test_iterative_dpo_goes_from_reference_to_reference(
    game: EnumerableGame, next_token: Tensor
) -> None:
    reference = game.log_probs(next_token)
    rewards, current = population_reward(game.preferences, reference.exp()), reference
    for _ in range(2):
        pairs = best_and_worst(current.exp(), rewards, SMOOTHED.responses)
        current = population_dpo(current, pairs, SMOOTHED.beta, SMOOTHED.label_smoothing)
    target = found(SMOOTHED, game, next_token, rounds=2)
    assert target.name == "iterated population DPO"
    np.testing.assert_allclose(policy_of(target).numpy(), current.exp().numpy(), rtol=1e-8)


def test_iterative_dpo_without_smoothing_goes_to_the_best_reward(
    game: EnumerableGame, next_token: Tensor
) -> None:
    limit = found(IterativeDPO(beta=1.0), game, next_token)
    assert limit.name == "limit of iterated population DPO"
    near = found(IterativeDPO(beta=1.0, label_smoothing=1e-7), game, next_token)
    distance = (policy_of(limit) - policy_of(near)).abs().sum(1) / 2
    assert float(distance.max()) < 1e-2


def test_a_judge_selects_by_sampled_wins(game: EnumerableGame, next_token: Tensor) -> None:
    judged = dataclasses.replace(SMOOTHED, selection="judge")
    target = found(judged, game, next_token)
    assert "Monte-Carlo" in target.name
    assert torch.equal(policy_of(target), policy_of(found(judged, game, next_token)))
    by_reward = found(SMOOTHED, game, next_token)
    assert float((policy_of(target) - policy_of(by_reward)).abs().sum(1).max()) > 1e-2


@pytest.mark.parametrize(
    "objective",
    [
        object(),
        MPO(gamma=0.9),
        MPO(alpha=0.0),
        MPO(reward="every_token"),
        MPO(opponent="snapshot", symmetric=False),
        MPO(self_play=False, symmetric=False, kl_gradient="per_token"),
        MPORT(log_ratio="sequence", magnet_interval=None),
        MPORT(opponent="snapshot", symmetric=False),
        PPO(gamma=0.9),
        PPO(adaptive_kl=True),
        PPO(ptx_coefficient=1.0),
        PPO(whiten_rewards=True),
    ],
)
def test_no_target_is_claimed_where_none_is_known(
    objective: Any, game: EnumerableGame, next_token: Tensor
) -> None:
    assert own_target(objective, game, next_token, 1) is None


def test_a_run_records_its_target_and_rounds(game: EnumerableGame, tmp_path: Path) -> None:
    """The initial policy evaluated as if it were the last of two rounds."""
    module = tiny_module(game, FIXED)
    evaluation = ExactEvaluation(game, prompt_set(game))
    evaluation.start(module)
    evaluation.after_round(module, 1, tmp_path)
    again = ExactEvaluation(game, prompt_set(game))
    again.resume(module, evaluation.state())
    again.after_round(module, 2, tmp_path)
    metrics = again.finish(module, tmp_path)
    target = found(FIXED, game, evaluation.next_token(module.policy))
    initial = game.log_probs(evaluation.next_token(module.policy)).exp()
    assert metrics["target"] == target.name and metrics["gap_target"] == target.gap
    apart = (initial - policy_of(target)).clamp(min=0).sum(1)
    assert metrics["tv_target"] == pytest.approx(float(apart.mean()), rel=1e-9)
    assert [row["round"] for row in metrics["rounds"]] == [1, 2]
    for row in metrics["rounds"]:
        assert row["gap_last"] == metrics["gap_initial"] and row["kl_reference"] == 0
    rows = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    for row in rows:
        x = game.prompt_texts.index(row["prompt"])
        y = game.texts.index(row["response"])
        assert row["prob_target"] == pytest.approx(float(policy_of(target)[x, y]))


def test_without_a_target_nothing_is_said_of_it(game: EnumerableGame, tmp_path: Path) -> None:
    for objective, name in ((MPO(gamma=0.9), ""), (MPO(), "Nash equilibrium")):
        module = tiny_module(game, objective)
        evaluation = ExactEvaluation(game, prompt_set(game))
        evaluation.start(module)
        metrics = evaluation.finish(module, tmp_path)
        assert metrics["target"] == name and metrics["rounds"] == []
        assert ("gap_target" in metrics) == bool(name) and "tv_target" not in metrics
        assert "prob_target" not in (tmp_path / "samples.jsonl").read_text()
