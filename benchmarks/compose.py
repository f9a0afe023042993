"""Reads conf/ and the command line into values by dotted key (design.md section 5, command line).

Order, later wins: conf/base.yaml, the task's file, the method's file, what was tuned for the method
on the task (conf/tuned/), the files of judge=, model= and strategy=, the `set`, `task_set` and
`sizes` of the ablation or experiment, the command line, and last what makes up the variant: a value
on the command line changes both sides of a comparison or the one side that leaves it open, never
what the comparison is about.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

CONF = Path(__file__).resolve().parent / "conf"
GROUPS = ("ablation", "experiment", "task", "method", "judge", "model", "strategy")
"""Folders of conf/; `group=name` on the command line chooses a file."""

CHOICE_KEYS = {
    "methods": "a list of methods to compare (experiment=…) or to tune (tune)",
    "size": "full | quick: fewer seeds, as the experiment's file says; default full",
    "trials": "trials of each method (tune); default all of its grid, fewer are drawn from it",
}
"""Keys that choose the plan's variants and their number."""

PLAN_KEYS = {
    "seeds": "number of seeds (0, 1, … n − 1), or a list of them: seeds=[3,4]",
    "task.kinds": "kinds of games: smooth | first_token | bradley_terry (task=exact)",
    "task.game_seeds": "a list of seeds of games, each a game of every kind (task=exact)",
    "budget": "none | prompts | samples | judge_calls | tokens: what every variant may use as much "
    "of as the others; train.iterations follows from it",
    "budget_amount": "how much of it in a run; default null: what method=mpo would use",
}
"""Keys that make several runs out of one config, or one number of it out of others."""

EXECUTION_KEYS = {
    "out": "the plan's folder; default results/<name of the plan>",
    "jobs": "runs at a time; default: cores / threads",
    "progress": "auto | rich | plain",
}
"""Keys that change no number, so they are no part of the plan's hash."""

_KEY = re.compile(r"[a-zA-Z_]\w*(\.[a-zA-Z_]\w*)*")
_ABOUT = (
    "title", "question", "tasks", "set", "task_set", "variants", "compare", "select",
    "methods", "task_methods", "sizes", "grids", "extends", "kind",
)  # fmt: skip


class Given(NamedTuple):
    """A value and where it comes from: a file under conf/, or the command line."""

    value: Any
    source: str


Values = dict[str, Given]
"""Values by dotted key."""

COMMAND_LINE = "command line"
TUNE = "tune"
"""The first word of a command that tries settings; all others are key=value."""
FLAGS = ("--help", "--list", "--dry-run")


class ConfFile(NamedTuple):
    """A file of conf/: what it says about itself, and its values by dotted key."""

    name: str
    source: str
    about: dict[str, Any]
    values: Values


class Request(NamedTuple):
    """The command line: what it chooses, values by dotted key, and what is wrong with it."""

    choices: dict[str, Any]
    """By group or choice key."""
    values: Values
    problems: list[str]
    tune: bool = False
    """Settings are tried: the first word is `tune`."""


class ConfError(ValueError):
    """A file under conf/ that cannot be read."""


def available(group: str) -> tuple[str, ...]:
    """The names that a group of conf/ offers, sorted."""
    return tuple(sorted(file.stem for file in (CONF / group).glob("*.yaml")))


def has_conf(name: str) -> bool:
    """Whether there is a file conf/<name>.yaml."""
    return (CONF / f"{name}.yaml").is_file()


@cache
def read_conf(name: str) -> ConfFile:
    """Read conf/<name>.yaml, once in a process.

    `extends: other` starts from the values of the file of that name beside it.

    Raises FileNotFoundError, and ConfError for what is not YAML or names a key twice.
    """
    source = f"conf/{name}.yaml"
    file = CONF / f"{name}.yaml"
    try:
        content = OmegaConf.to_container(OmegaConf.load(file))
    except FileNotFoundError:
        raise
    except Exception as error:  # OmegaConf passes on whatever its YAML reader raises
        words = " ".join(str(error).split())
        raise ConfError(f"got {source}, which cannot be read ({words})") from error
    if not isinstance(content, dict):
        raise ConfError(f"got {source}, which holds no keys; allowed is a YAML mapping")
    about = {str(key): content.pop(key) for key in _ABOUT if key in content}
    folder, _, own = name.rpartition("/")
    values = read_conf(f"{folder}/{about['extends']}").values if "extends" in about else {}
    return ConfFile(own, source, about, values | given(content, source))


def given(content: Mapping[Any, Any], source: str) -> Values:
    """Nested mappings as values by dotted key."""
    return {key: Given(value, source) for key, value in flatten(content).items()}


def flatten(content: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}, "c.d": 2} becomes {"a.b": 1, "c.d": 2}."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of flatten."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *parents, leaf = key.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = value
    return tree


def read_command_line(arguments: Sequence[str]) -> Request:
    """Split `key=value` arguments into choices and values; values are read as YAML.

    Nothing is raised: what cannot be read is listed in `problems`.
    """
    tune = list(arguments[:1]) == [TUNE]
    choices: dict[str, Any] = {}
    values: Values = {}
    problems: list[str] = []
    for argument in arguments[tune:]:
        key, equals, text = argument.partition("=")
        if not equals or not _KEY.fullmatch(key):
            allowed = f"key=value, or one of {', '.join(FLAGS)}"
            problems.append(f"argument: got {argument!r}, allowed is {allowed}")
            continue
        try:
            value = _read_value(text)
        except ValueError as error:
            problems.append(f"{key}: {error}")
            continue
        for name, part in flatten({key: value}).items():
            if name in choices or name in values:
                problems.append(f"{name}: given twice, allowed is once")
            elif name in GROUPS or name in CHOICE_KEYS:
                choices[name] = part
            else:
                values[name] = Given(part, COMMAND_LINE)
    return Request(choices, values, problems, tune)


def _read_value(text: str) -> Any:
    if "${" in text:
        raise ValueError(f"got {text!r}, allowed is a plain value without ${{…}}")
    try:
        container = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))
    except Exception as error:  # OmegaConf passes on whatever its YAML reader raises
        first = str(error).splitlines()[0]
        raise ValueError(f"got {text!r}, allowed is a YAML value ({first})") from error
    assert isinstance(container, dict)
    return container["value"]


def nearest(name: str, known: Iterable[str]) -> str:
    """' (nearest: …)' with the known names closest to a name, or '' when none is close.

    A key whose last part is the name counts as close: `alpha` finds `method.alpha`.
    """
    known = list(dict.fromkeys(known))
    leaf = name.rpartition(".")[2]
    close = [key for key in known if key.rpartition(".")[2] == leaf]
    close += difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    leaves = {key.rpartition(".")[2]: key for key in reversed(known)}
    close += [leaves[match] for match in difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.7)]
    shown = list(dict.fromkeys(close))[:3]
    return f" (nearest: {', '.join(shown)})" if shown else ""
