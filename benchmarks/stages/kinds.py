"""What the stages differ in: which records, what is trained, how it is measured and kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from benchmarks.build_language import prompt_set
from benchmarks.stages.folder import PAIRS
from benchmarks.stages.sources import PANEL, Config, at_most
from mpo.bundled import quiet_loading
from mpo.chat import ChatFormat
from mpo.judges.annotators import AnnotatorPanel
from mpo.judges.preference_model import PreferenceModel, save_preference_model
from mpo.judges.protocol import Judge
from mpo.judges.reward_model import RewardModel, RewardModelJudge, save_reward_model
from mpo.policy import Policy
from mpo.prompts import load_prompts, split_prompts
from mpo.rollout import SamplingSettings
from mpo.training.data import Parts
from mpo.training.fit import Row
from mpo.training.metrics import preference_metrics
from mpo.training.panel_pairs import panel_pairs
from mpo.training.records import Comparison
from mpo.training.sft import SupervisedModel


@dataclass(frozen=True)
class Stage:
    """A stage as a value."""

    sample: Callable[[Config, Policy, ChatFormat, Path], Parts[Any]]
    """Records that are sampled from the model and kept in a folder."""
    build: Callable[[Config, Policy, ChatFormat], nn.Module]
    """The Trainable. Raises ValueError."""
    measure: Callable[[Any, Parts[Any], Config], dict[str, Any]]
    """Metrics of the trained model on the held-out records."""
    save: Callable[[Any, Path, dict[str, Any]], None]
    """Write the model and what is known about it to a folder that does not exist."""


def no_samples(config: Config, policy: Policy, chat: ChatFormat, folder: Path) -> Parts[Any]:
    """A stage whose records are always known before work."""
    raise ValueError(f"data.source: got {config['data']['source']!r}, allowed is no sampled source")


def sample_comparisons(
    config: Config, policy: Policy, chat: ChatFormat, folder: Path
) -> Parts[Comparison]:
    """The model's own responses to prompts, labelled by the panel, kept in pairs.parquet.

    Prompts of the training split train and those of the tuning split are held out, so that no
    evaluation prompt is seen; which of them, a hash of their texts says.
    """
    section = config[PANEL]
    splits = split_prompts(load_prompts(section["prompts"]))
    chosen = {}
    for split, key in (("training", "train_prompts"), ("tuning", "held_out_prompts")):
        mixed = sorted(splits[split])
        chosen[split] = prompt_set(chat, mixed, section["max_prompt_tokens"]).first(section[key])
    settings = SamplingSettings(
        config["seed"], section["max_tokens"], chat.end_tokens(policy.model), chat.decode
    )
    parts = panel_pairs(
        folder / PAIRS,
        policy,
        chosen["training"],
        chosen["tuning"],
        settings,
        AnnotatorPanel(),
        section["responses"],
    )
    return at_most(parts, config)


def build_supervised(config: Config, policy: Policy, chat: ChatFormat) -> nn.Module:
    """The policy under cross-entropy."""
    return SupervisedModel(policy, chat, config["train"]["logits_chunk"])


def build_reward(config: Config, policy: Policy, chat: ChatFormat) -> nn.Module:
    """A scalar head on the policy's backbone."""
    return RewardModel(policy, chat, config["train"]["width"], config["seed"])


def build_preference(config: Config, policy: Policy, chat: ChatFormat) -> nn.Module:
    """A model of pairs on the policy's backbone."""
    form = config["preference"]["form"]
    return PreferenceModel(policy, chat, form, config["train"]["width"], config["seed"])


def no_more(trainable: Any, parts: Parts[Any], config: Config) -> dict[str, Any]:
    """A stage whose held-out loss says all."""
    return {}


def measure_reward(trainable: Any, parts: Parts[Any], config: Config) -> dict[str, Any]:
    """The reward model as a judge of the held-out comparisons."""
    return _measure(RewardModelJudge(trainable), parts)


def measure_preference(trainable: Any, parts: Parts[Any], config: Config) -> dict[str, Any]:
    """The preference model as a judge of the held-out comparisons."""
    return _measure(trainable, parts)


def _measure(judge: Judge, parts: Parts[Any]) -> dict[str, Any]:
    if not parts.held_out:
        return {}
    found = preference_metrics(judge, parts.training, parts.held_out)
    # An interval over one group has no ends, and JSON no NaN.
    return {name: value if math.isfinite(value) else None for name, value in found.items()}


def save_policy(trainable: Any, folder: Path, about: dict[str, Any]) -> None:
    """A folder that `model.path` takes: weights, config and tokenizer."""
    with quiet_loading():
        trainable.policy.model.save_pretrained(folder)
        trainable.chat.tokenizer.save_pretrained(folder)


def held_out_summary(curve: list[Row]) -> dict[str, float]:
    """Held-out loss before and after, and with them whatever else was measured at the end."""
    measured = [row for row in curve if "held_out_loss" in row]
    if not measured:
        return {}
    first, last = measured[0], measured[-1]
    numbers = {name: value for name, value in last.items() if name.startswith("held_out_")}
    found = {"held_out_loss_before": first["held_out_loss"], **numbers}
    return {name: value for name, value in found.items() if math.isfinite(value)}


STAGES: dict[str, Stage] = {
    "sft": Stage(no_samples, build_supervised, no_more, save_policy),
    "reward": Stage(
        sample_comparisons,
        build_reward,
        measure_reward,
        save_reward_model,
    ),
    "preference": Stage(
        sample_comparisons,
        build_preference,
        measure_preference,
        save_preference_model,
    ),
}
"""Name of a stage (a file in conf/stage/) to what is its own."""
