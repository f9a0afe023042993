"""Checks values against the schema: unknown keys, types, allowed values, all mistakes together."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmarks.budgets import UNITS
from benchmarks.compose import COMMAND_LINE, PLAN_KEYS, Given, Values, nearest
from benchmarks.schema import SECTIONS, TASKS, Machine, method_class
from benchmarks.task_settings import GAME_KINDS

NEVER = "never"
"""The word for a null `method.magnet_interval`."""

NO_BUDGET = "none"
"""The word for a null `budget`."""

_CHOSEN = ("task.name", "task.kind", "task.game_seed", "method.name")
"""Fields of the schema that are set by choosing a file or by the plan, never by key."""


class Known(NamedTuple):
    """The keys that a task and a method know, each with its dataclass and field."""

    fields: dict[str, tuple[type[Any], str]]
    plan: tuple[str, ...]

    def settable(self) -> list[str]:
        """All keys that may be set."""
        return [*self.fields, *self.plan]


def known_keys(task: str, method: str) -> Known:
    """The keys of a task and a method. Imports the method's class."""
    sections = {"task": TASKS[task], "method": method_class(method), **SECTIONS}
    known = {field.name: (Machine, field.name) for field in fields(Machine)}
    for section, schema in sections.items():
        for field in fields(schema):
            known[f"{section}.{field.name}"] = (schema, field.name)
    plan_keys = [key for key in PLAN_KEYS if task == "exact" or not key.startswith("task.")]
    settable = {key: place for key, place in known.items() if key not in _CHOSEN}
    return Known(settable, tuple(plan_keys))


def check_types(values: Values, known: Known) -> tuple[dict[str, Any], list[str]]:
    """Convert each known value to its field's type; plan keys have checks of their own.

    Returns the converted values and every value that does not fit, as
    'key: got …, allowed is …'. Keys that are not known are left out.
    """
    typed: dict[str, Any] = {}
    problems: list[str] = []
    for key, entry in values.items():
        try:
            if key in known.plan:
                typed[key] = _PLAN_CHECKS[key](entry.value)
            elif key in known.fields:
                typed[key] = _convert(*known.fields[key], entry.value)
        except ValueError as error:
            where = "" if entry.source == COMMAND_LINE else f" (in {entry.source})"
            problems.append(f"{key}: {error}{where}")
    return typed, problems


def unknown(values: Values, known: Iterable[str], where: str) -> list[str]:
    """Every key of `values` that is not known, with the nearest that is."""
    names = list(known)
    return [
        f"{key}: unknown key{_location(entry)}, allowed is a key of {where}{nearest(key, names)}"
        for key, entry in values.items()
        if key not in names
    ]


def section_problems(sections: dict[str, Any]) -> list[str]:
    """The problems() of each section, the field with its section's name before it.

    `sections` maps a section's name to an instance of its dataclass; "" is the top of the config.
    """
    return [
        f"{name}.{problem}" if name else problem
        for name, section in sections.items()
        for problem in section.problems()
    ]


def _location(entry: Given) -> str:
    return "" if entry.source == COMMAND_LINE else f" in {entry.source}"


def _convert(schema: Any, field: str, value: Any) -> Any:
    hint = typing.get_type_hints(schema)[field]
    if field == "magnet_interval" and value == NEVER:
        value = None
    mistaken = ValueError(f"got {value!r}, allowed is {_words(hint)}")
    # OmegaConf reads 3 as true and 'yes' as true: a typing error rather than a wish.
    if hint is bool and not isinstance(value, bool):
        raise mistaken
    # OmegaConf writes any number as text.
    if hint is str and not isinstance(value, str):
        raise mistaken
    section = _structured(schema)
    try:
        OmegaConf.update(section, field, value)
    except OmegaConfBaseException as error:
        raise mistaken from error
    container = OmegaConf.to_container(section)
    assert isinstance(container, dict)
    converted = container[field]
    if isinstance(converted, float) and not math.isfinite(converted):
        raise mistaken
    return converted


@cache
def _structured(schema: type[Any]) -> DictConfig:
    """A dataclass as OmegaConf's schema; values are assigned to it one by one to be converted."""
    section = OmegaConf.structured(schema)
    OmegaConf.set_readonly(section, False)
    return section


def _words(hint: Any) -> str:
    names = {int: "an integer", float: "a number", bool: "true or false", str: "text"}
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return " or ".join(_words(part) for part in typing.get_args(hint))
    if hint is types.NoneType:
        return "null"
    if typing.get_origin(hint) is list:
        return f"a list, each {_words(typing.get_args(hint)[0])}"
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(str(part) for part in typing.get_args(hint))
    return names.get(hint, str(hint))


def _seeds(value: Any) -> list[int]:
    if _is_integer(value) and value >= 1:
        return list(range(value))
    if _is_seed_list(value):
        return list(value)
    raise ValueError(
        f"got {value!r}, allowed is a number of seeds ≥ 1, or a list of different integers ≥ 0"
    )


def _game_seeds(value: Any) -> list[int]:
    if _is_seed_list(value):
        return list(value)
    raise ValueError(f"got {value!r}, allowed is a list of different integers ≥ 0, such as [0, 1]")


def _kinds(value: Any) -> list[str]:
    kinds = [value] if isinstance(value, str) else value
    listed = isinstance(kinds, list) and bool(kinds) and all(kind in GAME_KINDS for kind in kinds)
    if listed and len(set(kinds)) == len(kinds):
        return list(kinds)
    raise ValueError(f"got {value!r}, allowed is a list of some of {', '.join(GAME_KINDS)}")


def _budget(value: Any) -> str | None:
    if value in (None, NO_BUDGET):
        return None
    if isinstance(value, str) and value in UNITS:
        return value
    raise ValueError(f"got {value!r}, allowed is {' | '.join((NO_BUDGET, *UNITS))}")


def _budget_amount(value: Any) -> int | None:
    if value is None or (_is_integer(value) and value >= 1):
        return value
    raise ValueError(f"got {value!r}, allowed is an integer ≥ 1, or null (what method=mpo uses)")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_seed_list(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(_is_integer(seed) and seed >= 0 for seed in value)
        and len(set(value)) == len(value)
    )


_PLAN_CHECKS = {
    "seeds": _seeds,
    "task.kinds": _kinds,
    "task.game_seeds": _game_seeds,
    "budget": _budget,
    "budget_amount": _budget_amount,
}
