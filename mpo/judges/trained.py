"""The folder of a trained reward or preference model.

weights.safetensors holds the backbone's moving weights and the head, about.json what is needed to
load them and what is known about them:

    schema, kind, model (the base model's path), train_blocks, system_prompt, template_sha256,
    tokenizer_sha256, max_tokens, form (preference models), probe, and what the caller adds.

`probe` is the saved model's answer to a fixed question. It is asked again at loading: with another
base model under the same path the frozen weights would be others, and all answers quietly wrong.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mpo.bundled import load_causal_model
from mpo.chat import ChatFormat
from mpo.judges.fit import fit_problems, template_sha256, tokenizer_sha256
from mpo.policy import Policy

SCHEMA = 1
WEIGHTS, ABOUT = "weights.safetensors", "about.json"
ASIDE = ".aside-"
"""How the name of a folder that is still being written begins."""
PROBE = ("What is rain?", "Water that falls from clouds.", "I do not know.")
"""A prompt and two responses."""
PROBE_TOLERANCE = 1e-3
"""Largest relative difference of the probe's answer: kernels differ less, base models more."""


class TrainedModelError(ValueError):
    """A folder that holds no usable model of the wanted kind; the message names what differs."""


class Trained(Protocol):
    """What is saved: a backbone, how it reads text, and its head where it has one."""

    policy: Policy
    chat: ChatFormat
    max_tokens: int

    @property
    def head(self) -> nn.Linear | None:
        """What reads the last hidden state, where it is not the language model's own head."""
        ...


def save_trained(
    model: Trained, folder: Path, about: Mapping[str, Any], kind: str, probe: float
) -> None:
    """Write the folder, aside and renamed; an earlier model there is replaced.

    `about` holds at least `model`, the base model's path as load_causal_model takes it. Raises
    TrainedModelError without it, for a field that is not the caller's, and when `folder` holds
    something else.
    """
    mine = {
        "schema": SCHEMA,
        "kind": kind,
        "train_blocks": model.policy.train_blocks,
        "system_prompt": model.chat.system[0]["content"] if model.chat.system else "",
        "template_sha256": template_sha256(model.chat.tokenizer),
        "tokenizer_sha256": tokenizer_sha256(model.chat.tokenizer),
        "max_tokens": model.max_tokens,
        "probe": probe,
    }
    if "model" not in about or (taken := sorted(mine.keys() & about.keys())):
        wrong = "no `model`" if "model" not in about else str(taken)
        raise TrainedModelError(
            f"about: got {wrong}, allowed is the base model's path as `model` and any field but "
            f"{sorted(mine)}"
        )
    if folder.exists() and not (folder / ABOUT).is_file():
        raise TrainedModelError(f"folder: got {folder} with other things, allowed is a new name")
    aside = folder.with_name(f"{ASIDE}{os.getpid()}-{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        weights = {name: p.data.cpu().contiguous() for name, p in _weights(model).items()}
        save_file(weights, aside / WEIGHTS)
        text = json.dumps({**mine, **about}, indent=1, allow_nan=False, ensure_ascii=False)
        (aside / ABOUT).write_text(f"{text}\n", encoding="utf-8")
        for name in (WEIGHTS, ABOUT):
            with open(aside / name, "rb") as file:
                os.fsync(file.fileno())
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def read_about(folder: Path, kind: str) -> dict[str, Any]:
    """about.json of a `kind` ("reward", "preference") of model. Loads no weights.

    Raises TrainedModelError when the folder is missing or another kind's.
    """
    missing = [name for name in (ABOUT, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise TrainedModelError(
            f"path: got '{folder}', which lacks {' and '.join(missing)}, allowed is the folder of "
            f"a trained {kind} model"
        )
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrainedModelError(f"path: got '{folder}', whose {ABOUT} is no JSON") from error
    for field, wanted in (("schema", SCHEMA), ("kind", kind)):
        got = about.get(field) if isinstance(about, dict) else None
        if got != wanted:
            raise TrainedModelError(
                f"path: got '{folder}' with {field} {got!r}, allowed is {wanted!r}"
            )
    return dict(about)


def load_base(about: Mapping[str, Any]) -> tuple[Policy, ChatFormat]:
    """The base model and chat format of an about.json.

    Raises ModelNotFound, and TrainedModelError when tokenizer or template changed since.
    """
    model, tokenizer = load_causal_model(about["model"])
    if problems := fit_problems(about, tokenizer, about["system_prompt"]):
        raise TrainedModelError(f"model: '{about['model']}' has changed: {'; '.join(problems)}")
    return Policy(model, about["train_blocks"]), ChatFormat(tokenizer, about["system_prompt"])


@torch.no_grad()
def load_weights(model: Trained, folder: Path) -> None:
    """Put the saved weights into a model on its base. Raises TrainedModelError for another's."""
    saved, mine = load_file(folder / WEIGHTS), _weights(model)
    for name in sorted(saved.keys() | mine.keys()):
        shapes = [tuple(each[name].shape) if name in each else None for each in (saved, mine)]
        if shapes[0] != shapes[1]:
            raise TrainedModelError(
                f"path: '{folder}' has {name} of shape {shapes[0]}, its base model allows "
                f"{shapes[1]}"
            )
    for name, parameter in mine.items():
        parameter.copy_(saved[name])


def check_probe(answer: float, about: Mapping[str, Any], folder: Path) -> None:
    """Raise TrainedModelError when the loaded model answers otherwise than the saved one."""
    saved = about["probe"]
    if not math.isclose(answer, saved, rel_tol=PROBE_TOLERANCE, abs_tol=PROBE_TOLERANCE):
        raise TrainedModelError(
            f"model: the base model '{about['model']}' is not the one that '{folder}' was trained "
            f"on: its answer to a fixed question is {answer:.6g}, it was {saved:.6g}"
        )


def _weights(model: Trained) -> dict[str, Tensor]:
    head = {} if model.head is None else dict(model.head.named_parameters())
    return {
        **{f"policy/{name}": parameter for name, parameter in model.policy.moving_parameters()},
        **{f"head/{name}": parameter for name, parameter in head.items()},
    }
