"""Blocks of what each variant used, and of the settings that it ran with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.block import Block
from benchmarks.compose import has_conf, read_conf
from benchmarks.cost_rows import COUNTS
from benchmarks.plan_results import PlanResults
from benchmarks.rows import find
from benchmarks.wording import NONE

STRENGTHS = {"alpha": "α", "beta": "β"}
"""The field of a method that holds it to its magnet or reference, and its symbol."""


def budget_block(table: pd.DataFrame, results: PlanResults, task: str) -> Block:
    """All budgets and CPU-seconds of every variant: mean of a run over games and seeds.

    Empty for a plan of one variant: there is nothing to compare.
    """
    rows = []
    for variant in results.variants():
        used = {
            name.replace("_", " "): _mean(table, results, task, variant, name) for name in COUNTS
        }
        seconds = _mean(table, results, task, variant, "seconds_cpu")
        if seconds is not None:
            cells = {name: _whole(value) for name, value in used.items()}
            rows.append({"variant": variant, **cells, "CPU-seconds": f"{seconds:,.1f}"})
    frame = pd.DataFrame(rows if len(rows) > 1 else [])
    return Block(f"{task}: what a run used (mean over its games and seeds)", frame)


def _mean(
    table: pd.DataFrame, results: PlanResults, task: str, variant: str, metric: str
) -> float | None:
    found = [find(table, group, variant, metric) for group in results.groups(task)]
    known = [number.value for number in found if number is not None]
    return float(np.mean(known)) if known else None


def _whole(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"


def settings_block(results: PlanResults, task: str) -> Block:
    """Each method's learning rate and strength, and where they come from; experiments only."""
    rows = []
    runs = [run for run in results.runs if run.task == task and run.role == "train"]
    for variant in results.variants() if results.kind == "experiment" else []:
        own = next((run for run in runs if run.variant == variant), None)
        if own is None:
            continue
        fields = [field for field in STRENGTHS if field in own.method]
        words = [f"{STRENGTHS[field]} {own.method[field]:g}" for field in fields]
        keys = ["train.lr", *(f"method.{field}" for field in fields)]
        rows.append(
            {
                "variant": variant,
                "learning rate": f"{own.config['train']['lr']:g}",
                "strength": ", ".join(words) or NONE,
                "set in": set_in(task, own.config, keys),
            }
        )
    return Block(f"{task}: each method's learning rate and strength", pd.DataFrame(rows))


def set_in(task: str, config: dict[str, Any], keys: Sequence[str]) -> str:
    """The files of conf/ that say what the config says of the keys, each key's last one.

    conf/tuned/ holds what `tune` chose. A value that no file says, or that a file says otherwise
    today, is that of the plan's own command.
    """
    method = config["method"]["name"]
    names = [f"task/{task}", f"method/{method}", f"tuned/{task}/{method}"]
    files = [read_conf(name) for name in names if has_conf(name)]
    places = []
    for key in keys:
        said = [file for file in files if key in file.values]
        same = said and said[-1].values[key].value == _value(config, key)
        places.append(said[-1].source if same else f"{key}: the command")
    return ", ".join(dict.fromkeys(places))


def _value(config: dict[str, Any], key: str) -> Any:
    """The config's value of a dotted key; None where it has none."""
    found: Any = config
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found
