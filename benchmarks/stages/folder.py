"""A stage's folder: its names, and the files that its config names."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from benchmarks.config_folder import ConfigFolder
from benchmarks.stages.schema import SCHEMA

MODEL, PAIRS = "model", "pairs.parquet"

STAGE_FOLDER = ConfigFolder("a stage", SCHEMA)


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
