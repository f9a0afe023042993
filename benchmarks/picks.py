"""The names that a command line gives for the folders of conf/, checked against what is there."""

from __future__ import annotations

from typing import Any

from benchmarks.compose import ConfError, ConfFile, Request, available, nearest, read_conf
from benchmarks.schema import TASKS

SECTION_GROUPS = ("model", "judge", "strategy")


def pick(request: Request, group: str, default: list[str], problems: list[str]) -> list[str]:
    """The names that the command line gives for a group, without those that do not exist."""
    if group not in request.choices:
        return default
    value = request.choices[group]
    # Several tasks can be run by one command; of everything else there is one.
    names = value if group == "task" and isinstance(value, list) and value else [value]
    return _readable(group, group, names, problems) or default


def pick_methods(
    request: Request, default: list[str], offered: list[str], problems: list[str]
) -> list[str]:
    """The methods that `methods=[…]` gives, each once, without those that are not offered."""
    if "methods" not in request.choices:
        return default
    known, wrong = listed_names("methods", request.choices["methods"], offered)
    problems += wrong
    return _readable("methods", "method", known, problems) or default


def listed_names(key: str, value: Any, offered: list[str]) -> tuple[list[str], list[str]]:
    """The names of a list, or of one that is given alone, each once, and what is wrong with it."""
    names = value if isinstance(value, list) else [value]
    problems = []
    if not names:
        example = ", ".join(offered[:2])
        problems.append(f"{key}: got [], allowed is a list of {key}, such as [{example}]")
    twice = dict.fromkeys(name for name in names if names.count(name) > 1)
    word = key.removesuffix("s")
    problems += [f"{key}: got {name!r} twice, allowed is each {word} once" for name in twice]
    problems += [_no_such(key, name, offered) for name in names if name not in offered]
    return [name for name in dict.fromkeys(map(str, names)) if name in offered], problems


def chosen_tasks(request: Request, default: list[str], problems: list[str]) -> list[str]:
    """The tasks in the order of the schema."""
    picked = pick(request, "task", default, problems)
    return [task for task in TASKS if task in picked]


def section_groups(request: Request, tasks: list[str], problems: list[str]) -> list[ConfFile]:
    """The files of model=, judge= and strategy=, without those that are for other tasks."""
    groups = []
    for group in SECTION_GROUPS:
        for name in pick(request, group, [], problems):
            file = read_conf(f"{group}/{name}")
            if set(file.about.get("tasks", tasks)) & set(tasks):
                groups.append(file)
            else:
                problems.append(
                    f"{group}: got {name!r}, which is for task {', '.join(file.about['tasks'])}; "
                    f"allowed is one for {', '.join(tasks)}"
                )
    return groups


def _readable(key: str, group: str, names: list[Any], problems: list[str]) -> list[str]:
    """The names whose file exists and can be read."""
    offered = available(group)
    found = []
    for name in names:
        if name not in offered:
            problems.append(_no_such(key, name, list(offered)))
            continue
        try:
            read_conf(f"{group}/{name}")
        except ConfError as error:
            problems.append(f"{key}: {error}")
        else:
            found.append(name)
    return found


def _no_such(key: str, name: Any, offered: list[str]) -> str:
    return f"{key}: got {name!r}, allowed is {', '.join(offered)}{nearest(str(name), offered)}"
