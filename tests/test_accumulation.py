"""What changes memory and time only: micro-batches, chunks of logits, gradient checkpointing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from mpo.objectives import MPO
from mpo.objectives.mpo import MPOTargets
from mpo.records import Metrics, Scores
from tests.engine import Steps, Weights, fit, tiny_game, tiny_module, tiny_policy, weights_of


@dataclass(frozen=True)
class Shares(MPO):
    """MPO that keeps each part's share of the loss."""

    shares: list[float] = field(default_factory=list)

    def loss(self, scores: Scores, targets: MPOTargets) -> tuple[Tensor, Metrics]:
        loss, metrics = super().loss(scores, targets)
        self.shares.append(float(loss.detach()))
        return loss, metrics


OBJECTIVES: dict[str, dict[str, Any]] = {
    "recommended": {},
    "paper": {
        "opponent": "snapshot",
        "symmetric": False,
        "kl_gradient": "per_token",
        "baseline": "remax",
        "magnet_interval": 1,
    },
}


def run(
    name: str, train_blocks: int | None = None, checkpointing: bool = False, **settings: Any
) -> tuple[list[float], Steps, Weights]:
    """Losses by inner step, what the optimizer saw, and the weights after two iterations."""
    game = tiny_game()
    objective = Shares(responses=4, inner_steps=2, **OBJECTIVES[name])
    policy = tiny_policy(game, train_blocks=train_blocks)
    if checkpointing:
        policy.enable_gradient_checkpointing()
    module = tiny_module(game, objective, policy=policy, iterations=2, **settings)
    steps = Steps()
    fit(module, game, callbacks=[steps])
    parts = len(objective.shares) // 4
    losses = [sum(objective.shares[s * parts : (s + 1) * parts]) for s in range(4)]
    return losses, steps, weights_of(policy)


@pytest.mark.parametrize("train_blocks", [None, 1])
@pytest.mark.parametrize("micro_prompts", [1, 2, 3])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_micro_batches_change_nothing(
    name: str, micro_prompts: int, train_blocks: int | None
) -> None:
    losses, steps, weights = run(name, train_blocks)
    micro_losses, micro_steps, micro_weights = run(name, train_blocks, micro_prompts=micro_prompts)
    assert micro_losses == pytest.approx(losses, rel=1e-9, abs=1e-12)
    assert any(abs(loss) > 1e-3 for loss in losses)
    torch.testing.assert_close(micro_steps.gradients, steps.gradients, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(micro_weights, weights, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("micro_prompts", [1, 2])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_logged_metrics_do_not_depend_on_micro_batches(name: str, micro_prompts: int) -> None:
    logged = run(name)[1].logged
    micro = run(name, micro_prompts=micro_prompts)[1].logged
    for whole, parts in zip(logged, micro, strict=True):
        assert parts == pytest.approx(whole, rel=1e-6, abs=1e-7)


def test_logged_metrics_are_means_over_responses() -> None:
    _, steps, _ = run("paper")
    for rollout, logged in zip(steps.rollouts, steps.logged, strict=True):
        responses = rollout.responses
        assert logged["response_length"] == pytest.approx(float(responses.lengths.double().mean()))
        cut = 1 - float(responses.ended.double().mean())
        assert logged["truncated"] == pytest.approx(cut)
        won = float(rollout.wins[rollout.compared].mean())
        assert logged["win_rate_opponent"] == pytest.approx(won, rel=1e-6)


def test_gradient_norms_and_learning_rates_are_logged() -> None:
    _, steps, _ = run("recommended")
    norms = [
        float(torch.cat([g.flatten() for g in step.values()]).norm()) for step in steps.gradients
    ]
    means = [(norms[0] + norms[1]) / 2, (norms[2] + norms[3]) / 2]
    assert [logged["grad_norm"] for logged in steps.logged] == pytest.approx(means, rel=1e-6)
    # The schedule's next value: cosine from 0.01 to 0 over 2 × 2 optimizer steps.
    assert [logged["lr"] for logged in steps.logged] == pytest.approx([0.005, 0.0], abs=1e-12)


@pytest.mark.parametrize("train_blocks", [None, 1])
def test_chunks_of_logits_change_nothing(train_blocks: int | None) -> None:
    _, steps, weights = run("recommended", train_blocks)
    # One position of the vocabulary of four at a time, and five positions.
    for chunk in (1, 20):
        _, chunked, chunked_weights = run("recommended", train_blocks, logits_chunk=chunk)
        torch.testing.assert_close(chunked.gradients, steps.gradients, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(chunked_weights, weights, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("train_blocks", [None, 1])
@pytest.mark.parametrize("micro_prompts", [None, 1])
def test_gradient_checkpointing_changes_nothing(
    micro_prompts: int | None, train_blocks: int | None
) -> None:
    losses, steps, weights = run("recommended", train_blocks, micro_prompts=micro_prompts)
    again = run("recommended", train_blocks, True, micro_prompts=micro_prompts)
    assert again[0] == losses
    torch.testing.assert_close(again[1].gradients, steps.gradients, rtol=0, atol=0)
    torch.testing.assert_close(again[2], weights, rtol=0, atol=0)


def forwards_of_last_block(checkpointing: bool) -> int:
    """How often the last block runs in one iteration."""
    game = tiny_game()
    policy = tiny_policy(game)
    if checkpointing:
        policy.enable_gradient_checkpointing()
    counted = []
    module = tiny_module(game, MPO(responses=4, inner_steps=2), policy=policy, iterations=1)
    policy.decoder.layers[-1].mlp.register_forward_pre_hook(lambda *_: counted.append(1))
    fit(module, game)
    return len(counted)


def test_gradient_checkpointing_recomputes() -> None:
    # Each of the two inner steps' backward passes runs the block once more.
    assert forwards_of_last_block(True) == forwards_of_last_block(False) + 2


def test_clipping_bounds_the_norm_of_the_whole_batch() -> None:
    # Micro-batches must be added up before the norm is taken.
    for micro_prompts in (None, 1):
        _, steps, _ = run("recommended", micro_prompts=micro_prompts, clip_norm=0.05)
        for step in steps.gradients:
            norm = float(torch.cat([g.flatten() for g in step.values()]).norm())
            assert norm == pytest.approx(0.05, rel=1e-4)
