"""Checks what a plan reads from outside its config: prompts, models, demonstrations, device.

Loads no model.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.compose import flatten
from benchmarks.trained_inputs import model_digest, trained_models, trained_problems
from mpo.bundled import BUNDLED_NAME, MissingBundle, bundled_gguf
from mpo.prompts import PromptFileError, load_prompts, split_prompts

_HUB_ID = re.compile(r"[\w-]+(/[\w.-]+)?")


def input_problems(configs: Iterable[dict[str, Any]]) -> list[str]:
    """What is wrong with the inputs and devices of configs given by dotted key.

    Keys that a config lacks, because they were found to be wrong before, are not looked at.
    """
    problems = []
    for values in configs:
        if "task.prompts" in values:
            problems += _prompt_problems(values)
            problems += _model_problems(values.get("model.path", BUNDLED_NAME))
            problems += trained_problems(values)
        problems += _demonstration_problems(values.get("train.demonstrations"))
        problems += _device_problems(values.get("device", "cpu"))
    return list(dict.fromkeys(problems))


def input_hashes(configs: Sequence[dict[str, Any]]) -> dict[str, str]:
    """sha256 of each file and trained model that the nested configs name, by that name."""
    files: set[str] = set()
    models: set[str] = set()
    for config in configs:
        values = flatten(config)
        named = (values.get(key) for key in ("task.prompts", "train.demonstrations"))
        files |= {name for name in named if name is not None}
        if "task.prompts" in values:
            models |= {path for _, path, _ in trained_models(values)}
    # What is no file, such as the corpus of a package, is named by its name alone.
    read = {name: Path(name).expanduser() for name in sorted(files)}
    hashes = {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in read.items()
        if path.is_file()
    }
    return hashes | {path: model_digest(path) for path in sorted(models)}


def _prompt_problems(values: dict[str, Any]) -> list[str]:
    source = values["task.prompts"]
    if not source.strip():
        return []
    counts = _split_sizes(source)
    if isinstance(counts, str):
        return [counts]
    problems = []
    for key, split in (
        ("train.prompts", "train_split"),
        ("train.rounds", "train_split"),
        ("task.eval_prompts", "eval_split"),
    ):
        name = values.get(f"task.{split}")
        wanted = values.get(key)
        if name in counts and wanted is not None and wanted > counts[name]:
            problems.append(
                f"{key}: got {wanted}, allowed is at most {counts[name]}, the {name} prompts of "
                f"{source}"
            )
    return problems


@cache
def _split_sizes(source: str) -> dict[str, int] | str:
    """Prompts in each split of a source, or what is wrong with the source."""
    try:
        splits = split_prompts(load_prompts(source))
    except PromptFileError as error:
        return str(error)
    return {name: len(members) for name, members in splits.items()}


def _model_problems(path: str) -> list[str]:
    if path == BUNDLED_NAME:
        try:
            bundled_gguf()
        except MissingBundle as error:
            return [f"model.path: {error}"]
        return []
    folder = Path(path).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            return [f"model.path: got {path!r}, which has no config.json; allowed is a model's"]
        return []
    if folder.exists() or not _HUB_ID.fullmatch(path):
        return [
            f"model.path: got {path!r}, which is no folder; allowed is {BUNDLED_NAME}, a folder "
            "with a model, or a hub id such as owner/name"
        ]
    return []


@cache
def _demonstration_problems(source: str | None) -> list[str]:
    """What is wrong with the file of demonstrations, its columns included."""
    if source is None or not source.strip():
        return []
    from mpo.training.data import data_problems

    problems = data_problems(source, "examples", held_out=0.0)
    return [f"train.demonstrations: {source}: {problem}" for problem in problems]


def _device_problems(device: str) -> list[str]:
    if not device.startswith("cuda"):
        return []
    import torch

    count = torch.cuda.device_count()
    index = int(device.partition(":")[2] or 0)
    if index < count:
        return []
    found = f"cuda:0 to cuda:{count - 1}" if count else "cpu: no CUDA device was found"
    return [f"device: got {device!r}, allowed is {found}"]
