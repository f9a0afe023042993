"""Which files of conf/ a command line chooses, and the variants that follow from them."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.compose import (
    ConfFile,
    Given,
    Request,
    Values,
    available,
    given,
    nearest,
    read_conf,
)
from benchmarks.schema import TASKS

DEFAULT_METHOD = "mpo"
SECTION_GROUPS = ("model", "judge", "strategy")


class Variant(NamedTuple):
    """One column of a comparison: its method, and the values that make it what it is."""

    name: str
    method: str
    values: Values


class Chosen(NamedTuple):
    """The files that the command line chooses."""

    ablation: ConfFile | None
    tasks: list[str]
    method: str
    groups: list[ConfFile]
    variants: list[Variant]


def choose(request: Request) -> tuple[Chosen, list[str]]:
    """Find the files that the command line names; what is wrong is listed, and left out."""
    problems: list[str] = []
    names = _pick(request, "ablation", [], problems)
    ablation = read_conf(f"ablation/{names[0]}") if names else None
    about = ablation.about if ablation else {}
    picked = _pick(request, "task", about.get("tasks", list(TASKS)), problems)
    tasks = [task for task in TASKS if task in picked]
    method = _pick(request, "method", [DEFAULT_METHOD], problems)[0]
    groups = []
    for group in SECTION_GROUPS:
        for name in _pick(request, group, [], problems):
            file = read_conf(f"{group}/{name}")
            if set(file.about.get("tasks", tasks)) & set(tasks):
                groups.append(file)
            else:
                problems.append(
                    f"{group}: got {name!r}, which is for task {', '.join(file.about['tasks'])}; "
                    f"allowed is one for {', '.join(tasks)}"
                )
    variants = _variants(ablation, method) if ablation else [Variant(method, method, {})]
    return Chosen(ablation, tasks, method, groups, variants), problems


def _pick(request: Request, group: str, default: list[str], problems: list[str]) -> list[str]:
    """The names that the command line gives for a group, without those that do not exist."""
    if group not in request.choices:
        return default
    value = request.choices[group]
    # Several tasks can be run by one command; of everything else there is one.
    names = value if group == "task" and isinstance(value, list) and value else [value]
    offered = available(group)
    problems += [
        f"{group}: got {name!r}, allowed is {', '.join(offered)}{nearest(str(name), offered)}"
        for name in names
        if name not in offered
    ]
    return [name for name in names if name in offered] or default


def _variants(ablation: ConfFile, method: str) -> list[Variant]:
    variants = []
    for name, content in ablation.about["variants"].items():
        values = given(content or {}, ablation.source)
        own = values.pop("method", Given(method, ""))
        variants.append(Variant(str(name), own.value, values))
    return variants


def chosen_files(chosen: Chosen) -> list[ConfFile]:
    """The files that were chosen, but for the ablation's."""
    methods = dict.fromkeys([chosen.method, *(variant.method for variant in chosen.variants)])
    return [
        read_conf("base"),
        *(read_conf(f"task/{task}") for task in chosen.tasks),
        *(read_conf(f"method/{method}") for method in methods),
        *chosen.groups,
    ]
