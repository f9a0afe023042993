"""MPO-RT through the engine: a plain loop's gradients, and micro-batches that change nothing.

Llama's norms and rotary angles are float32 also in a float64 model, hence the tolerances.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mpo.objectives import MPORT
from mpo.records import Rollout
from tests.engine import (
    Steps,
    Weights,
    fit,
    model_with,
    tiny_game,
    tiny_module,
    tiny_policy,
    token_logprobs,
    weights_of,
)
from tests.kl_oracles import kl_by_token

ALPHA, ETA = 0.3, 0.7


def run(objective: MPORT, **settings: Any) -> tuple[Steps, Weights]:
    """What the optimizer saw in three iterations, and the weights after them."""
    game, steps = tiny_game(), Steps()
    policy = tiny_policy(game)
    module = tiny_module(game, objective, policy=policy, iterations=3, lr=0.05, **settings)
    fit(module, game, callbacks=[steps])
    return steps, weights_of(policy)


def replies(rollout: Rollout, x: int) -> list[tuple[int, ...]]:
    """The tokens of a prompt's responses."""
    rows, lengths = rollout.responses.ids[x].tolist(), rollout.responses.lengths[x].tolist()
    return [tuple(row[:length]) for row, length in zip(rows, lengths, strict=True)]


def plain_loss(model: Any, start: Any, magnet: Any, rollout: Rollout) -> Tensor:
    """Equation (9) with the reward of each token, γ = 1, four responses that all meet."""
    now = token_logprobs(model, rollout)
    with torch.no_grad():
        before, far = token_logprobs(start, rollout), token_logprobs(magnet, rollout)
    total = torch.zeros((), dtype=torch.float64)
    for x, length in enumerate(rollout.prompts.lengths.tolist()):
        prompt = rollout.prompts.ids[x, :length].tolist()
        moved = kl_by_token(model, start, prompt, replies(rollout, x))
        for i in range(4):
            win = sum(float(rollout.wins[x, i, j]) for j in range(4) if j != i) / 3
            for t in range(len(now[x][i])):
                later = sum(before[x][i][t:] - far[x][i][t:])
                ratio = torch.exp(now[x][i][t] - before[x][i][t])
                total = total - ratio * (win - 0.5 - ALPHA * later) + moved[i][t] / ETA
    return total / (4 * len(rollout.prompts.lengths))


@pytest.mark.parametrize("magnet_interval", [None, 2])
def test_gradients_are_those_of_a_plain_loop(magnet_interval: int | None) -> None:
    objective = MPORT(alpha=ALPHA, eta=ETA, magnet_interval=magnet_interval, inner_steps=2)
    steps, _ = run(objective)
    policy = tiny_policy(tiny_game())
    assert len(steps.weights) == 6
    for step, (weights, found) in enumerate(zip(steps.weights, steps.gradients, strict=True)):
        start = steps.weights[step - step % 2]
        # After two iterations, four steps, the magnet takes the policy as it is then.
        magnet = steps.weights[4 if magnet_interval and step >= 4 else 0]
        model = model_with(policy, weights)
        others = (model_with(policy, start), model_with(policy, magnet))
        plain_loss(model, *others, steps.rollouts[step // 2]).backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(
                found[f"policy.model.{name}"], parameter.grad, rtol=1e-5, atol=1e-6
            )


@pytest.mark.parametrize("micro_prompts", [1, 2])
@pytest.mark.parametrize(
    "fields",
    [
        {"log_ratio": "token"},
        {"log_ratio": "sequence", "gamma": 0.9},
        {"opponent": "snapshot", "symmetric": False, "baseline": "remax", "magnet_interval": 2},
    ],
    ids=str,
)
def test_micro_batches_change_nothing(fields: dict[str, Any], micro_prompts: int) -> None:
    objective = MPORT(alpha=ALPHA, eta=ETA, inner_steps=2, **fields)
    steps, weights = run(objective)
    micro_steps, micro_weights = run(objective, micro_prompts=micro_prompts)
    torch.testing.assert_close(micro_steps.gradients, steps.gradients, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(micro_weights, weights, rtol=1e-5, atol=1e-6)
    for whole, parts in zip(steps.logged, micro_steps.logged, strict=True):
        assert parts == pytest.approx(whole, rel=1e-5, abs=1e-6)
    assert any(logged["kl_magnet"] > 1e-3 for logged in steps.logged)
