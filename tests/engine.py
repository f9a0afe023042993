"""A tiny run of the engine for the tests: an enumerable game, a float64 policy, a trainer."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import Strategy
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from mpo.data import Iterations, PromptDataModule, PromptSet
from mpo.demonstrations import Demonstrations
from mpo.games.enumerable_lm import EnumerableGame
from mpo.games.zoo import make_game
from mpo.judges.matrix import MatrixGameJudge
from mpo.module import AlignmentModule, EngineSettings
from mpo.objectives import MPO
from mpo.optimization import OptimizerSettings
from mpo.policy import Policy
from mpo.records import Rollout
from mpo.rollout import SamplingSettings

Weights = dict[str, Tensor]


def tiny_game(prompts: int = 3) -> EnumerableGame:
    """13 responses of 0 to 2 tokens over 3 symbols to `prompts` prompts of different lengths."""
    return make_game("smooth", 0, symbols=3, max_tokens=2, prompts=prompts)


def tiny_policy(
    game: EnumerableGame,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    train_blocks: int | None = None,
    temperature: float = 1.0,
) -> Policy:
    """Two blocks of width 16, far enough from uniform for every token to matter."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=game.vocabulary,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
        initializer_range=0.3,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=game.eos,
        pad_token_id=game.eos,
    )
    return Policy(LlamaForCausalLM(config).eval().to(dtype), train_blocks, temperature)


def tiny_module(
    game: EnumerableGame,
    objective: Any = None,
    *,
    policy: Policy | None = None,
    judge: Any = None,
    critic: nn.Module | None = None,
    reward: Any = None,
    demonstrations: Demonstrations | None = None,
    rounds: int = 1,
    token_budget: int | None = None,
    iterations: int = 4,
    seed: int = 0,
    micro_prompts: int | None = None,
    logits_chunk: int = 2**23,
    step_kl_every: int | None = None,
    **optimizer: Any,
) -> AlignmentModule:
    """The engine on the game; gradients are not clipped unless `clip_norm` is given."""
    settings = EngineSettings(
        iterations,
        OptimizerSettings(**{"lr": 1e-2, "clip_norm": 1e9, **optimizer}),
        micro_prompts=micro_prompts,
        logits_chunk=logits_chunk,
        step_kl_every=step_kl_every,
        rounds=rounds,
        token_budget=token_budget,
    )
    return AlignmentModule(
        tiny_policy(game) if policy is None else policy,
        MPO(responses=4, inner_steps=2) if objective is None else objective,
        MatrixGameJudge(game) if judge is None else judge,
        SamplingSettings(seed, game.max_tokens, (game.eos,), game.text),
        settings,
        critic,
        reward,
        demonstrations,
    )


def prompt_set(game: EnumerableGame) -> PromptSet:
    """All prompts of the game."""
    return PromptSet(game.prompts, range(len(game.prompts)), game.prompt_texts)


def fit(
    module: AlignmentModule,
    game: EnumerableGame,
    *,
    start: int = 0,
    stop: int | None = None,
    callbacks: Sequence[L.Callback] = (),
    strategy: Strategy | str = "auto",
) -> L.Trainer:
    """Train on all prompts of the game an iteration, from iteration `start` to before `stop`."""
    prompts = prompt_set(game)
    end = module.settings.iterations if stop is None else stop
    trainer = quiet_trainer(callbacks, strategy)
    batches = Iterations(prompts, len(prompts), end, seed=0)
    trainer.fit(module, PromptDataModule(batches, start))
    return trainer


def quiet_trainer(
    callbacks: Sequence[L.Callback] = (), strategy: Strategy | str = "auto"
) -> L.Trainer:
    """One epoch on the CPU, without logger, bar or Lightning's own checkpoints."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*module.s. in eval mode.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    return L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=1,
        strategy=strategy,
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


class Steps(L.Callback):
    """What each optimizer step saw: weights before it and gradients, by name, and the rollout."""

    def __init__(self) -> None:
        self.weights: list[Weights] = []
        self.gradients: list[Weights] = []
        self.logged: list[dict[str, float]] = []
        self.rollouts: list[Rollout] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        def look(*_: Any) -> None:
            named = dict(pl_module.named_parameters())
            moving = {n: p for n, p in named.items() if p.requires_grad}
            self.weights.append({n: p.detach().clone() for n, p in moving.items()})
            self.gradients.append(
                {n: p.grad.clone() for n, p in moving.items() if p.grad is not None}
            )

        trainer.optimizers[0].register_step_pre_hook(look)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.logged.append(dict(pl_module.logged))
        self.rollouts.append(pl_module.last_rollout)


class AfterIteration(L.Callback):
    """Keeps what `look(module)` gives before training and after each iteration."""

    def __init__(self, look: Callable[[AlignmentModule], Any]) -> None:
        self.look = look
        self.seen: list[Any] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.seen.append(self.look(pl_module))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.seen.append(self.look(pl_module))


def weights_of(policy: Policy) -> Weights:
    """A copy of the weights that move."""
    return {name: p.detach().clone() for name, p in policy.moving_parameters()}


def same_bits(left: Weights, right: Weights) -> bool:
    """True when both have the same names and the same bits."""
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def model_with(policy: Policy, weights: Weights) -> Any:
    """A transformers model of its own, with weights that `Steps` kept."""
    model = copy.deepcopy(policy.model)
    own = {
        n.removeprefix("policy.model."): w for n, w in weights.items() if n.startswith("policy.")
    }
    model.load_state_dict(own, strict=False)
    return model.requires_grad_(True)


def token_logprobs(model: Any, rollout: Rollout, temperature: float = 1.0) -> list[list[Tensor]]:
    """log π(y_t | s_t), one (T_i,) a response, each response in a forward pass of its own."""
    table = []
    for x, length in enumerate(rollout.prompts.lengths.tolist()):
        prompt = rollout.prompts.ids[x, :length]
        row = []
        for i in range(rollout.responses.ids.shape[1]):
            reply = rollout.responses.ids[x, i, : int(rollout.responses.lengths[x, i])]
            logits = model(input_ids=torch.cat([prompt, reply])[None]).logits[0]
            scores = torch.log_softmax(logits[length - 1 : -1] / temperature, -1)
            row.append(scores[torch.arange(len(reply)), reply])
        table.append(row)
    return table
