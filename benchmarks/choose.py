"""Which files of conf/ a command line chooses, and the variants that follow from them."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from benchmarks.compose import TUNE, ConfFile, Given, Request, Values, available, given, read_conf
from benchmarks.picks import chosen_tasks, pick, pick_methods, section_groups
from benchmarks.schema import TASKS

DEFAULT_METHOD = "mpo"

INITIAL = "initial"
"""Role, variant and name of the run that only evaluates the initial policy."""

FULL = "full"
"""The size of a plan as its files say; an experiment's `sizes` may offer others."""

_VARIANT_NAME = re.compile(r"\w[\w.-]*")


class Variant(NamedTuple):
    """One column of a comparison: its method, and the values that make it what it is."""

    name: str
    method: str
    values: Values
    tasks: tuple[str, ...]
    """The tasks that it runs on."""


class Chosen(NamedTuple):
    """What the command line chooses."""

    kind: str
    """ablation | experiment | tune | method."""
    name: str
    about: dict[str, Any]
    """title, question, set, task_set, sizes and select, as far as the file has them."""
    source: str
    """The file that `about` is from; empty for none."""
    size: str
    """full, or one of the file's `sizes`."""
    tasks: list[str]
    method: str
    """The method of variants that choose none, and of the initial policy's run."""
    groups: list[ConfFile]
    variants: list[Variant]
    compare: list[list[str]]
    """Pairs of variants."""
    trials: dict[str, dict[str, Any]]
    """Variant of a tune to its method and the values that it tries."""

    def variants_of(self, task: str) -> list[Variant]:
        """The variants that run on a task."""
        return [variant for variant in self.variants if task in variant.tasks]


def choose(request: Request) -> tuple[Chosen, list[str]]:
    """Find the files that the command line names; what is wrong is listed, and left out."""
    problems: list[str] = []
    ablation = pick(request, "ablation", [], problems)
    experiment = pick(request, "experiment", [], problems)
    problems += _misplaced(request)
    kind, name = "method", ""
    if ablation:
        kind, name = "ablation", ablation[0]
    elif experiment:
        kind, name = "experiment", experiment[0]
    file = read_conf(f"{kind}/{name}") if name else ConfFile("", "", {}, {})
    about = file.about
    tasks = chosen_tasks(request, about.get("tasks", list(TASKS)), problems)
    method = pick(request, "method", [DEFAULT_METHOD], problems)[0]
    compare = about.get("compare", [])
    if kind == "ablation":
        variants = _ablation_variants(file, method, tasks, problems)
    elif kind == "experiment":
        method = DEFAULT_METHOD
        variants = _method_variants(request, about, tasks, problems)
        compare = [[variants[0].name, other.name] for other in variants[1:]]
    else:
        name, variants = method, [Variant(method, method, {}, tuple(tasks))]
    chosen = Chosen(
        kind=kind,
        name=name,
        about=about,
        source=file.source,
        size=_size(request, about, problems),
        tasks=tasks,
        method=method,
        groups=section_groups(request, tasks, problems),
        variants=variants,
        compare=compare,
        trials={},
    )
    return chosen, problems


def _misplaced(request: Request) -> list[str]:
    """Choices that have no effect beside the others."""
    choices = request.choices
    problems = []
    if "experiment" in choices and "ablation" in choices:
        problems.append(
            f"experiment: got {choices['experiment']!r} beside an ablation, allowed is one of them"
        )
    if "experiment" in choices and "method" in choices:
        problems.append(
            f"method: got {choices['method']!r} beside an experiment, which compares several; "
            "allowed is methods=[…]"
        )
    if "methods" in choices and "experiment" not in choices:
        problems.append(
            f"methods: got {choices['methods']!r}, allowed only with experiment=… or after `{TUNE}`"
        )
    if "trials" in choices:
        problems.append(f"trials: got {choices['trials']!r}, allowed only after `{TUNE}`")
    return problems


def _size(request: Request, about: dict[str, Any], problems: list[str]) -> str:
    size = request.choices.get("size", FULL)
    offered = [FULL, *about.get("sizes", {})]
    if size in offered:
        return str(size)
    problems.append(f"size: got {size!r}, allowed is {' | '.join(offered)} here")
    return FULL


def _ablation_variants(
    file: ConfFile, method: str, tasks: list[str], problems: list[str]
) -> list[Variant]:
    variants = []
    for name, content in file.about["variants"].items():
        values = given(content or {}, file.source)
        own = values.pop("method", Given(method, ""))
        variants.append(Variant(str(name), own.value, values, tuple(tasks)))
    # It names the run's folder. (Two of one name were refused when the file was read.)
    problems += [
        f"variants: got {variant.name!r} in {file.source}, allowed are letters, digits, '_', '-' "
        f"and '.', and not {INITIAL!r}"
        for variant in variants
        if not _VARIANT_NAME.fullmatch(variant.name) or variant.name == INITIAL
    ]
    return variants


def _method_variants(
    request: Request, about: dict[str, Any], tasks: list[str], problems: list[str]
) -> list[Variant]:
    """A variant for each method; what makes up the method is the variant's own."""
    by_task = {
        task: pick_methods(
            request,
            about.get("task_methods", {}).get(task, about["methods"]),
            list(available("method")),
            # The list of the command line is the same for every task: its mistakes count once.
            problems if task == tasks[0] else [],
        )
        for task in tasks
    }
    return [
        Variant(name, name, identity(name), tuple(task for task in tasks if name in by_task[task]))
        for name in dict.fromkeys(name for names in by_task.values() for name in names)
    ]


def identity(method: str) -> Values:
    """What the method's own file says of the method."""
    values = read_conf(f"method/{method}").values
    return {
        key: entry
        for key, entry in values.items()
        if key.startswith("method.") and key != "method.name"
    }
