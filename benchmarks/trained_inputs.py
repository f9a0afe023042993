"""Checks the folders of trained reward and preference models that a plan reads. Loads no weights.

A model that was trained under another tokenizer, chat template or system prompt than the policy's
would give quietly wrong answers: it is refused before anything runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpo.bundled import BUNDLED_NAME, MissingBundle, smollm2_folder

if TYPE_CHECKING:  # transformers takes seconds to import, and most plans read no trained model
    from transformers import PreTrainedTokenizerBase

KINDS = {"preference_model": "preference", "reward_model": "reward"}
"""Name of a judge to the kind of model in its folder, and to the stage that trains it."""


def trained_models(values: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
    """Key, path and kind of each trained model that a config given by dotted key names."""
    if path := values.get("reward.path"):
        yield "reward.path", path, "reward"
    if (path := values.get("judge.path")) and values.get("judge.name") in KINDS:
        yield "judge.path", path, KINDS[values["judge.name"]]


def trained_problems(values: Mapping[str, Any]) -> list[str]:
    """What is wrong with the trained models, and where they do not fit the policy's text."""
    problems = []
    for key, path, kind in trained_models(values):
        found = _folder_problems(
            path, kind, values.get("model.path", BUNDLED_NAME), values.get("task.system_prompt", "")
        )
        problems += [f"{key}: {problem}" for problem in found]
    return problems


def model_digest(path: str) -> str:
    """sha256 over the files of a trained model's folder."""
    from mpo.judges.trained import ABOUT, WEIGHTS

    digest = hashlib.sha256()
    for name in (ABOUT, WEIGHTS):
        with open(Path(path).expanduser() / name, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


@cache
def _folder_problems(path: str, kind: str, model: str, system_prompt: str) -> list[str]:
    from mpo.judges.fit import fit_problems
    from mpo.judges.trained import TrainedModelError, read_about

    try:
        about = read_about(Path(path).expanduser(), kind)
    except TrainedModelError as error:
        return [str(error).removeprefix("path: ")]
    tokenizer = _tokenizer(model)
    return fit_problems(about, tokenizer, system_prompt) if tokenizer else []


@cache
def _tokenizer(model: str) -> PreTrainedTokenizerBase | None:
    """The policy's tokenizer; None where model.path is wrong, which is reported by itself."""
    from transformers import AutoTokenizer

    try:
        folder = smollm2_folder() if model == BUNDLED_NAME else Path(model).expanduser()
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder if folder.is_dir() else model
        )
    except (MissingBundle, OSError, ValueError):
        return None
    return tokenizer
