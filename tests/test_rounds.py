"""Rounds, budgets of tokens, rewards and adaptive numbers: what the engine does for any method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from mpo import checkpoint
from mpo.data import Iterations
from mpo.objectives import MPO, Needs
from mpo.objectives.protocol import MAGNET, judge_calls_a_prompt, samples_a_prompt
from mpo.records import Metrics, Rollout, Scores, Weighted
from tests.engine import (
    AfterIteration,
    Steps,
    fit,
    prompt_set,
    same_bits,
    tiny_game,
    tiny_module,
    weights_of,
)


class Reward(NamedTuple):
    """(B, n)."""

    rewards: Tensor


class Shortest:
    """r(x, y) = minus the number of words, kept for what was asked."""

    def __init__(self, worst: float = -math.inf) -> None:
        self.asked: list[Any] = []
        self.worst = worst

    def rewards(self, prompts: Sequence[str], responses: Sequence[Sequence[str]]) -> Tensor:
        self.asked.append((tuple(prompts), responses))
        rows = [[-float(len(text.split())) for text in group] for group in responses]
        return torch.tensor(rows, dtype=torch.float64).clamp(min=self.worst)


@dataclass(frozen=True)
class Reinforce:
    """A policy gradient of the reward on samples of the round's reference; counts iterations."""

    responses: int = 3

    def problems(self) -> list[str]:
        return []

    def needs(self) -> Needs:
        return Needs(
            self.responses,
            judged=False,
            rewards=True,
            samples_from_magnet=True,
            magnet_follows_rounds=True,
            logprobs_of=(MAGNET,),
        )

    def initial_state(self) -> dict[str, float]:
        return {"scale": 1.0}

    def next_state(
        self, state: Mapping[str, float], logged: Mapping[str, float]
    ) -> dict[str, float]:
        return {"scale": state["scale"] + logged["one"]}

    def targets(self, rollout: Rollout, scores: Scores) -> Reward:
        assert rollout.rewards is not None
        return Reward(rollout.rewards * rollout.state["scale"])

    def loss(self, scores: Scores, targets: Reward) -> tuple[Tensor, Metrics]:
        count = scores.total_prompts * self.responses
        loss = -(scores.logprobs.sum(-1) * targets.rewards).sum() / count
        return loss, {"one": Weighted(torch.ones(()), 1.0)}


def test_the_reference_moves_at_the_end_of_each_round_and_gives_the_samples() -> None:
    game, reward = tiny_game(), Shortest()
    module = tiny_module(game, Reinforce(), reward=reward, iterations=7, rounds=3, lr=0.05)
    magnets = AfterIteration(lambda m: (weights_of(m.snapshots[MAGNET]), m.rounds_done))
    policies = AfterIteration(lambda m: weights_of(m.policy))
    steps = Steps()
    fit(module, game, callbacks=[magnets, policies, steps])
    # Rounds of 7 iterations end after 3, 5 and 7 of them.
    assert [rounds for _, rounds in magnets.seen] == [0, 0, 0, 1, 1, 2, 2, 3]
    assert module.snapshots.moves[MAGNET] == 3
    for done, last_end in enumerate([0, 0, 0, 3, 3, 5, 5, 7]):
        assert same_bits(magnets.seen[done][0], policies.seen[last_end])
    for rollout, (prompts, texts) in zip(steps.rollouts, reward.asked, strict=True):
        assert rollout.prompts.texts == prompts and rollout.texts == texts
        assert not rollout.compared.any() and rollout.judge_calls == 9 == rollout.samples


def test_samples_come_from_the_reference_and_not_from_the_policy() -> None:
    game = tiny_game()
    still = tiny_module(game, Reinforce(), reward=Shortest(), iterations=3, lr=1e-12)
    moved = tiny_module(game, Reinforce(), reward=Shortest(), iterations=3, lr=0.5)
    seen = []
    for module in (still, moved):
        steps = Steps()
        fit(module, game, callbacks=[steps])
        seen.append([rollout.texts for rollout in steps.rollouts])
    assert seen[0] == seen[1]
    assert not same_bits(weights_of(still.policy), weights_of(moved.policy))


def test_adaptive_numbers_reach_the_rollouts_and_survive_a_resume(tmp_path: Path) -> None:
    game, steps = tiny_game(), Steps()
    module = tiny_module(game, Reinforce(), reward=Shortest(), iterations=4, rounds=2)
    fit(module, game, callbacks=[steps])
    assert [rollout.state["scale"] for rollout in steps.rollouts] == [1.0, 2.0, 3.0, 4.0]

    class Save(Steps):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            if pl_module.iterations_done == 3:
                checkpoint.save(pl_module, tmp_path, {})

    class Restore(Steps):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            (path,) = checkpoint.saved(tmp_path)
            checkpoint.restore(pl_module, path, checkpoint.read(path))
            super().on_train_start(trainer, pl_module)

    first = tiny_module(game, Reinforce(), reward=Shortest(), iterations=4, rounds=2)
    fit(first, game, stop=3, callbacks=[Save()])
    again = tiny_module(game, Reinforce(), reward=Shortest(), iterations=4, rounds=2)
    restored = Restore()
    fit(again, game, start=3, callbacks=[restored])
    assert restored.rollouts[0].state["scale"] == 4.0
    assert again.rounds_done == 2 and again.state == module.state
    assert same_bits(weights_of(again.policy), weights_of(module.policy))


def test_a_reward_that_is_not_finite_is_named() -> None:
    class Broken(Shortest):
        def rewards(self, prompts: Sequence[str], responses: Sequence[Sequence[str]]) -> Tensor:
            return super().rewards(prompts, responses) * math.inf

    game = tiny_game()
    module = tiny_module(game, Reinforce(), reward=Broken())
    with pytest.raises(ValueError, match="reward: got"):
        fit(module, game)


def test_what_an_objective_needs_is_demanded() -> None:
    with pytest.raises(ValueError, match="reward: got None, this objective needs a reward model"):
        tiny_module(tiny_game(), Reinforce())


def test_a_token_budget_ends_the_run_and_its_learning_rate() -> None:
    game, steps = tiny_game(), Steps()
    objective = MPO(responses=4, inner_steps=2, eta_schedule="linear")
    module = tiny_module(
        game, objective, iterations=200, token_budget=100, schedule="cosine", rounds=2
    )
    tokens = AfterIteration(lambda m: m.counts["tokens"])
    rounds = AfterIteration(lambda m: m.rounds_done)
    fit(module, game, callbacks=[steps, tokens, rounds])
    assert tokens.seen[-2] < 100 <= tokens.seen[-1]
    assert 2 < module.iterations_done < 20
    rates = [logged["lr"] for logged in steps.logged]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)
    first = 0.5 * (1 + math.cos(math.pi * tokens.seen[1] / 100))
    assert rates[0] == pytest.approx(1e-2 * first, rel=0.02)
    half = next(i for i, spent in enumerate(tokens.seen) if spent >= 50)
    assert rounds.seen[half - 1 : half + 1] == [0, 1] and rounds.seen[-1] == 2
    assert steps.rollouts[-1].iterations == pytest.approx(module.iterations_done, abs=1)


def test_rounds_split_the_prompts_evenly() -> None:
    prompts = prompt_set(tiny_game(prompts=9))
    batches = Iterations(prompts, 1, 10, seed=0, rounds=3)
    # Iterations 0-3, 4-6 and 7-9; each round walks through a third of the prompts.
    shares = [
        {key for k in part for key in batches[k].keys.tolist()}
        for part in (range(4), range(4, 7), range(7, 10))
    ]
    assert all(len(share) == 3 for share in shares)
    assert not shares[0] & shares[1] and not shares[0] & shares[2] and not shares[1] & shares[2]
    with pytest.raises(ValueError, match="at most the 1 training prompts of each of the 9 rounds"):
        Iterations(prompts, 2, 12, seed=0, rounds=9)


def test_the_cost_of_an_iteration_is_what_the_engine_counts() -> None:
    game = tiny_game()
    for objective in (
        MPO(responses=4),
        MPO(responses=4, pairs="disjoint"),
        MPO(responses=3, symmetric=False, baseline="remax"),
        MPO(responses=3, symmetric=False, opponent="snapshot", pairs="disjoint"),
        Reinforce(),
    ):
        module = tiny_module(game, objective, reward=Shortest(), iterations=2)
        fit(module, game)
        needs = objective.needs()
        assert module.counts["samples"] == 2 * 3 * samples_a_prompt(needs)
        assert module.counts["judge_calls"] == 2 * 3 * judge_calls_a_prompt(needs)
