"""Methods of other shapes run through the unchanged engine, with the gradient of a plain loop.

Llama's norms and rotary angles are float32 also in a float64 model, hence the tolerances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from mpo.layout import Layout
from mpo.objectives import Needs
from mpo.objectives.protocol import REFERENCE
from mpo.records import Metrics, Rollout, Scores, Weighted
from tests.engine import Steps, fit, model_with, tiny_game, tiny_module, tiny_policy, token_logprobs

BETA = 0.5


class BestAndWorst(NamedTuple):
    """(B,): which response won most and which least."""

    best: Tensor
    worst: Tensor


@dataclass(frozen=True)
class BestOfN:
    """DPO on the best and the worst of n samples: −log σ(β Δ log π_θ/π_ref)."""

    responses: int = 4

    def problems(self) -> list[str]:
        return []

    def needs(self) -> Needs:
        return Needs(self.responses, all_pairs=True, logprobs_of=(REFERENCE,), inner_steps=2)

    def targets(self, rollout: Rollout, scores: Scores) -> BestAndWorst:
        wins = rollout.wins.sum(-1)
        return BestAndWorst(wins.argmax(1), wins.argmin(1))

    def loss(self, scores: Scores, targets: BestAndWorst) -> tuple[Tensor, Metrics]:
        reward = BETA * (scores.logprobs - scores.other_logprobs[REFERENCE]).sum(-1)
        margin = reward.gather(1, targets.best[:, None]) - reward.gather(1, targets.worst[:, None])
        loss = -torch.nn.functional.logsigmoid(margin).sum() / scores.total_prompts
        return loss, {"margin": Weighted(margin.detach().mean(), float(len(margin)))}


@pytest.mark.parametrize("micro_prompts", [None, 2])
def test_a_dpo_shaped_objective(micro_prompts: int | None) -> None:
    game, steps = tiny_game(), Steps()
    policy = tiny_policy(game)
    module = tiny_module(
        game, BestOfN(), policy=policy, iterations=2, micro_prompts=micro_prompts, lr=0.05
    )
    fit(module, game, callbacks=[steps])
    assert set(module.snapshots.copies) == {"0"}
    margins = []
    for step, (weights, found) in enumerate(zip(steps.weights, steps.gradients, strict=True)):
        rollout = steps.rollouts[step // 2]
        model, reference = model_with(policy, weights), model_with(policy, steps.weights[0])
        table, fixed = token_logprobs(model, rollout), token_logprobs(reference, rollout)
        loss = torch.zeros((), dtype=torch.float64)
        for x in range(3):
            won = [sum(float(rollout.wins[x, i, j]) for j in range(4)) for i in range(4)]
            best, worst = won.index(max(won)), won.index(min(won))
            reward = [BETA * (table[x][i].sum() - fixed[x][i].sum().detach()) for i in range(4)]
            margins.append(float((reward[best] - reward[worst]).detach()))
            loss = loss + torch.log1p(torch.exp(-(reward[best] - reward[worst]))) / 3
        loss.backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(
                found[f"policy.model.{name}"], parameter.grad, rtol=1e-5, atol=1e-7
            )
    assert any(abs(margin) > 1e-2 for margin in margins)


class TokenCritic(nn.Module):
    """The value of a state is read off the token that the response's next token follows."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.table = nn.Embedding(vocabulary, 1, dtype=torch.float64)

    def forward(self, layout: Layout, trunk: Tensor | None) -> Tensor:
        return self.table(layout.ids)[..., 0].flatten()[layout.predicts]


class Returns(NamedTuple):
    """(B, n, T) each, at θ = θ_k."""

    advantages: Tensor
    returns: Tensor
    logprobs: Tensor


@dataclass(frozen=True)
class ActorCritic:
    """A policy gradient with the critic as baseline, and the critic's squared error."""

    responses: int = 4

    def problems(self) -> list[str]:
        return []

    def needs(self) -> Needs:
        return Needs(self.responses, all_pairs=True, values=True, inner_steps=2)

    def targets(self, rollout: Rollout, scores: Scores) -> Returns:
        assert scores.values is not None and not scores.values.requires_grad
        reward = (rollout.wins.sum(-1) - 0.5) / (self.responses - 1)
        returns = reward[..., None].expand(scores.mask.shape)
        return Returns(returns - scores.values, returns, scores.logprobs)

    def loss(self, scores: Scores, targets: Returns) -> tuple[Tensor, Metrics]:
        assert scores.values is not None
        count = scores.total_prompts * self.responses
        ratio = torch.exp(scores.logprobs - targets.logprobs)
        policy = -(ratio * targets.advantages)[scores.mask].sum() / count
        value = ((scores.values - targets.returns)[scores.mask] ** 2).sum() / count
        return policy + value, {}


@pytest.mark.parametrize("micro_prompts", [None, 1])
def test_a_critic_shaped_objective(micro_prompts: int | None) -> None:
    game, steps = tiny_game(), Steps()
    policy, critic = tiny_policy(game), TokenCritic(game.vocabulary)
    module = tiny_module(
        game,
        ActorCritic(),
        policy=policy,
        critic=critic,
        iterations=2,
        micro_prompts=micro_prompts,
        lr=1e-2,
        critic_lr=3e-1,
        schedule="constant",
    )
    trainer = fit(module, game, callbacks=[steps])
    groups = {group["name"]: group for group in trainer.optimizers[0].param_groups}
    assert {name: group["lr"] for name, group in groups.items()} == {"policy": 1e-2, "critic": 3e-1}
    assert [id(p) for p in groups["critic"]["params"]] == [id(critic.table.weight)]
    for step, (weights, found) in enumerate(zip(steps.weights, steps.gradients, strict=True)):
        rollout = steps.rollouts[step // 2]
        start = steps.weights[step - step % 2]
        # The two losses apart: neither may reach the other's weights.
        policy_loss, model = policy_part(policy, start, weights, rollout)
        policy_loss.backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(
                found[f"policy.model.{name}"], parameter.grad, rtol=1e-5, atol=1e-7
            )
        table = weights["critic.table.weight"].clone().requires_grad_(True)
        value_part(table, rollout).backward()
        torch.testing.assert_close(found["critic.table.weight"], table.grad, rtol=1e-9, atol=1e-12)
        assert bool((table.grad != 0).any())
    # AdamW's first step is the learning rate in size: each group had its own.
    for name, lr in (("critic.table.weight", 3e-1), ("policy.model.model.norm.weight", 1e-2)):
        moved = (steps.weights[1][name] - steps.weights[0][name]).abs().max()
        assert float(moved) == pytest.approx(lr, rel=1e-3)


def rewards(rollout: Rollout) -> list[list[float]]:
    """Mean win probability of each response over the three others."""
    return [
        [sum(float(rollout.wins[x, i, j]) for j in range(4) if j != i) / 3 for i in range(4)]
        for x in range(3)
    ]


def states(rollout: Rollout, x: int, i: int) -> Tensor:
    """(T_i,): the token before each token of a response."""
    prompt = rollout.prompts.ids[x, : int(rollout.prompts.lengths[x])]
    reply = rollout.responses.ids[x, i, : int(rollout.responses.lengths[x, i])]
    return torch.cat([prompt[-1:], reply[:-1]])


def policy_part(
    policy: nn.Module, start: dict[str, Tensor], weights: dict[str, Tensor], rollout: Rollout
) -> tuple[Tensor, nn.Module]:
    """The policy's loss at `weights`, with the critic and π_k of `start`."""
    model, behaviour = model_with(policy, weights), model_with(policy, start)
    table, old = token_logprobs(model, rollout), token_logprobs(behaviour, rollout)
    loss = torch.zeros((), dtype=torch.float64)
    for x, row in enumerate(rewards(rollout)):
        for i, reward in enumerate(row):
            advantage = reward - start["critic.table.weight"][states(rollout, x, i), 0]
            loss = loss - (torch.exp(table[x][i] - old[x][i].detach()) * advantage).sum() / 12
    return loss, model


def value_part(table: Tensor, rollout: Rollout) -> Tensor:
    """The critic's squared error with values `table` by token."""
    loss = torch.zeros((), dtype=torch.float64)
    for x, row in enumerate(rewards(rollout)):
        for i, reward in enumerate(row):
            loss = loss + ((table[states(rollout, x, i), 0] - reward) ** 2).sum() / 12
    return loss


def test_an_objective_that_needs_values_needs_a_critic() -> None:
    with pytest.raises(ValueError, match="critic: got None"):
        tiny_module(tiny_game(), ActorCritic())
