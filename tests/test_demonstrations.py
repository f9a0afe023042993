"""Demonstrations beside self-play: their log-probabilities, gradient and order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from mpo.demonstrations import Demonstrations
from mpo.objectives import Needs
from mpo.records import Metrics, Rollout, Scores
from tests.engine import Steps, fit, model_with, prompt_set, tiny_game, tiny_module, tiny_policy

REPLIES = [[0, 1], [2], [1, 3]]


class Nothing(NamedTuple):
    """(B,) of no meaning."""

    zeros: Tensor


@dataclass(frozen=True)
class Imitate:
    """Cross-entropy of the demonstrations alone."""

    def problems(self) -> list[str]:
        return []

    def needs(self) -> Needs:
        return Needs(2, judged=False, demonstrations=True, inner_steps=2)

    def targets(self, rollout: Rollout, scores: Scores) -> Nothing:
        assert scores.demonstrations is not None and not scores.demonstrations.requires_grad
        return Nothing(torch.zeros(len(rollout.texts)))

    def loss(self, scores: Scores, targets: Nothing) -> tuple[Tensor, Metrics]:
        assert scores.demonstrations is not None
        return -scores.demonstrations.sum() / scores.total_prompts, {}


@pytest.mark.parametrize("micro_prompts", [None, 2])
def test_the_gradient_is_that_of_plain_cross_entropy(micro_prompts: int | None) -> None:
    game, steps = tiny_game(), Steps()
    policy = tiny_policy(game)
    shown = Demonstrations(prompt_set(game), REPLIES, batch_size=3, iterations=2, seed=0)
    module = tiny_module(
        game,
        Imitate(),
        policy=policy,
        demonstrations=shown,
        iterations=2,
        micro_prompts=micro_prompts,
    )
    fit(module, game, callbacks=[steps])
    for weights, found in zip(steps.weights, steps.gradients, strict=True):
        model = model_with(policy, weights)
        loss = torch.zeros((), dtype=torch.float64)
        for prompt, reply in zip(game.prompts, REPLIES, strict=True):
            ids = torch.tensor([[*prompt, *reply]])
            scores = torch.log_softmax(model(input_ids=ids).logits[0], -1)
            at = torch.arange(len(prompt) - 1, len(prompt) + len(reply) - 1)
            loss = loss - scores[at, torch.tensor(reply)].mean() / 3
        loss.backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(
                found[f"policy.model.{name}"], parameter.grad, rtol=1e-5, atol=1e-7
            )


def test_a_batch_holds_each_prompts_own_demonstration() -> None:
    game = tiny_game()
    shown = Demonstrations(prompt_set(game), REPLIES, batch_size=2, iterations=5, seed=3)
    for iteration in range(5):
        prompts, responses = shown.batch(iteration, torch.device("cpu"))
        for key, ids, length in zip(
            prompts.keys.tolist(), responses.ids[:, 0], responses.lengths[:, 0], strict=True
        ):
            assert ids[:length].tolist() == REPLIES[key]


def test_an_empty_demonstration_is_refused() -> None:
    with pytest.raises(ValueError, match="of no tokens to"):
        Demonstrations(prompt_set(tiny_game()), [[0], [], [1]], 2, 2, 0)
