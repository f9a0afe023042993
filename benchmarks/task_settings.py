"""The settings of the tasks: the `task` section of a run (design.md section 1)."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.rules import COUNT, COUNT_OR_ZERO, SOME_TEXT, Rule, broken, one_of

GAME_KINDS = ("smooth", "first_token", "bradley_terry")
"""Kinds of games, as in mpo.games.zoo.KINDS, repeated here so that --help needs no torch."""


@dataclass(frozen=True)
class ExactTask:
    """A tiny transformer on a preference game whose responses are all enumerated."""

    name: str
    """exact."""
    kind: str
    """smooth | first_token | bradley_terry; task.kinds lists those of the plan."""
    game_seed: int
    """Seed of the game; task.game_seeds lists those of the plan."""
    symbols: int
    """Symbols of the vocabulary, besides the end-of-sequence token."""
    max_tokens: int
    """T, the most tokens a response has."""
    num_prompts: int
    """X, prompts of the game."""
    width: int
    """Hidden width of the transformer."""
    layers: int
    """Blocks of the transformer."""
    heads: int
    """Attention heads; they divide the width."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        found = broken(
            self,
            kind=one_of(*GAME_KINDS),
            game_seed=COUNT_OR_ZERO,
            symbols=Rule(lambda value: value >= 2, "an integer ≥ 2"),
            max_tokens=COUNT,
            num_prompts=COUNT,
            width=COUNT,
            layers=COUNT,
            heads=COUNT,
        )
        # Rotary embeddings rotate pairs of a head's dimensions.
        if self.heads >= 1 and self.width >= 1 and self.width % (2 * self.heads):
            found.append(
                f"heads: got {self.heads}, allowed is a number whose double divides task.width "
                f"({self.width})"
            )
        return found


@dataclass(frozen=True)
class LanguageTask:
    """A real language model on real prompts with a real judge."""

    name: str
    """smollm2."""
    prompts: str
    """chatterbot-corpus, or a file: .jsonl (field prompt or text), .txt, .parquet."""
    system_prompt: str
    """System message of the chat template; empty for none."""
    max_prompt_tokens: int
    """Longest prompt in tokens, chat template included; longer ones are left out."""
    max_tokens: int
    """T, the most tokens a response has."""
    eval_prompts: int
    """Prompts of the final evaluation."""
    eval_responses: int
    """Responses sampled for each of them."""
    eval_split: str
    """evaluation | tuning (while choosing settings): the split that is evaluated."""
    train_split: str
    """training | tuning: the split that is trained on."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        found = broken(
            self,
            prompts=SOME_TEXT,
            max_prompt_tokens=COUNT,
            max_tokens=COUNT,
            eval_prompts=COUNT,
            eval_responses=COUNT,
            eval_split=one_of("evaluation", "tuning"),
            train_split=one_of("training", "tuning"),
        )
        if self.eval_split == self.train_split == "tuning":
            found.append(
                f"eval_split: got {self.eval_split!r}, allowed is another split than "
                "task.train_split: a policy is not evaluated on the prompts it trains on"
            )
        return found
