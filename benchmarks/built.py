"""What a builder hands to the executor, and the parts that all builders share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from benchmarks.evaluate import Evaluation
from benchmarks.schema import make_objective
from mpo.data import Iterations, PromptSet
from mpo.demonstrations import Demonstrations
from mpo.judges.protocol import Judge, RewardFunction
from mpo.module import AlignmentModule, EngineSettings
from mpo.optimization import OptimizerSettings
from mpo.policy import Policy
from mpo.rollout import SamplingSettings


@dataclass(frozen=True)
class Built:
    """A run, ready to start."""

    module: AlignmentModule
    iterations: Iterations | None
    """The training prompts by iteration; None for a run that only evaluates."""
    evaluation: Evaluation


@dataclass(frozen=True)
class Parts:
    """What a method may need besides a policy; None where it does not."""

    judge: Judge
    critic: nn.Module | None = None
    reward: RewardFunction | None = None
    demonstrations: Demonstrations | None = None


def training_prompts(
    config: dict[str, Any], prompts: PromptSet, seed: int, rounds: int
) -> Iterations | None:
    """The prompts by iteration, split over the rounds; None for a run of no iterations."""
    train = config["train"]
    if not train["iterations"]:
        return None
    return Iterations(prompts, train["prompts"], train["iterations"], seed, rounds)


def make_module(
    config: dict[str, Any], policy: Policy, sampling: SamplingSettings, parts: Parts
) -> AlignmentModule:
    """The engine under the config's objective."""
    train = config["train"]
    if train["gradient_checkpointing"]:
        policy.enable_gradient_checkpointing()
    optimizer = OptimizerSettings(
        lr=train["lr"],
        critic_lr=train["critic_lr"],
        betas=(train["betas"][0], train["betas"][1]),
        weight_decay=train["weight_decay"],
        schedule=train["schedule"],
        warmup_steps=train["warmup_steps"],
        clip_norm=train["clip_norm"],
    )
    settings = EngineSettings(
        train["iterations"],
        optimizer,
        micro_prompts=train["micro_prompts"],
        logits_chunk=train["logits_chunk"],
        step_kl_every=None if config["task"]["name"] == "exact" else train["eval_every"],
        rounds=train["rounds"],
        token_budget=train["token_budget"],
    )
    return AlignmentModule(
        policy,
        make_objective(config["method"]),
        parts.judge,
        sampling,
        settings,
        parts.critic,
        parts.reward,
        parts.demonstrations,
    )
