"""The settings of a stage: names, types, units and allowed values. The values are in conf/stage/.

A section is a frozen dataclass; OmegaConf checks the types, `problems()` the rest.
"""

from __future__ import annotations

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
    Rule,
    broken,
    one_of,
)
from benchmarks.schema import Model, Strategy
from benchmarks.single_config import places

SCHEMA = 1
"""Version of a stage's config.yaml and result.json."""


@dataclass(frozen=True)
class Machine:
    """Settings that belong to no section; they stand at the top of the config."""

    seed: int
    """Of the order of the records, and of a new head's weights."""
    threads: int
    """Torch threads; part of the config, because sums depend on it."""
    device: str
    """cpu | cuda | cuda:N."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        return broken(self, seed=COUNT_OR_ZERO, threads=COUNT, device=DEVICE)


@dataclass(frozen=True)
class Data:
    """What is trained on."""

    source: str
    """A name below, a file (.jsonl, .parquet), or what the library `datasets` finds by name, with
    :split after it. Also as `data=…`."""
    held_out: float
    """Share of the groups (conversations, prompts) that is held out; a source that brings its own
    split ignores it."""
    max_records: int | None
    """Records that train, drawn by the seed; null: all."""
    max_held_out: int | None
    """Records that are held out, drawn by the seed; null: all."""
    system_prompt: str
    """System message of the chat template; empty for none."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        share = Rule(lambda value: 0 <= value < 1, "a number in [0, 1)")
        return broken(
            self,
            source=SOME_TEXT,
            held_out=share,
            max_records=COUNT_OR_NONE,
            max_held_out=COUNT_OR_NONE,
        )


@dataclass(frozen=True)
class Train:
    """The optimizer and the sizes of a step."""

    epochs: int
    """Passes over the records."""
    batch_size: int
    """Records an optimizer step."""
    width: int
    """Longest sequence in tokens, and the length of a packed row; what is longer is left out."""
    packing: bool
    """Several sequences a row, none of which sees another: less time, the same numbers."""
    micro_rows: int | None
    """Rows a micro-batch (gradient accumulation); null: the whole step at once."""
    gradient_checkpointing: bool
    """Recompute activations in the backward pass: less memory, more time."""
    lr: float
    """Learning rate of AdamW."""
    head_lr: float | None
    """Learning rate of a new head; null: train.lr."""
    betas: list[float]
    """AdamW's two betas."""
    weight_decay: float
    """AdamW's weight decay."""
    schedule: str
    """cosine (to 0) | constant: the learning rate after the warm-up."""
    warmup: float
    """Linear warm-up: optimizer steps, or below 1 the share of all steps."""
    clip_norm: float
    """Largest norm of the gradient."""
    eval_every: int
    """Optimizer steps between two held-out losses."""
    logits_chunk: int
    """Logits (positions × vocabulary) held at once."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        whole_or_share = Rule(
            lambda value: 0 <= value < 1 or value == int(value) > 0,
            "a share in [0, 1), or an integer ≥ 1",
        )
        positive_or_none = Rule(
            lambda value: value is None or POSITIVE.holds(value), f"{POSITIVE.words}, or null"
        )
        return broken(
            self,
            epochs=COUNT,
            batch_size=COUNT,
            width=COUNT,
            micro_rows=COUNT_OR_NONE,
            lr=POSITIVE,
            head_lr=positive_or_none,
            betas=BETAS,
            weight_decay=NOT_NEGATIVE,
            schedule=one_of("cosine", "constant"),
            warmup=whole_or_share,
            clip_norm=POSITIVE,
            eval_every=COUNT,
            logits_chunk=COUNT,
        )


@dataclass(frozen=True)
class Panel:
    """Pairs that a panel of annotators labels, for data=panel; nothing else reads them."""

    prompts: str
    """chatterbot-corpus, or a file: .jsonl (field prompt or text), .txt, .parquet."""
    train_prompts: int
    """Prompts of the source's training split that are sampled for."""
    held_out_prompts: int
    """Prompts of its tuning split that are sampled for; the evaluation split stays unseen."""
    max_prompt_tokens: int
    """Longest prompt in tokens, chat template included; longer ones are left out."""
    responses: int
    """Responses sampled for each prompt; every pair of them is compared."""
    max_tokens: int
    """The most tokens a response has."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        return broken(
            self,
            prompts=SOME_TEXT,
            train_prompts=COUNT,
            held_out_prompts=COUNT,
            max_prompt_tokens=COUNT,
            responses=Rule(lambda value: value >= 2, "an integer ≥ 2"),
            max_tokens=COUNT,
        )


@dataclass(frozen=True)
class Preference:
    """The form of a preference model."""

    form: str
    """next_token (A or B by the next token of a template) | scalar (a head on both responses)."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        return broken(self, form=one_of("next_token", "scalar"))


SHARED: dict[str, type[Any]] = {
    "": Machine,
    "data": Data,
    "train": Train,
    "model": Model,
    "strategy": Strategy,
}
SECTIONS: dict[str, dict[str, type[Any]]] = {
    "sft": SHARED,
    "reward": {**SHARED, "panel": Panel},
    "preference": {**SHARED, "panel": Panel, "preference": Preference},
}
"""Name of a stage to its sections; "" is the top of the config."""


def field_places(stage: str) -> dict[str, tuple[type[Any], str]]:
    """The keys of a stage, each with its dataclass and field."""
    return places({section: [schema] for section, schema in SECTIONS[stage].items()})
