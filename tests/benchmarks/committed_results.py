"""Checks of a folder under docs/results against today's schema and today's way of aggregating."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from benchmarks.aggregate import collect
from benchmarks.compose import flatten, given, read_conf
from benchmarks.contests import Panel
from benchmarks.plan_results import PlanResults, read_plan
from benchmarks.rows import COLUMNS, read_table
from benchmarks.schema import METHODS, TASKS
from benchmarks.validate import Known, check_types, known_keys, unknown

OWN = ("seed", "variant", "task.name", "task.kind", "task.game_seed", "method.name")
"""Keys of a run's config that the plan gives it."""
KEY = ["task", "group", "variant", "versus", "metric"]
TOLERANCE = 1e-6


class JudgeNeeded(Exception):
    """A contest is not in the folder."""


def schema_problems(config: dict[str, Any]) -> list[str]:
    """Keys of a run's config that today's schema does not know, or with a value of another type.

    A key that the config lacks is a problem where nothing gives it a default: neither
    conf/base.yaml nor the dataclass.
    """
    task, method = config["task"]["name"], config["method"]["name"]
    if task not in TASKS or method not in METHODS:
        return [f"task {task}, method {method}: not known"]
    known = known_keys(task, method)
    values = given({k: v for k, v in flatten(config).items() if k not in OWN}, "the run's config")
    problems = unknown(values, known.fields, "today's schema")
    problems += check_types(values, known)[1]
    lacking = [key for key in known.fields if key not in values and not has_default(key, known)]
    return problems + [f"{key}: missing, and has no default" for key in lacking]


def has_default(key: str, known: Known) -> bool:
    """Whether conf/base.yaml or the dataclass says a value for the key."""
    schema, name = known.fields[key]
    (field,) = [field for field in fields(schema) if field.name == name]
    in_class = field.default is not MISSING or field.default_factory is not MISSING
    return in_class or key in read_conf("base").values


def config_problems(results: PlanResults) -> Iterator[str]:
    """Problems of every run's config, and runs whose own config.yaml is another."""
    for run in results.runs:
        for problem in schema_problems(run.config):
            yield f"{run.name}: {problem}"
        file = run.folder / "config.yaml"
        if file.is_file() and OmegaConf.to_container(OmegaConf.load(file)) != run.config:
            yield f"{run.name}: config.yaml is not the plan's"


def table_problems(folder: Path) -> list[str]:
    """Where the folder's table.csv is not what its runs give; asks no judge."""
    committed = read_table(folder / "table.csv")
    if list(committed.columns) != COLUMNS:
        return [f"table.csv: columns {list(committed.columns)}, today's are {COLUMNS}"]
    again = collect(read_plan(folder), _no_judge)
    old, new = _by_key(committed), _by_key(again)
    problems = [f"{key}: in table.csv only" for key in old if key not in new]
    problems += [f"{key}: not in table.csv" for key in new if key not in old]
    for key in old:
        for name in ("value", "low", "high", "n", "unit_of_interval", "runs", "seed_values"):
            if key in new and not _same(old[key][name], new[key][name]):
                problems.append(
                    f"{key}: {name} is {old[key][name]}, its runs give {new[key][name]}"
                )
    return problems


def folder_problems(folder: Path) -> list[str]:
    """All problems of a plan's folder. Raises PlanError for a plan that was changed."""
    return [*config_problems(read_plan(folder)), *table_problems(folder)]


def _by_key(table: pd.DataFrame) -> dict[tuple[str, ...], dict[str, Any]]:
    rows = table.to_dict("records")
    found = {tuple(row[name] for name in KEY): row for row in rows}
    assert len(found) == len(rows), "two rows of one key"
    return found


def _same(old: Any, new: Any) -> bool:
    """Equal, numbers within TOLERANCE; seeds' values are `seed=number` words."""
    if isinstance(old, str):
        mine, other = str(old).split(), str(new).split()
        return len(mine) == len(other) and all(map(_same_word, mine, other))
    left, right = float(old), float(new)
    both_missing = math.isnan(left) and math.isnan(right)
    return both_missing or math.isclose(left, right, rel_tol=TOLERANCE, abs_tol=1e-12)


def _same_word(old: str, new: str) -> bool:
    name, _, value = old.partition("=")
    other, _, number = new.partition("=")
    if name != other or bool(value) != bool(number):
        return False
    # Six digits are kept, of which the last may round either way.
    return not value or math.isclose(float(value), float(number), rel_tol=2e-5, abs_tol=1e-12)


def _no_judge() -> Panel:
    raise JudgeNeeded("a contest is not in contests.csv")
