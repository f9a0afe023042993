"""The folder of work that one config makes: a stage's, or that of an experiment on games."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from benchmarks.atomic import write_text
from benchmarks.compose import flatten

CONFIG, RESULT = "config.yaml", "result.json"

Config = dict[str, Any]
"""A resolved config, nested."""


class ConfigFolder(NamedTuple):
    """Whose a folder is. `inputs` is the sha256 of each file that the config names."""

    word: str
    """What makes such folders: the word for it in what is said about them."""
    schema: int
    """Version of its config.yaml and result.json."""

    def hash(self, config: Config, inputs: dict[str, str]) -> str:
        """sha256 of a config and of the content of the files that it names."""
        content = {"schema": self.schema, "config": flatten(config), "inputs": inputs}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def write(self, folder: Path, config: Config, inputs: dict[str, str]) -> None:
        """Write config.yaml with its hash. Raises OSError."""
        content = {"hash": self.hash(config, inputs), "inputs": inputs, **config}
        write_text(folder / CONFIG, OmegaConf.to_yaml(OmegaConf.create(content)))

    def problems(self, folder: Path, config: Config, inputs: dict[str, str]) -> list[str]:
        """Why the work cannot be done in a folder: it holds another's results, or other things."""
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
        if not isinstance(kept, dict) or kept.get("hash") == self.hash(config, inputs):
            return []
        before, now = flatten(kept), flatten({"inputs": inputs, **config})
        differing = [
            f"{key} was {before.get(key)!r}, is {now.get(key)!r}"
            for key in dict.fromkeys([*before, *now])
            if key != "hash" and before.get(key) != now.get(key)
        ]
        return [
            f"out: got '{folder}', which holds {self.word} with another config; allowed is the "
            f"same config or another folder ({'; '.join(differing[:5])})"
        ]


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of finished work; None when it is not finished."""
    file = folder / RESULT
    if not file.is_file():
        return None
    return dict(json.loads(file.read_text(encoding="utf-8")))
