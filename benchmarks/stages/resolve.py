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
from benchmarks.single_config import OUT, shortened, split_out, typed_values
from benchmarks.stages.schema import SECTIONS, field_places
from benchmarks.validate import unknown
from mpo.prompts import CORPUS_NAME

CHOICES = ("model", "strategy")
"""Folders of conf/ from which a stage may choose a file."""

SHORT = {"data": "data.source"}
"""Keys that stand for another."""


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
    request = shortened(read_command_line(words), SHORT)
    problems = list(request.problems)
    out, values, wrong = split_out(request.values, Path("results") / "stages" / stage)
    problems += wrong
    file = read_conf(f"stage/{stage}")
    layers = [file.values, *_chosen(request, problems), values]
    places = field_places(stage)
    problems += unknown(values, [*places, *SHORT, *CHOICES, OUT], f"stage {stage}")
    sections = {section: [schema] for section, schema in SECTIONS[stage].items()}
    typed, wrong = typed_values(layers, sections, file.source)
    problems += wrong
    problems += _outside_problems(typed)
    return Resolved({"stage": stage, **nest(typed)}, out, list(dict.fromkeys(problems)))


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
