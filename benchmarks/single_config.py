"""From layers of values to one checked config, for a command that makes one: a stage, a game."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from benchmarks.compose import Request, Values
from benchmarks.validate import Known, check_types, section_problems

Sections = Mapping[str, Sequence[type[Any]]]
"""Section of a config to the dataclasses that say what is in it; "" is the top."""

OUT = "out"


def places(sections: Sections) -> dict[str, tuple[type[Any], str]]:
    """The keys of the sections, each with its dataclass and field."""
    return {
        f"{section}.{field.name}" if section else field.name: (schema, field.name)
        for section, schemas in sections.items()
        for schema in schemas
        for field in fields(schema)
    }


def shortened(request: Request, short: Mapping[str, str]) -> Request:
    """The request with short keys made whole; a key that is given twice by that is a problem."""
    values: Values = {}
    problems = list(request.problems)
    for key, entry in request.values.items():
        whole = short.get(key, key)
        if whole in values:
            problems.append(f"{whole}: given twice, allowed is once")
        values[whole] = entry
    return request._replace(values=values, problems=problems)


def split_out(values: Values, default: Path) -> tuple[Path, Values, list[str]]:
    """The folder of `out=…`, the other values, and what is wrong with the folder's name."""
    rest = {key: entry for key, entry in values.items() if key != OUT}
    if OUT not in values:
        return default, rest, []
    given = values[OUT].value
    if not isinstance(given, str) or not given.strip():
        return Path(), rest, [f"{OUT}: got {given!r}, allowed is a folder's path"]
    return Path(given).expanduser(), rest, []


def typed_values(
    layers: Iterable[Values], sections: Sections, file: str, plan: Sequence[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """The values of all layers by dotted key, later wins, and everything that is wrong with them.

    A value of the wrong type is reported and the value below it used. `file` is where a value that
    is nowhere should be. `plan` are keys that are no fields (benchmarks.compose.PLAN_KEYS).
    """
    known = places(sections)
    typed: dict[str, Any] = {}
    problems: list[str] = []
    for layer in layers:
        found, wrong = check_types(layer, Known(known, tuple(plan)))
        typed |= found
        problems += wrong
    missing = [key for key in (*known, *plan) if key not in typed]
    problems += [f"{key}: missing, set it in {file}" for key in missing]
    if not missing:
        for section, schemas in sections.items():
            prefix = f"{section}." if section else ""
            for schema in schemas:
                values = {field.name: typed[prefix + field.name] for field in fields(schema)}
                problems += section_problems({section: schema(**values)})
    return typed, problems
