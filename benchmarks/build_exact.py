"""Builds a run of the exact task: a tiny transformer on an enumerable game."""

from __future__ import annotations

from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.built import Built, Parts, make_module, training_prompts
from benchmarks.evaluate_exact import ExactEvaluation
from benchmarks.schema import make_objective
from mpo.critic import ValueModel
from mpo.data import PromptSet
from mpo.games.bradley_terry_fit import population_reward
from mpo.games.enumerable_lm import EnumerableGame
from mpo.games.zoo import make_game
from mpo.judges.matrix import MatrixGameJudge, MatrixGameReward
from mpo.judges.protocol import Judge
from mpo.policy import Policy
from mpo.rollout import SamplingSettings


def build_exact(run: dict[str, Any], judge: Judge | None) -> Built:
    """The seed decides the transformer's weights and its samples.

    A reward model is the population's: the Bradley-Terry fit to the game's preferences between
    responses of the initial policy. A critic starts as a copy of the initial policy.
    """
    config, seed = run["config"], run["seed"]
    task = config["task"]
    game = make_game(
        task["kind"], task["game_seed"], task["symbols"], task["max_tokens"], task["num_prompts"]
    )
    policy = Policy(tiny_llama(game, task, seed), temperature=config["train"]["temperature"])
    prompts = PromptSet(game.framed_prompts, range(len(game.prompts)), game.prompt_texts)
    sampling = SamplingSettings(seed, game.max_tokens, (game.eos,), game.text)
    evaluation = ExactEvaluation(game, prompts)
    needs = make_objective(config["method"]).needs()
    reward = None
    if needs.rewards:
        fitted = population_reward(game.preferences, evaluation.log_probs(policy).exp())
        reward = MatrixGameReward(game, fitted)
    critic = ValueModel(policy.frozen_copy()) if needs.values else None
    parts = Parts(judge or MatrixGameJudge(game), critic, reward)
    module = make_module(config, policy, sampling, parts)
    # A round has all prompts of the game: they are the population, not a sample to be shared out.
    return Built(module, training_prompts(config, prompts, seed, rounds=1), evaluation)


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
