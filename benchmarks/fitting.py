"""The sections of a config that has all its values, and what does not fit between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from benchmarks.schema import SECTIONS, TASKS, Machine, method_class
from benchmarks.trained_inputs import KINDS

if TYPE_CHECKING:  # --help needs no torch
    from mpo.objectives.protocol import Needs

JUDGES = {
    "exact": ("matrix",),
    "smollm2": ("annotators", "preference_model", "reward_model"),
}
"""Which judges can judge the responses of a task."""

_NO_GAME = {"task.kind": "smooth", "task.game_seed": 0}
"""For the check of a config that is not yet expanded into games."""


def sections_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The dataclasses of a config given by dotted key; "" is the top."""
    schemas: dict[str, type[Any]] = {
        "": Machine,
        "task": TASKS[values["task.name"]],
        **SECTIONS,
        "method": method_class(values["method.name"]),
    }
    return {
        name: _section({**_NO_GAME, **values}, name, schema) for name, schema in schemas.items()
    }


def needs_of(sections: Mapping[str, Any]) -> Needs | None:
    """What the method needs; None when its settings are wrong."""
    method = sections["method"]
    needs: Needs | None = None if method.problems() else method.needs()
    return needs


def size_problems(values: Mapping[str, Any]) -> list[str]:
    """Sizes of an iteration that do not fit each other."""
    found = []
    prompts, micro = values["train.prompts"], values["train.micro_prompts"]
    iterations, rounds = values["train.iterations"], values["train.rounds"]
    # The same prompt twice in an iteration would draw the same random numbers twice.
    if values["task.name"] == "exact" and prompts > values["task.num_prompts"]:
        found.append(
            f"train.prompts: got {prompts}, allowed is at most task.num_prompts "
            f"({values['task.num_prompts']})"
        )
    if micro is not None and micro > prompts:
        found.append(
            f"train.micro_prompts: got {micro}, allowed is at most train.prompts ({prompts}), or "
            "null"
        )
    if 0 < iterations < rounds:
        found.append(
            f"train.rounds: got {rounds}, allowed is at most the run's iterations ({iterations})"
        )
    return found


def judge_problems(values: Mapping[str, Any]) -> list[str]:
    """A judge that does not fit the task, or lacks its model."""
    task, name, path = values["task.name"], values["judge.name"], values["judge.path"]
    every = {judge for judges in JUDGES.values() for judge in judges}
    # What is no judge at all was reported by the section.
    if name in every and name not in JUDGES[task]:
        return [f"judge.name: got {name!r}, allowed is {' | '.join(JUDGES[task])} on this task"]
    if name in KINDS and path is None:
        return [
            f"judge.path: got None, allowed is the folder of a trained {name}; train one with "
            f"`python benchmarks/run.py stage {KINDS[name]} out=DIR`, then judge.path=DIR/model"
        ]
    if name in JUDGES[task] and name not in KINDS and path is not None and task != "exact":
        return [
            f"judge.path: got {path!r}, which judge {name} does not read; allowed is null, or "
            f"judge={' | '.join(KINDS)}"
        ]
    return []


def need_problems(values: Mapping[str, Any], needs: Needs) -> list[str]:
    """What the method needs and the config does not have."""
    found = []
    # An exact game has its own reward: the Bradley-Terry fit of its preferences.
    if needs.rewards and values["reward.path"] is None and values["task.name"] != "exact":
        found.append(
            "reward.path: got None, allowed is the folder of a trained reward model, which the "
            "method needs; train one with `python benchmarks/run.py stage reward out=DIR`, then "
            "reward.path=DIR/model"
        )
    if needs.demonstrations and values["train.demonstrations"] is None:
        found.append(
            "train.demonstrations: got None, allowed is a JSONL or Parquet file with prompt and "
            "response, which the method needs at these settings"
        )
    return found


def _section(values: Mapping[str, Any], name: str, schema: type[Any]) -> Any:
    prefix = f"{name}." if name else ""
    names = {field.name for field in fields(schema)}
    return schema(**{field: values[f"{prefix}{field}"] for field in names})
