"""The command line at its smallest, for the tests: an exact plan of seconds."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.compose import read_command_line
from benchmarks.plan import make_plan

ROOT = Path(__file__).resolve().parents[2]
EXACT: dict[str, Any] = {
    "ablation": "fixed_ref",
    "task": "exact",
    "task.kinds": "[smooth]",
    "task.game_seeds": "[0]",
    "task.symbols": 3,
    "task.max_tokens": 2,
    "task.width": 16,
    "task.layers": 1,
    "task.heads": 2,
    "seeds": 1,
    "train.iterations": 8,
    "train.eval_every": 2,
    "train.checkpoint_every": 2,
    "method.responses": 6,
    "method.inner_steps": 2,
    "method.magnet_interval": 3,
    "jobs": 2,
    "progress": "plain",
}
"""Two runs, moving and fixed, on a game of 13 responses."""


def words(out: Path, values: dict[str, Any]) -> list[str]:
    """The command's arguments."""
    return [f"{key}={value}" for key, value in {**values, "out": out}.items()]


def popen(out: Path, values: dict[str, Any]) -> subprocess.Popen[str]:
    """Start the command in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "benchmarks/run.py", *words(out, values)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], timeout: float = 240) -> str:
    """Wait for the command, which must succeed; what it printed."""
    said, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, said
    return said


def planned_runs(out: Path, values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The plan's runs by variant, without executing anything."""
    arguments = words(out, values)
    plan, _ = make_plan(read_command_line(arguments), arguments)
    return {run["variant"]: run for run in plan["runs"]}


def curve(folder: Path) -> list[dict[str, str]]:
    """Rows of a run's curves.csv, as text, without the seconds that they took."""
    with open(folder / "curves.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def result(folder: Path) -> dict[str, Any]:
    """A run's result.json."""
    return dict(json.loads((folder / "result.json").read_text(encoding="utf-8")))


def outcome(folder: Path) -> dict[str, Any]:
    """Everything of a run that must not depend on how often it was stopped."""
    found = result(folder)
    samples = (folder / "samples.jsonl").read_text(encoding="utf-8")
    return {
        "metrics": found["metrics"],
        "counts": found["counts"],
        "curve": curve(folder),
        "samples": samples,
    }
