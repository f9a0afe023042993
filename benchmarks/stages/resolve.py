"""From the words after `stage NAME` to one checked config, all mistakes together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.compose import (
    GROUPS,
    Request,
    Values,
    available,
    nearest,
    nest,
    read_command_line,
    read_conf,
)
from benchmarks.inputs import input_problems
from benchmarks.stages.schema import SECTIONS, field_places
from benchmarks.validate import Known, check_types, section_problems, unknown
from mpo.prompts import CORPUS_NAME

CHOICES = ("model", "strategy")
"""Folders of conf/ from which a stage may choose a file."""

SHORT = {"data": "data.source"}
"""Keys that stand for another."""

OUT = "out"


class Resolved(NamedTuple):
    """A stage's config, where it runs, and what is wrong."""

    config: dict[str, Any]
    """Nested; sections that are wrong may lack keys."""
    out: Path
    problems: list[str]


def resolve(stage: str, words: Sequence[str]) -> Resolved:
    """The config of a stage: conf/stage/<stage>.yaml, chosen files, the command line; later wins.

    Nothing is raised and no model is loaded; data are not looked at.
    """
    request = _shortened(read_command_line(words))
    problems = list(request.problems)
    out, values = _out(stage, request.values, problems)
    layers = [read_conf(f"stage/{stage}").values, *_chosen(request, problems), values]
    places = field_places(stage)
    problems += unknown(values, [*places, *SHORT, *CHOICES, OUT], f"stage {stage}")
    typed: dict[str, Any] = {}
    for layer in layers:
        found, wrong = check_types(layer, Known(places, ()))
        typed |= found
        problems += wrong
    problems += [
        f"{key}: missing, set it in conf/stage/{stage}.yaml" for key in places if key not in typed
    ]
    if all(key in typed for key in places):
        sections = {
            section: schema(
                **{name: typed[key] for key, (owner, name) in places.items() if owner is schema}
            )
            for section, schema in SECTIONS[stage].items()
        }
        problems += section_problems(sections)
    problems += _outside_problems(typed)
    return Resolved({"stage": stage, **nest(typed)}, out, list(dict.fromkeys(problems)))


def _shortened(request: Request) -> Request:
    values, problems = {}, list(request.problems)
    for key, entry in request.values.items():
        whole = SHORT.get(key, key)
        if whole in values:
            problems.append(f"{whole}: given twice, allowed is once")
        values[whole] = entry
    return request._replace(values=values, problems=problems)


def _out(stage: str, values: Values, problems: list[str]) -> tuple[Path, Values]:
    """The folder, and the values without it."""
    rest = {key: entry for key, entry in values.items() if key != OUT}
    if OUT not in values:
        return Path("results") / "stages" / stage, rest
    given = values[OUT].value
    if not isinstance(given, str) or not given.strip():
        problems.append(f"{OUT}: got {given!r}, allowed is a folder's path")
        return Path(), rest
    return Path(given).expanduser(), rest


def _chosen(request: Request, problems: list[str]) -> list[Values]:
    """The values of the files that model= and strategy= choose."""
    layers = []
    for group, name in request.choices.items():
        if group not in CHOICES:
            kind = "a group" if group in GROUPS else "a key"
            problems.append(
                f"{group}: got {name!r}, which is {kind} of plans; a stage allows "
                f"{', '.join(CHOICES)} and keys of its own"
            )
        elif name not in (offered := available(group)):
            close = nearest(str(name), offered)
            problems.append(f"{group}: got {name!r}, allowed is {', '.join(offered)}{close}")
        else:
            layers.append(read_conf(f"{group}/{name}").values)
    return layers


def _outside_problems(typed: dict[str, Any]) -> list[str]:
    """What is wrong with the model, the device and the panel's prompts."""
    looked_at: dict[str, Any] = {"task.prompts": CORPUS_NAME}
    if typed.get("data.source") == "panel":
        looked_at["task.prompts"] = typed.get("panel.prompts", CORPUS_NAME)
    looked_at |= {key: typed[key] for key in ("model.path", "device") if key in typed}
    return [
        problem.replace("task.prompts", "panel.prompts") for problem in input_problems([looked_at])
    ]
