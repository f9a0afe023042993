"""From the words of `experiment=NAME …` to one checked config, all mistakes together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_origin, get_type_hints

from benchmarks.choose import FULL
from benchmarks.compose import (
    COMMAND_LINE,
    ConfFile,
    Given,
    Request,
    Values,
    given,
    nest,
    read_command_line,
    read_conf,
)
from benchmarks.picks import listed_names
from benchmarks.schema import load_object
from benchmarks.single_config import OUT, Sections, places, shortened, split_out, typed_values
from benchmarks.theory.experiments import EXPERIMENTS, Config, Experiment, Work
from benchmarks.theory.method_values import Methods, changed, setting_keys, settings
from benchmarks.theory.schema import Machine
from benchmarks.validate import unknown

CHOICES = ("experiment", "methods", "size")
"""What the command line may choose beside values; `methods` where the experiment has some."""

SHORT = {"game": "game.names"}
"""Keys that stand for another, in experiments that have that one."""

SEEDS = "seeds"


class Resolved(NamedTuple):
    """An experiment's config, the functions it is for, where it runs, and what is wrong."""

    config: Config
    work: Work
    out: Path
    problems: list[str]


def resolve(name: str, words: Sequence[str]) -> Resolved:
    """The config of an experiment: its file, its size, the command line; later wins.

    Nothing is written. Raises ConfError when the experiment's file cannot be read.
    """
    file, experiment = read_conf(f"experiment/{name}"), EXPERIMENTS[name]
    work: Work = load_object(experiment.work)
    sections = sections_of(experiment)
    known = places(sections)
    short = {key: whole for key, whole in SHORT.items() if whole in known}
    request = shortened(read_command_line(words), short)
    out, values, wrong = split_out(request.values, Path("results") / name)
    problems = [*request.problems, *wrong]
    layers = [file.values, _size(file, request, problems), _listed(values, known)]
    plan = (SEEDS,) if SEEDS in file.values else ()
    typed, wrong = typed_values(layers, sections, file.source, plan)
    problems += wrong
    problems += _misplaced(name, request, work)
    if any(key not in typed for key in (*known, *plan)):
        return Resolved({"experiment": name, **nest(typed)}, work, out, problems)
    methods = work.methods(nest(typed)) if work.methods else {}
    keys = [*known, *plan, *setting_keys(methods), *short, OUT]
    for layer in layers:
        problems += unknown(layer, keys, f"experiment={name}")
    if work.methods:
        typed["methods"] = _picked(file, request, list(methods), problems)
        typed |= _method_values(methods, typed["methods"], layers, problems)
    config = nest(typed)
    problems += work.problems(config)
    return Resolved({"experiment": name, **config}, work, out, list(dict.fromkeys(problems)))


def sections_of(experiment: Experiment) -> Sections:
    """Its sections, with the settings that every experiment has at the top."""
    own = {section: [schema] for section, schema in experiment.settings.items()}
    return own | {"": [*own.get("", []), Machine]}


def _size(file: ConfFile, request: Request, problems: list[str]) -> Values:
    """What the experiment's file sets for the size that is asked for."""
    sizes = file.about.get("sizes", {})
    size = request.choices.get("size", FULL)
    if size != FULL and size not in sizes:
        problems.append(f"size: got {size!r}, allowed is {' | '.join([FULL, *sizes])} here")
    return given(sizes.get(size) or {}, file.source) if isinstance(size, str) else {}


def _listed(values: Values, known: Mapping[str, tuple[type[Any], str]]) -> Values:
    """The values with one that stands alone for a list of one."""
    listed: Values = {}
    for key, entry in values.items():
        if key in known and entry.value is not None and not isinstance(entry.value, list):
            schema, field = known[key]
            if get_origin(get_type_hints(schema)[field]) is list:
                entry = entry._replace(value=[entry.value])
        listed[key] = entry
    return listed


def _misplaced(name: str, request: Request, work: Work) -> list[str]:
    """Choices that are for plans, or methods for an experiment that has none."""
    allowed = [key for key in CHOICES if key != "methods" or work.methods]
    return [
        f"{key}: got {value!r}, allowed with experiment={name} is {', '.join(allowed)} and keys "
        "of its own"
        for key, value in request.choices.items()
        if key not in allowed
    ]


def _picked(file: ConfFile, request: Request, offered: list[str], problems: list[str]) -> list[str]:
    """The methods of the command line, or those of the file that the games have."""
    if "methods" in request.choices:
        names, wrong = listed_names("methods", request.choices["methods"], offered)
        problems += wrong
        return names
    return [method for method in file.about["methods"] if method in offered]


def _method_values(
    methods: Methods, picked: Sequence[str], layers: Iterable[Values], problems: list[str]
) -> dict[str, Any]:
    """The settings of the chosen methods by dotted key."""
    given_values: dict[str, dict[str, Given]] = {}
    for layer in layers:
        for key, entry in layer.items():
            method, _, field = key.partition(".")
            if method in methods and field in settings(methods[method]):
                given_values.setdefault(method, {})[field] = entry
    typed: dict[str, Any] = {}
    for method, entries in given_values.items():
        for field, entry in entries.items():
            if method not in picked and entry.source == COMMAND_LINE:
                problems.append(
                    f"{method}.{field}: got {entry.value!r}, but methods=[{', '.join(picked)}] "
                    f"has no {method}; allowed is a setting of a chosen method"
                )
    for method in picked:
        values = {field: entry.value for field, entry in given_values.get(method, {}).items()}
        value, wrong = changed(method, methods[method], values)
        problems += wrong
        typed |= {f"{method}.{field}": number for field, number in settings(value).items()}
    return typed
