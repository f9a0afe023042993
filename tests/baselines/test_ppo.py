"""PPO's targets and loss against plain loops over the tokens."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.ppo import PPO, PPOTargets
from mpo.objectives.protocol import REFERENCE, targets_slice
from mpo.records import Rollout, Scores
from tests.baselines.made_scores import (
    LENGTHS,
    draw,
    made_rollout,
    made_scores,
    mask_of,
    moved,
    part_of,
)
from tests.baselines.test_gae import double_sum

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
REWARDS = draw(40, 4, 3)
SETTINGS: list[dict[str, Any]] = [
    {},
    {"whiten_advantages": False},
    {"whiten_rewards": True, "gamma": 0.9, "gae_lambda": 0.6},
    {"beta": 0.0, "clip_range": 0.05, "value_clip_range": 0.1, "value_coefficient": 2.0},
    {"ptx_coefficient": 0.7},
]


def method(fields: dict[str, Any]) -> PPO:
    return PPO(responses=3, **fields)


def at_start(ppo: PPO) -> tuple[Scores, PPOTargets]:
    scores = made_scores(REFERENCE)
    return scores, ppo.targets(made_rollout(REWARDS), scores)


def tokens() -> list[tuple[int, int, int]]:
    """(x, i, t) of every token that counts."""
    return [
        (x, i, t)
        for x, row in enumerate(LENGTHS)
        for i, length in enumerate(row)
        for t in range(length)
    ]


def whitened(values: dict[tuple[int, int, int], float], keep: bool) -> dict[Any, float]:
    mean = math.fsum(values.values()) / len(values)
    spread = math.fsum((v - mean) ** 2 for v in values.values()) / len(values)
    return {
        place: (v - mean) / math.sqrt(spread + 1e-8) + keep * mean for place, v in values.items()
    }


def written_out(ppo: PPO, scores: Scores) -> tuple[dict[Any, float], dict[Any, float]]:
    """Advantages and returns of every token."""
    assert scores.values is not None
    rewards = {}
    for x, i, t in tokens():
        gone = scores.logprobs[x, i, t] - scores.other_logprobs[REFERENCE][x, i, t]
        final = float(REWARDS[x, i]) if t == LENGTHS[x][i] - 1 else 0.0
        rewards[x, i, t] = -ppo.beta * float(gone) + final
    if ppo.whiten_rewards:
        rewards = whitened(rewards, keep=True)
    advantages, returns = {}, {}
    for x, row in enumerate(LENGTHS):
        for i, length in enumerate(row):
            mine = torch.tensor([rewards[x, i, t] for t in range(length)], dtype=torch.float64)
            values = scores.values[x, i, :length]
            for t, a in enumerate(double_sum(mine, values, ppo.gamma, ppo.gae_lambda).tolist()):
                advantages[x, i, t], returns[x, i, t] = a, a + float(values[t])
    return (whitened(advantages, keep=False) if ppo.whiten_advantages else advantages), returns


def loss_written_out(ppo: PPO, start: Scores, now: Scores) -> Tensor:
    assert start.values is not None and now.values is not None and now.demonstrations is not None
    advantages, returns = written_out(ppo, start)
    total = torch.zeros((), dtype=torch.float64)
    for place in tokens():
        ratio = torch.exp(now.logprobs[place] - start.logprobs[place])
        near = min(max(ratio, 1 - ppo.clip_range), 1 + ppo.clip_range)
        total = total - min(ratio * advantages[place], near * advantages[place])
        value, old, wanted = now.values[place], start.values[place], returns[place]
        held = min(max(value, old - ppo.value_clip_range), old + ppo.value_clip_range)
        worst = max((value - wanted) ** 2, (held - wanted) ** 2)
        total = total + ppo.value_coefficient * worst / 2
    return total / 12 - ppo.ptx_coefficient * now.demonstrations.mean()


@pytest.mark.parametrize("fields", SETTINGS, ids=str)
def test_targets_written_out(fields: dict[str, Any]) -> None:
    ppo = method(fields)
    scores, targets = at_start(ppo)
    advantages, returns = written_out(ppo, scores)
    for place in tokens():
        assert float(targets.advantages[place]) == pytest.approx(advantages[place], rel=1e-10)
        assert float(targets.returns[place]) == pytest.approx(returns[place], rel=1e-10)
    outside = ~mask_of()
    assert bool((targets.advantages[outside] == 0).all())
    assert bool((targets.returns[outside] == 0).all())


@pytest.mark.parametrize("fields", SETTINGS, ids=str)
def test_loss_written_out(fields: dict[str, Any]) -> None:
    ppo = method(fields)
    start, targets = at_start(ppo)
    now = moved(start, 0.3, seed=50)
    loss, metrics = ppo.loss(now, targets)
    torch.testing.assert_close(loss, loss_written_out(ppo, start, now), **CLOSE)
    # The step is large enough for both clips to bind somewhere and not everywhere.
    assert 0.0 < float(metrics["clipped"].mean) < 1.0


@pytest.mark.parametrize("fields", SETTINGS, ids=str)
def test_gradient_by_finite_differences(fields: dict[str, Any]) -> None:
    ppo = method(fields)
    start, targets = at_start(ppo)
    now = moved(start, 0.3, seed=60)
    leaves = [each.clone().requires_grad_() for each in moving(now)]
    loss, _ = ppo.loss(with_moving(now, leaves), targets)
    unused = ppo.ptx_coefficient == 0
    gradients = torch.autograd.grad(loss, leaves, allow_unused=unused)
    for which, gradient in enumerate(gradients):
        direction = draw(70 + which, *leaves[which].shape)
        step, ends = 1e-6, []
        for sign in (1.0, -1.0):
            there = [each.detach() for each in leaves]
            there[which] = there[which] + sign * step * direction
            ends.append(float(ppo.loss(with_moving(now, there), targets)[0]))
        slope = (ends[0] - ends[1]) / (2 * step)
        if gradient is None:
            assert slope == 0.0 and which == 2
        else:
            assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-6, abs=1e-9)
            assert abs(slope) > 1e-3


def moving(scores: Scores) -> list[Tensor]:
    assert scores.values is not None and scores.demonstrations is not None
    return [scores.logprobs, scores.values, scores.demonstrations]


def with_moving(scores: Scores, parts: list[Tensor]) -> Scores:
    return scores._replace(logprobs=parts[0], values=parts[1], demonstrations=parts[2])


def test_neither_loss_reaches_the_other_model() -> None:
    ppo = method({})
    start, targets = at_start(ppo)
    now = moved(start, 0.3, seed=80)
    for part, held in (("logprobs", "values"), ("values", "logprobs")):
        # The gradient in one model's scores does not change when the other's do.
        gradients = []
        for seed in (81, 82):
            leaf = getattr(now, part).clone().requires_grad_()
            elsewhere = getattr(now, held) + 0.1 * draw(seed, *now.mask.shape) * now.mask
            scores = now._replace(**{part: leaf, held: elsewhere})
            gradients.append(torch.autograd.grad(ppo.loss(scores, targets)[0], leaf)[0])
        assert torch.equal(*gradients)
        assert bool((gradients[0] != 0).any())


@pytest.mark.parametrize("size", [1, 3])
def test_micro_batches_add_up(size: int) -> None:
    ppo = method({"ptx_coefficient": 0.5})
    start, targets = at_start(ppo)
    now = moved(start, 0.3, seed=90)
    whole, wanted = ppo.loss(now, targets)
    total, found = torch.zeros((), dtype=torch.float64), dict.fromkeys(wanted, 0.0)
    weights = dict.fromkeys(wanted, 0.0)
    for begin in range(0, 4, size):
        part = slice(begin, min(4, begin + size))
        share, metrics = ppo.loss(part_of(now, part), targets_slice(targets, part))
        total = total + share
        for name, (mean, weight) in metrics.items():
            found[name] += float(mean) * weight
            weights[name] += weight
    torch.testing.assert_close(total, whole, **CLOSE)
    for name, (mean, weight) in wanted.items():
        assert weights[name] == weight
        assert found[name] / weight == pytest.approx(float(mean), rel=1e-10)


def test_metrics() -> None:
    ppo = method({"whiten_advantages": False, "ptx_coefficient": 0.5})
    start, targets = at_start(ppo)
    now = moved(start, 0.3, seed=100)
    _, metrics = ppo.loss(now, targets)
    got = {name: float(metric.mean) for name, metric in metrics.items()}
    gone = start.logprobs - start.other_logprobs[REFERENCE]
    assert got["kl_reference"] == pytest.approx(float(gone.sum()) / 12)
    assert got["reward"] == pytest.approx(float(REWARDS.mean()))
    assert got["beta"] == pytest.approx(0.1)
    ratios = torch.exp(now.logprobs - start.logprobs)[now.mask]
    assert got["ratio"] == pytest.approx(float(ratios.mean()))
    binds = [
        (float(r) > 1.2 and a > 0) or (float(r) < 0.8 and a < 0)
        for r, a in zip(ratios, targets.advantages[now.mask].tolist(), strict=True)
    ]
    assert got["clipped"] == pytest.approx(sum(binds) / len(binds))
    returns, values = targets.returns[now.mask], targets.values[now.mask]
    left = float((returns - values).var(correction=0) / returns.var(correction=0))
    assert got["explained_variance"] == pytest.approx(1 - left)
    split = got["policy_loss"] + 0.5 * got["value_loss"] - 0.5 * got["demonstrations"]
    assert split == pytest.approx(float(ppo.loss(now, targets)[0]))


def test_a_critic_that_knows_the_returns_explains_them_and_one_return_needs_no_critic() -> None:
    rewards, lengths = torch.tensor([[2.0, -1.0]]).double(), ((2, 3),)
    ppo = PPO(responses=2, beta=0.0, gae_lambda=1.0)
    scores = made_scores(REFERENCE, lengths=lengths)
    known = scores._replace(values=rewards[..., None].expand(scores.mask.shape))
    targets = ppo.targets(made_rollout(rewards, lengths), known)
    assert float(targets.explained_variance[0]) == pytest.approx(1.0)
    flat = ppo.targets(made_rollout(torch.ones(1, 2).double(), lengths), known)
    assert float(flat.explained_variance[0]) == 0.0


@pytest.mark.parametrize("missing", ["reward", "critic", "demonstrations"])
def test_what_is_missing_is_named(missing: str) -> None:
    ppo = method({"ptx_coefficient": 0.5})
    scores, targets = at_start(ppo)
    rollout: Rollout = made_rollout(None if missing == "reward" else REWARDS)
    with pytest.raises(ValueError, match=f"{missing}: .*got None"):
        if missing == "demonstrations":
            ppo.loss(scores._replace(demonstrations=None), targets)
        else:
            ppo.targets(rollout, scores._replace(values=None) if missing == "critic" else scores)
