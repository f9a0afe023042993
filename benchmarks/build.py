"""From a run's resolved config to the objects that the engine runs."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.evaluate import Evaluation
from benchmarks.evaluate_exact import ExactEvaluation
from benchmarks.evaluate_language import LanguageEvaluation
from benchmarks.schema import make_objective
from mpo.bundled import load_causal_model
from mpo.chat import ChatFormat
from mpo.data import Iterations, PromptSet
from mpo.games.enumerable_lm import EnumerableGame
from mpo.games.zoo import make_game
from mpo.judges.annotators import AnnotatorPanel
from mpo.judges.matrix import MatrixGameJudge
from mpo.judges.protocol import Judge
from mpo.module import AlignmentModule, EngineSettings
from mpo.optimization import OptimizerSettings
from mpo.policy import Policy
from mpo.prompts import Prompt, load_prompts, split_prompts
from mpo.rollout import SamplingSettings


@dataclass(frozen=True)
class Built:
    """A run, ready to start."""

    module: AlignmentModule
    iterations: Iterations | None
    """The training prompts by iteration; None for a run that only evaluates."""
    evaluation: Evaluation


def build(run: dict[str, Any], judge: Judge | None = None) -> Built:
    """The run of an entry of the plan, under its config's judge or one of the caller's own."""
    return TASKS[run["task"]](run, judge)


def build_exact(run: dict[str, Any], judge: Judge | None) -> Built:
    """A tiny transformer on an enumerable game; the seed decides its weights and its samples."""
    config, seed = run["config"], run["seed"]
    task = config["task"]
    game = make_game(
        task["kind"], task["game_seed"], task["symbols"], task["max_tokens"], task["num_prompts"]
    )
    policy = Policy(tiny_llama(game, task, seed), temperature=config["train"]["temperature"])
    if config["train"]["gradient_checkpointing"]:
        policy.enable_gradient_checkpointing()
    prompts = PromptSet(game.prompts, range(len(game.prompts)), game.prompt_texts)
    sampling = SamplingSettings(seed, game.max_tokens, (game.eos,), game.text)
    module = make_module(config, policy, judge or MatrixGameJudge(game), sampling)
    return Built(module, training_prompts(config, prompts, seed), ExactEvaluation(game, prompts))


def tiny_llama(game: EnumerableGame, task: dict[str, Any], seed: int) -> LlamaForCausalLM:
    """A Llama whose vocabulary is the game's; its end token pads, as in real tokenizers."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=game.vocabulary,
        hidden_size=task["width"],
        intermediate_size=2 * task["width"],
        num_hidden_layers=task["layers"],
        num_attention_heads=task["heads"],
        num_key_value_heads=task["heads"],
        max_position_embeddings=64,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=game.eos,
        pad_token_id=game.eos,
    )
    return LlamaForCausalLM(config).eval()


def build_language(run: dict[str, Any], judge: Judge | None) -> Built:
    """A real model on real prompts; the seed decides the order of prompts and the samples."""
    config, seed = run["config"], run["seed"]
    task, train = config["task"], config["train"]
    model, tokenizer = load_causal_model(config["model"]["path"])
    policy = Policy(model, config["model"]["train_blocks"], train["temperature"])
    if train["gradient_checkpointing"]:
        policy.enable_gradient_checkpointing()
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
    module = make_module(config, policy, judge or AnnotatorPanel(), sampling)
    evaluation = LanguageEvaluation(
        chosen["eval"].first(task["eval_prompts"]),
        task["eval_responses"],
        zlib.crc32(run["name"].encode()),
    )
    return Built(module, training_prompts(config, chosen["train"], seed), evaluation)


def training_prompts(config: dict[str, Any], prompts: PromptSet, seed: int) -> Iterations | None:
    """The prompts by iteration; None for a run of no iterations."""
    train = config["train"]
    if not train["iterations"]:
        return None
    return Iterations(prompts, train["prompts"], train["iterations"], seed)


def prompt_set(chat: ChatFormat, prompts: list[Prompt], longest: int) -> PromptSet:
    """The prompts in the chat format, without those of more than `longest` tokens."""
    tokenised = [(chat.encode(prompt.text), prompt) for prompt in prompts]
    kept = [(ids, prompt) for ids, prompt in tokenised if len(ids) <= longest]
    return PromptSet(
        [ids for ids, _ in kept],
        [prompt.id for _, prompt in kept],
        [prompt.text for _, prompt in kept],
    )


def make_module(
    config: dict[str, Any], policy: Policy, judge: Judge, sampling: SamplingSettings
) -> AlignmentModule:
    """The engine under the config's objective."""
    train = config["train"]
    optimizer = OptimizerSettings(
        lr=train["lr"],
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
    )
    return AlignmentModule(policy, make_objective(config["method"]), judge, sampling, settings)


TASKS = {"exact": build_exact, "smollm2": build_language}
"""Name of a task to its builder."""
