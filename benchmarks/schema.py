"""The settings of a run: names, types, units and allowed values (design.md sections 2 and 5).

The values themselves are in conf/. A section is a frozen dataclass; OmegaConf checks the types,
`problems()` the rest. The method's section is the dataclass of its objective, found in METHODS.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from benchmarks.rules import (
    BETAS,
    COUNT,
    COUNT_OR_NONE,
    COUNT_OR_ZERO,
    DEVICE,
    NOT_NEGATIVE,
    POSITIVE,
    SOME_TEXT,
    TEXT_OR_NONE,
    Rule,
    broken,
    one_of,
)
from benchmarks.task_settings import ExactTask, LanguageTask

SCHEMA = 1
"""Version of plan.yaml and of the runs' configs."""

METHODS = {
    "mpo": "mpo.objectives.mpo:MPO",
    "mpo_paper": "mpo.objectives.mpo:MPO",
    "mpo_clip": "mpo.objectives.mpo:MPO",
    "mpo_fixed": "mpo.objectives.mpo:MPO",
    "no_self_play": "mpo.objectives.mpo:MPO",
    "mpo_rt": "mpo.objectives.mpo_rt:MPORT",
    "ppo": "baselines.ppo:PPO",
    "iterative_dpo_4": "baselines.iterative_dpo:IterativeDPO",
    "iterative_dpo_8": "baselines.iterative_dpo:IterativeDPO",
}
"""Name of a method (a file in conf/method/) to the dataclass of its objective."""


def load_object(path: str) -> Any:
    """The object that `module:name` names. Raises ImportError or AttributeError."""
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)


def method_class(name: str) -> type[Any]:
    """The dataclass of a method's objective. Imports torch. Raises KeyError for an unknown name."""
    return load_object(METHODS[name])


def make_objective(section: dict[str, Any]) -> Any:
    """The objective of a resolved `method` section: its name chooses the class."""
    values = {key: value for key, value in section.items() if key != "name"}
    return method_class(section["name"])(**values)


@dataclass(frozen=True)
class Train:
    """The optimizer and the sizes of an iteration."""

    iterations: int
    """Iterations: rollouts. 0 only evaluates the initial policy."""
    prompts: int
    """B, prompts an iteration."""
    rounds: int
    """Rounds of self-play, into which the iterations are split evenly; each policy is kept."""
    token_budget: int | None
    """Response tokens after which training ends; null: only iterations end it."""
    demonstrations: str | None
    """JSONL or Parquet file with prompt and response, for methods that imitate; null: none."""
    lr: float
    """Learning rate of AdamW."""
    critic_lr: float
    """Learning rate of the critic's parameters, for methods that have one."""
    betas: list[float]
    """AdamW's two betas."""
    weight_decay: float
    """AdamW's weight decay."""
    schedule: str
    """cosine (to 0) | constant: the learning rate after the warm-up."""
    warmup_steps: int
    """Optimizer steps of linear warm-up."""
    clip_norm: float
    """Largest norm of the gradient."""
    micro_prompts: int | None
    """Prompts a micro-batch (gradient accumulation); null: all at once."""
    gradient_checkpointing: bool
    """Recompute activations in the backward pass: less memory, more time."""
    eval_every: int
    """Iterations between two rows of curves.csv."""
    checkpoint_every: int
    """Iterations between two checkpoints."""
    temperature: float
    """Sampling temperature; scoring uses the same."""
    logits_chunk: int
    """Logits (positions × vocabulary) held at once by the exact KL."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        return broken(
            self,
            iterations=COUNT_OR_ZERO,
            prompts=COUNT,
            rounds=COUNT,
            token_budget=COUNT_OR_NONE,
            demonstrations=TEXT_OR_NONE,
            lr=POSITIVE,
            critic_lr=POSITIVE,
            betas=BETAS,
            weight_decay=NOT_NEGATIVE,
            schedule=one_of("cosine", "constant"),
            warmup_steps=COUNT_OR_ZERO,
            clip_norm=POSITIVE,
            micro_prompts=COUNT_OR_NONE,
            eval_every=COUNT,
            checkpoint_every=COUNT,
            temperature=POSITIVE,
            logits_chunk=COUNT,
        )


@dataclass(frozen=True)
class Model:
    """The initial policy. The exact task builds its own and reads nothing from here."""

    path: str
    """smollm2 (bundled), a folder, or a hub id."""
    train_blocks: int | None
    """The last blocks that train, embeddings and head frozen; null: all weights train."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        return broken(self, path=SOME_TEXT, train_blocks=COUNT_OR_NONE)


@dataclass(frozen=True)
class Judge:
    """Who compares two responses."""

    name: str
    """matrix (the game's own preferences) | annotators (a panel of five) | preference_model |
    reward_model (P(y ≻ y′) is the logistic function of the rewards' difference)."""
    path: str | None
    """Folder of the trained model of preference_model and reward_model; null for the others."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        names = one_of("annotators", "matrix", "preference_model", "reward_model")
        return broken(self, name=names, path=TEXT_OR_NONE)


@dataclass(frozen=True)
class Reward:
    """Who scores single responses, for methods that need rewards."""

    path: str | None
    """Folder of a trained reward model; null on the exact task, whose games have their own."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        return broken(self, path=TEXT_OR_NONE)


@dataclass(frozen=True)
class Strategy:
    """How the engine runs."""

    name: str
    """single | deepspeed."""
    zero_stage: int
    """ZeRO stage under deepspeed: 1 | 2 | 3."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        stages = Rule(lambda value: value in (1, 2, 3), "1 | 2 | 3")
        return broken(self, name=one_of("single", "deepspeed"), zero_stage=stages)


@dataclass(frozen=True)
class Machine:
    """Settings of a run that belong to no section; they stand at the top of its config."""

    threads: int
    """Torch threads a run; part of the plan, because sums depend on it."""
    device: str
    """cpu | cuda | cuda:N."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        return broken(self, threads=COUNT, device=DEVICE)


TASKS: dict[str, type[Any]] = {"exact": ExactTask, "smollm2": LanguageTask}
"""Name of a task (a file in conf/task/) to the dataclass of its section."""

SECTIONS: dict[str, type[Any]] = {
    "train": Train,
    "model": Model,
    "judge": Judge,
    "reward": Reward,
    "strategy": Strategy,
}
"""The sections that all tasks and methods share."""
