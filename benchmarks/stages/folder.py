"""A stage's folder: whose it is, and whether the stage in it is finished."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from benchmarks.atomic import write_text
from benchmarks.compose import flatten
from benchmarks.stages.schema import SCHEMA

CONFIG, RESULT, MODEL, PAIRS = "config.yaml", "result.json", "model", "pairs.parquet"


def config_hash(config: dict[str, Any], inputs: dict[str, str]) -> str:
    """sha256 of a config and of the content of the files that it names."""
    content = {"schema": SCHEMA, "config": flatten(config), "inputs": inputs}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def input_files(config: dict[str, Any]) -> dict[str, str]:
    """sha256 of each file that the config names as data, by the name it gives it."""
    sources = [config["data"]["source"]]
    if "panel" in config and config["data"]["source"] == "panel":
        sources.append(config["panel"]["prompts"])
    files = {source: Path(source).expanduser() for source in sources}
    return {
        source: hashlib.sha256(file.read_bytes()).hexdigest()
        for source, file in files.items()
        if file.is_file()
    }


def write_config(folder: Path, config: dict[str, Any], inputs: dict[str, str]) -> None:
    """Write config.yaml with its hash. Raises OSError."""
    content = {"hash": config_hash(config, inputs), "inputs": inputs, **config}
    write_text(folder / CONFIG, OmegaConf.to_yaml(OmegaConf.create(content)))


def folder_problems(folder: Path, config: dict[str, Any], inputs: dict[str, str]) -> list[str]:
    """Why a stage cannot run in a folder: it holds another stage's results, or other things."""
    if not folder.exists():
        return []
    if not folder.is_dir():
        return [f"out: got '{folder}', which is no folder; allowed is a new name"]
    if not (folder / CONFIG).is_file():
        if any(folder.iterdir()):
            return [f"out: got '{folder}', which holds other things; allowed is a new name"]
        return []
    try:
        kept = OmegaConf.to_container(OmegaConf.load(folder / CONFIG))
    except Exception as error:  # OmegaConf passes on whatever its YAML reader raises
        first = str(error).splitlines()[0]
        return [f"out: got '{folder}', whose {CONFIG} cannot be read ({first})"]
    if not isinstance(kept, dict) or kept.get("hash") == config_hash(config, inputs):
        return []
    before, now = flatten(kept), flatten({"inputs": inputs, **config})
    differing = [
        f"{key} was {before.get(key)!r}, is {now.get(key)!r}"
        for key in dict.fromkeys([*before, *now])
        if key != "hash" and before.get(key) != now.get(key)
    ]
    return [
        f"out: got '{folder}', which holds a stage with another config; allowed is the same config "
        f"or another folder ({'; '.join(differing[:5])})"
    ]


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished stage; None when it is not finished."""
    file = folder / RESULT
    if not file.is_file():
        return None
    return dict(json.loads(file.read_text(encoding="utf-8")))
