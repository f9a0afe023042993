"""Checks what a plan reads from outside its config: prompts, model, device. Loads no model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.compose import flatten
from mpo.bundled import BUNDLED_NAME, MissingBundle, bundled_gguf
from mpo.prompts import CORPUS_NAME, PromptFileError, load_prompts, split_prompts

_HUB_ID = re.compile(r"[\w-]+(/[\w.-]+)?")


def input_problems(configs: Iterable[dict[str, Any]]) -> list[str]:
    """What is wrong with the prompts, models and devices of configs given by dotted key.

    Keys that a config lacks, because they were found to be wrong before, are not looked at.
    """
    problems = []
    for values in configs:
        if "task.prompts" in values:
            problems += _prompt_problems(values)
            problems += _model_problems(values.get("model.path", BUNDLED_NAME))
        problems += _device_problems(values.get("device", "cpu"))
    return list(dict.fromkeys(problems))


def input_hashes(configs: Sequence[dict[str, Any]]) -> dict[str, str]:
    """sha256 of each prompts file that the nested configs name, by the name they give it."""
    sources = {flatten(config).get("task.prompts", CORPUS_NAME) for config in configs}
    return {
        source: hashlib.sha256(Path(source).expanduser().read_bytes()).hexdigest()
        for source in sorted(sources)
        if source != CORPUS_NAME
    }


def _prompt_problems(values: dict[str, Any]) -> list[str]:
    source = values["task.prompts"]
    if not source.strip():
        return []
    counts = _split_sizes(source)
    if isinstance(counts, str):
        return [counts]
    problems = []
    for key, split in (("train.prompts", "train_split"), ("task.eval_prompts", "eval_split")):
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
