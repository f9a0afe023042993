"""Reads conf/ and the command line into values by dotted key (design.md section 5, command line).

Order, later wins: conf/base.yaml, the task's file, the method's file, the files of judge=, model=
and strategy=, the ablation's `set` and `task_set`, the command line, and last what makes up the
variant: a value on the command line changes both sides of a comparison or the one side that leaves
it open, never what the comparison is about.
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
GROUPS = ("ablation", "task", "method", "judge", "model", "strategy")
"""Folders of conf/; `group=name` on the command line chooses a file."""

PLAN_KEYS = {
    "seeds": "number of seeds (0, 1, … n − 1), or a list of them: seeds=[3,4]",
    "task.kinds": "kinds of games: smooth | first_token | bradley_terry (task=exact)",
    "task.game_seeds": "a list of seeds of games, each a game of every kind (task=exact)",
}
"""Keys that make several runs out of one config."""

EXECUTION_KEYS = {
    "out": "the plan's folder; default results/<ablation>",
    "jobs": "runs at a time; default: cores / threads",
    "progress": "auto | rich | plain",
}
"""Keys that change no number, so they are no part of the plan's hash."""

_KEY = re.compile(r"[a-zA-Z_]\w*(\.[a-zA-Z_]\w*)*")
_ABOUT = ("title", "question", "tasks", "set", "task_set", "variants", "compare", "select")


class Given(NamedTuple):
    """A value and where it comes from: a file under conf/, or the command line."""

    value: Any
    source: str


Values = dict[str, Given]
"""Values by dotted key."""

COMMAND_LINE = "command line"
FLAGS = ("--help", "--list", "--dry-run")


class ConfFile(NamedTuple):
    """A file of conf/: what it says about itself, and its values by dotted key."""

    name: str
    source: str
    about: dict[str, Any]
    values: Values


class Request(NamedTuple):
    """The command line: files chosen by group, values by dotted key, and what is wrong with it."""

    choices: dict[str, Any]
    values: Values
    problems: list[str]


def available(group: str) -> tuple[str, ...]:
    """The names that a group of conf/ offers, sorted."""
    return tuple(sorted(file.stem for file in (CONF / group).glob("*.yaml")))


@cache
def read_conf(name: str) -> ConfFile:
    """Read conf/<name>.yaml, once in a process. Raises FileNotFoundError."""
    content = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
    assert isinstance(content, dict)
    about = {str(key): content.pop(key) for key in _ABOUT if key in content}
    source = f"conf/{name}.yaml"
    return ConfFile(name.rpartition("/")[2], source, about, given(content, source))


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
    """Split `key=value` arguments into choices of files and values; values are read as YAML.

    Nothing is raised: what cannot be read is listed in `problems`.
    """
    choices: dict[str, Any] = {}
    values: Values = {}
    problems: list[str] = []
    for argument in arguments:
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
            elif name in GROUPS:
                choices[name] = part
            else:
                values[name] = Given(part, COMMAND_LINE)
    return Request(choices, values, problems)


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
