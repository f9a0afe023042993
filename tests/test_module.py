"""The engine's iteration: the order of events, what is counted, and which mistakes it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

import mpo.rollout
from mpo.judges.matrix import MatrixGameJudge
from mpo.module import AlignmentModule, NonFiniteLossError
from mpo.objectives import MPO, Needs
from mpo.objectives.mpo import MPOTargets
from mpo.objectives.protocol import MAGNET
from mpo.records import Metrics, Rollout, Scores
from mpo.snapshots import OPPONENT, Snapshots
from tests.engine import Steps, fit, model_with, tiny_game, tiny_module, tiny_policy, token_logprobs


@dataclass(frozen=True)
class Watched:
    """MPO that writes down when it is asked for what."""

    inner: MPO
    events: list[str]
    ratios: list[Tensor]
    targets_seen: list[MPOTargets]

    def problems(self) -> list[str]:
        return self.inner.problems()

    def needs(self) -> Needs:
        return self.inner.needs()

    def targets(self, rollout: Rollout, scores: Scores) -> MPOTargets:
        self.events.append("targets")
        assert not torch.is_grad_enabled()
        self.targets_seen.append(self.inner.targets(rollout, scores))
        return self.targets_seen[-1]

    def loss(self, scores: Scores, targets: MPOTargets) -> tuple[Tensor, Metrics]:
        self.events.append("loss")
        ratio = torch.exp(scores.logprobs - targets.behaviour_logprobs)
        self.ratios.append(ratio.detach()[scores.mask])
        return self.inner.loss(scores, targets)


def watched(**fields: Any) -> Watched:
    """MPO of four responses and two inner steps with empty notes."""
    return Watched(replace(MPO(responses=4, inner_steps=2), **fields), [], [], [])


class PairJudge:
    """A judge with `win_prob` and nothing else; writes down that it was asked, and how often."""

    def __init__(self, inner: MatrixGameJudge, events: list[str]) -> None:
        self.inner, self.events, self.asked = inner, events, 0

    def win_prob(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> Tensor:
        self.events.append("judge")
        self.asked += len(prompts)
        return self.inner.win_prob(prompts, a, b)


def watch(
    module: AlignmentModule, events: list[str], monkeypatch: pytest.MonkeyPatch
) -> AlignmentModule:
    """Write down sampling, forward passes of the models, and the snapshots' moves."""

    def sample(policy: Any, *arguments: Any, **named: Any) -> Any:
        events.append("sample" if policy is module.policy else "sample opponent")
        silent = len(events)
        drawn = sampled(policy, *arguments, **named)
        del events[silent:]
        return drawn

    def refresh(self: Snapshots, *arguments: Any) -> list[str]:
        moved = moves(self, *arguments)
        events.append(f"move {'+'.join(moved)}")
        return moved

    sampled, moves = mpo.rollout.sample, Snapshots.refresh
    monkeypatch.setattr(mpo.rollout, "sample", sample)
    monkeypatch.setattr(Snapshots, "refresh", refresh)
    magnet = module.snapshots[MAGNET].decoder
    magnet.register_forward_hook(lambda *_: events.append("score magnet"))
    module.policy.decoder.register_forward_hook(lambda *_: events.append("score policy"))
    return module


class StepEvents(Steps):
    """Also writes down the optimizer's steps."""

    def __init__(self, events: list[str]) -> None:
        super().__init__()
        self.events = events

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        super().on_train_start(trainer, pl_module)
        trainer.optimizers[0].register_step_pre_hook(lambda *_: self.events.append("step"))


def test_the_order_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    game, objective = tiny_game(), watched(magnet_interval=2)
    judge = PairJudge(MatrixGameJudge(game), objective.events)
    module = tiny_module(game, objective, judge=judge, iterations=2)
    watch(module, objective.events, monkeypatch)
    fit(module, game, callbacks=[StepEvents(objective.events)])
    # With the whole batch at once the pass that scores π_k is the first inner step's own.
    iteration = ["sample", "judge", "score magnet", "score policy", "targets", "loss", "step"]
    iteration += ["score policy", "loss", "step"]
    assert objective.events == [*iteration, "move ", *iteration, "move magnet"]


def test_the_order_of_events_in_micro_batches_with_a_snapshot_opponent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    game = tiny_game()
    objective = watched(
        opponent="snapshot", symmetric=False, magnet_interval=2, opponent_interval=1
    )
    judge = PairJudge(MatrixGameJudge(game), objective.events)
    module = tiny_module(game, objective, judge=judge, iterations=1, micro_prompts=2)
    watch(module, objective.events, monkeypatch)
    fit(module, game, callbacks=[StepEvents(objective.events)])
    score = ["score magnet", "score policy"]
    assert objective.events == [
        *("sample", "sample opponent", "judge", *score, *score, "targets"),
        *(["score policy", "loss", "score policy", "loss", "step"] * 2),
        "move opponent",
    ]


@pytest.mark.parametrize("micro_prompts", [None, 1])
def test_the_first_inner_step_has_ratio_one(micro_prompts: int | None) -> None:
    game, objective = tiny_game(), watched()
    module = tiny_module(game, objective, iterations=2, micro_prompts=micro_prompts)
    fit(module, game)
    parts = len(objective.ratios) // 4
    assert parts == (1 if micro_prompts is None else 3)
    for iteration in range(2):
        first = objective.ratios[2 * parts * iteration :][:parts]
        second = objective.ratios[2 * parts * iteration + parts :][:parts]
        assert all(bool((ratio == 1).all()) for ratio in first)
        assert all(bool((ratio != 1).any()) for ratio in second)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_scores_are_those_of_the_distribution_that_was_sampled(temperature: float) -> None:
    game, objective, steps = tiny_game(), watched(), Steps()
    policy = tiny_policy(game, temperature=temperature)
    module = tiny_module(game, objective, policy=policy, iterations=2, lr=0.1)
    fit(module, game, callbacks=[steps])
    for iteration, (rollout, targets) in enumerate(
        zip(steps.rollouts, objective.targets_seen, strict=True)
    ):
        model = model_with(policy, steps.weights[2 * iteration])
        table = token_logprobs(model, rollout, temperature)
        expected = torch.cat([tokens.detach() for row in table for tokens in row])
        found = targets.behaviour_logprobs[rollout.responses.mask]
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


SETTINGS = {
    "symmetric, all": {},
    "symmetric, disjoint": {"pairs": "disjoint"},
    "separate policy, all": {"symmetric": False},
    "separate policy, disjoint": {"symmetric": False, "pairs": "disjoint"},
    "snapshot, all": {"symmetric": False, "opponent": "snapshot"},
    "snapshot, disjoint": {"symmetric": False, "opponent": "snapshot", "pairs": "disjoint"},
}


@pytest.mark.parametrize("baseline", ["half", "remax", "rloo"])
@pytest.mark.parametrize("name", SETTINGS)
def test_every_opponent_pairing_and_baseline_runs_and_counts(name: str, baseline: str) -> None:
    game = tiny_game()
    objective = MPO(responses=4, inner_steps=2, baseline=baseline, **SETTINGS[name])
    assert objective.problems() == []
    steps, judge = Steps(), PairJudge(MatrixGameJudge(game), [])
    module = tiny_module(game, objective, judge=judge, iterations=2)
    fit(module, game, callbacks=[steps])
    separate, every = not objective.symmetric, objective.pairs == "all"
    own = {(False, True): 6, (False, False): 2, (True, True): 16, (True, False): 4}
    greedy = 4 if baseline == "remax" else 0
    a_prompt = own[separate, every] + greedy
    assert module.counts["judge_calls"] == judge.asked == 2 * 3 * a_prompt
    generated = 4 + 4 * separate + (baseline == "remax")
    assert module.counts["samples"] == 2 * 3 * generated
    trained = sum(int(rollout.responses.lengths.sum()) for rollout in steps.rollouts)
    met = sum(int(r.opponents.lengths.sum()) for r in steps.rollouts if r.opponents is not None)
    extra = module.counts["tokens"] - trained - met
    assert (0 < extra <= 2 * 3 * game.max_tokens) if greedy else extra == 0
    assert all(torch.isfinite(g).all() for step in steps.gradients for g in step.values())
    assert any(bool((g != 0).any()) for g in steps.gradients[0].values())
    assert (OPPONENT in module.snapshots.intervals) == (objective.opponent == "snapshot")
    assert ("win_rate_opponent" in module.logged) == separate


@pytest.mark.parametrize("pairs", ["all", "disjoint"])
def test_a_judge_of_single_pairs_gives_the_same_run_as_one_of_tables(pairs: str) -> None:
    game, found = tiny_game(), []
    for judge in (MatrixGameJudge(game), PairJudge(MatrixGameJudge(game), [])):
        steps = Steps()
        objective = MPO(responses=4, inner_steps=2, pairs=pairs)
        fit(tiny_module(game, objective, judge=judge, iterations=2), game, callbacks=[steps])
        found.append(steps)
    for left, right in zip(found[0].rollouts, found[1].rollouts, strict=True):
        torch.testing.assert_close(left.wins, right.wins, rtol=0, atol=1e-15)
    torch.testing.assert_close(found[0].gradients, found[1].gradients, rtol=1e-12, atol=1e-12)


@dataclass(frozen=True)
class Breaks(Watched):
    """Its loss, or only its gradient, is not finite from the third loss on."""

    gradient_only: bool = False

    def loss(self, scores: Scores, targets: MPOTargets) -> tuple[Tensor, Metrics]:
        loss, metrics = super().loss(scores, targets)
        if len(self.ratios) > 2:
            zero = (loss - loss.detach()) if self.gradient_only else torch.zeros_like(loss)
            loss = loss + (zero.abs().sqrt() if self.gradient_only else zero / 0)
        return loss, metrics


@pytest.mark.parametrize("gradient_only", [False, True])
def test_a_loss_that_is_not_finite_is_named(gradient_only: bool) -> None:
    game = tiny_game()
    objective = Breaks(MPO(responses=4, inner_steps=2), [], [], [], gradient_only)
    module = tiny_module(game, objective, iterations=3)
    with pytest.raises(NonFiniteLossError, match="iteration 1, inner step 0") as caught:
        fit(module, game)
    assert caught.value.iteration == 1
    assert list(caught.value.batch) == list(game.prompt_texts)
    assert module.iterations_done == 1


def test_a_loss_that_is_not_finite_names_its_micro_batch() -> None:
    # The third loss is the only one of an iteration's first inner step that breaks: the last part.
    game = tiny_game()
    objective = Breaks(MPO(responses=4, inner_steps=1), [], [], [])
    with pytest.raises(NonFiniteLossError) as caught:
        fit(tiny_module(game, objective, iterations=3, micro_prompts=1), game)
    assert (caught.value.iteration, caught.value.inner_step) == (0, 0)
    assert list(caught.value.batch) == [game.prompt_texts[2]]
