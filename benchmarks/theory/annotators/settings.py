"""The settings of `experiment=annotators`; the values are in conf/experiment/annotators.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.rules import (
    COUNT,
    COUNT_OR_ZERO,
    POSITIVE,
    SOME_TEXT,
    TEXT_OR_NONE,
    Rule,
    broken,
    one_of,
)


@dataclass(frozen=True)
class Annotators:
    """What is played on the games, and how long."""

    calls: int
    """Oracle calls a method has on each game: evaluations of P π."""
    seed: int
    """Of the sampled responses."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        return broken(self, calls=COUNT, seed=COUNT_OR_ZERO)


@dataclass(frozen=True)
class SampledModel:
    """The model whose responses are compared."""

    path: str
    """smollm2 (bundled), a folder with a model, or a hub id."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        return broken(self, path=SOME_TEXT)


@dataclass(frozen=True)
class Sample:
    """The prompts, and the responses that become the actions of their games."""

    prompts: str
    """chatterbot-corpus, or a file: .jsonl (field prompt or text), .txt, .parquet."""
    split: str
    """training | tuning | evaluation: the split of the prompts."""
    count: int
    """Prompts, a game each; which of the split, a hash of their texts says."""
    system_prompt: str
    """System message of the chat template; empty for none."""
    max_prompt_tokens: int
    """Longest prompt in tokens, chat template included; longer ones are left out."""
    responses: int
    """n, responses sampled for each prompt; identical ones count once."""
    max_tokens: int
    """The most tokens a response has."""
    temperature: float
    """Temperature of the sampling."""
    file: str | None
    """Parquet file that keeps responses and votes, so that other methods need no model time; null:
    games.parquet in the experiment's folder."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        return broken(
            self,
            prompts=SOME_TEXT,
            split=one_of("training", "tuning", "evaluation"),
            count=COUNT,
            max_prompt_tokens=COUNT,
            responses=Rule(lambda value: value >= 3, "an integer ≥ 3: a cycle needs three"),
            max_tokens=COUNT,
            temperature=POSITIVE,
            file=TEXT_OR_NONE,
        )
