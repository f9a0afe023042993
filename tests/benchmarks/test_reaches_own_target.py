"""A tiny transformer, trained on samples by the engine, ends at its method's own target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from baselines.iterative_dpo import IterativeDPO
from baselines.ppo import PPO
from benchmarks.evaluate_exact import ExactEvaluation
from mpo.critic import ValueModel
from mpo.data import Iterations, PromptDataModule, PromptSet
from mpo.games.bradley_terry_fit import population_reward
from mpo.judges.matrix import MatrixGameJudge, MatrixGameReward
from mpo.module import AlignmentModule, EngineSettings
from mpo.objectives.mpo import MPO
from mpo.optimization import OptimizerSettings
from mpo.rollout import SamplingSettings
from tests.engine import AfterIteration, quiet_trainer, tiny_game, tiny_policy

ALPHA = 0.2
TOLERANCE = 0.04
"""Of the total variation and of the gap."""


def trained(
    objective: Any, folder: Path, iterations: int, rounds: int
) -> tuple[dict[str, Any], float]:
    """Final metrics, and the initial policy's distance from the target in total variation."""
    game = tiny_game(prompts=1)
    prompts = PromptSet(game.framed_prompts, [0], game.prompt_texts)
    evaluation = ExactEvaluation(game, prompts)
    policy = tiny_policy(game)
    rewards = population_reward(game.preferences, evaluation.log_probs(policy).exp())
    module = AlignmentModule(
        policy,
        objective,
        MatrixGameJudge(game),
        SamplingSettings(0, game.max_tokens, (game.eos,), game.text),
        EngineSettings(iterations, OptimizerSettings(lr=1e-2, clip_norm=1.0), rounds=rounds),
        critic=ValueModel(policy.frozen_copy()) if objective.needs().values else None,
        reward=MatrixGameReward(game, rewards),
    )
    evaluation.start(module)
    initial = evaluation.finish(module, folder)["tv_target"]

    def look(module: AlignmentModule) -> None:
        if module.iterations_done:
            evaluation.after_iteration(module)

    trainer = quiet_trainer([AfterIteration(look)])
    trainer.fit(module, PromptDataModule(Iterations(prompts, 1, iterations, 0), 0))
    return evaluation.finish(module, folder), initial


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "iterations", "rounds", "name"),
    [
        (PPO(responses=64, beta=0.3, inner_steps=2), 120, 1, "tilted reference"),
        (MPO(responses=128, alpha=ALPHA, magnet_interval=None), 160, 1, "regularised equilibrium"),
        (
            MPO(responses=128, alpha=ALPHA, magnet_interval=None, proximal="clip"),
            160,
            1,
            "regularised equilibrium",
        ),
        (
            MPO(responses=128, alpha=ALPHA, self_play=False, symmetric=False),
            160,
            1,
            "answer to the initial policy",
        ),
        (
            IterativeDPO(groups=128, beta=0.5, label_smoothing=0.3, inner_steps=2),
            120,
            2,
            "iterated population DPO",
        ),
    ],
    ids=["ppo", "fixed", "clip", "no_self_play", "iterative_dpo"],
)
def test_training_ends_at_the_target(
    objective: Any, iterations: int, rounds: int, name: str, tmp_path: Path
) -> None:
    metrics, initial = trained(objective, tmp_path, iterations, rounds)
    assert metrics["target"] == name
    assert initial > 0.3
    assert metrics["tv_target"] < TOLERANCE
    assert metrics["gap_last"] == pytest.approx(metrics["gap_target"], abs=TOLERANCE)
