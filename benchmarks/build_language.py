"""Builds a run of a language task: a real model on real prompts with a real judge."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from benchmarks.built import Built, Parts, make_module, training_prompts
from benchmarks.evaluate_language import LanguageEvaluation
from benchmarks.schema import make_objective
from mpo.bundled import load_causal_model
from mpo.chat import ChatFormat
from mpo.critic import ValueModel
from mpo.data import PromptSet
from mpo.demonstrations import Demonstrations
from mpo.judges.annotators import AnnotatorPanel
from mpo.judges.preference_model import load_preference_model
from mpo.judges.protocol import Judge
from mpo.judges.reward_model import RewardModel, RewardModelJudge, critic_from, load_reward_model
from mpo.policy import Policy
from mpo.prompts import Prompt, load_prompts, split_prompts
from mpo.rollout import SamplingSettings
from mpo.training.data import load_examples


def build_language(run: dict[str, Any], judge: Judge | None) -> Built:
    """The seed decides the order of prompts and the samples."""
    config, seed = run["config"], run["seed"]
    task, train = config["task"], config["train"]
    model, tokenizer = load_causal_model(config["model"]["path"])
    policy = Policy(model, config["model"]["train_blocks"], train["temperature"])
    chat = ChatFormat(tokenizer, task["system_prompt"])
    splits = split_prompts(load_prompts(task["prompts"]))
    chosen = {
        split: prompt_set(chat, splits[task[f"{split}_split"]], task["max_prompt_tokens"])
        for split in ("train", "eval")
    }
    if len(chosen["eval"]) < task["eval_prompts"]:
        raise ValueError(
            f"task.eval_prompts: got {task['eval_prompts']}, allowed is at most the "
            f"{len(chosen['eval'])} prompts of the {task['eval_split']} split"
        )
    sampling = SamplingSettings(seed, task["max_tokens"], chat.end_tokens(model), chat.decode)
    module = make_module(config, policy, sampling, _parts(config, seed, policy, chat, judge))
    evaluation = LanguageEvaluation(
        chosen["eval"].first(task["eval_prompts"]),
        task["eval_responses"],
        zlib.crc32(run["name"].encode()),
    )
    # Which prompts of a round come when cannot be said before the tokens are counted.
    rounds = 1 if train["token_budget"] else train["rounds"]
    return Built(module, training_prompts(config, chosen["train"], seed, rounds), evaluation)


def prompt_set(chat: ChatFormat, prompts: list[Prompt], longest: int) -> PromptSet:
    """The prompts in the chat format, without those of more than `longest` tokens."""
    tokenised = [(chat.encode(prompt.text), prompt) for prompt in prompts]
    kept = [(ids, prompt) for ids, prompt in tokenised if len(ids) <= longest]
    return PromptSet(
        [ids for ids, _ in kept],
        [prompt.id for _, prompt in kept],
        [prompt.text for _, prompt in kept],
    )


def make_judge(section: dict[str, Any]) -> Judge:
    """The judge of a resolved `judge` section. Raises TrainedModelError for a model's folder."""
    return JUDGES[section["name"]](section["path"])


def _reward_model_judge(path: str) -> Judge:
    return RewardModelJudge(load_reward_model(Path(path)))


JUDGES = {
    "annotators": lambda path: AnnotatorPanel(),
    "preference_model": lambda path: load_preference_model(Path(path)),
    "reward_model": _reward_model_judge,
}
"""Name of a judge of language tasks to its maker."""


def _parts(
    config: dict[str, Any], seed: int, policy: Policy, chat: ChatFormat, judge: Judge | None
) -> Parts:
    """What the method needs; a critic starts as the reward model (design.md section 5)."""
    needs = make_objective(config["method"]).needs()
    if judge is None:
        judge = make_judge(config["judge"]) if needs.judged else AnnotatorPanel()
    reward = load_reward_model(Path(config["reward"]["path"])) if needs.rewards else None
    return Parts(
        judge,
        _critic(config, policy, reward) if needs.values else None,
        reward,
        _demonstrations(config, seed, chat) if needs.demonstrations else None,
    )


def _critic(config: dict[str, Any], policy: Policy, reward: RewardModel | None) -> ValueModel:
    if reward is None:
        return ValueModel(policy.frozen_copy())
    same = config["model"]["path"] == reward.base_path
    same = same and config["model"]["train_blocks"] == reward.policy.train_blocks
    return critic_from(reward, shares_trunk=same and reward.policy.train_blocks is not None)


def _demonstrations(config: dict[str, Any], seed: int, chat: ChatFormat) -> Demonstrations:
    task, train = config["task"], config["train"]
    examples = load_examples(train["demonstrations"], held_out=0).training
    prompts = PromptSet(
        [chat.encode(example.prompt) for example in examples],
        range(len(examples)),
        [example.prompt for example in examples],
    )
    end = [chat.tokenizer.eos_token_id]
    responses = [
        chat.tokenizer.encode(example.response, add_special_tokens=False)[: task["max_tokens"] - 1]
        + end
        for example in examples
    ]
    return Demonstrations(prompts, responses, train["prompts"], max(1, train["iterations"]), seed)
