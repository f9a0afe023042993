"""From the chosen files and values to one checked config for each task and variant."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, NamedTuple

from benchmarks.choose import Chosen, Variant, chosen_files
from benchmarks.compose import Request, Values, given, read_conf
from benchmarks.schema import SECTIONS, TASKS, Machine, method_class
from benchmarks.validate import Known, check_types, known_keys, section_problems, unknown


class Case(NamedTuple):
    """A task and a variant with typed values; lists of seeds and games are not yet expanded."""

    task: str
    variant: str
    values: dict[str, Any]


def resolve(request: Request, chosen: Chosen) -> tuple[list[Case], list[str]]:
    """Merge the layers for each task and variant, and check them.

    Returns the cases and every problem. A value of the wrong type is reported and the value
    below it used, so that one mistake does not hide the others.
    """
    problems: dict[str, set[tuple[str, str]]] = {}
    cases = []
    known = {
        (task, method): known_keys(task, method)
        for task in chosen.tasks
        for method in {chosen.method, *(variant.method for variant in chosen.variants)}
    }
    fixed = _fixed_by_variants(request, chosen)
    for problem in [*_unknown_keys(request, chosen, known), *fixed]:
        problems[problem] = set()
    for task in chosen.tasks:
        for variant in [*chosen.variants, Variant("", chosen.method, {})]:
            keys = known[task, variant.method]
            typed: dict[str, Any] = {}
            found: list[str] = []
            for layer in _layers(request, chosen, task, variant):
                values, wrong = check_types(layer, keys)
                typed |= values
                found += wrong
            typed |= {"task.name": task, "method.name": variant.method}
            found += _missing(typed, keys) or _wrong_values(typed)
            for problem in found if variant.name else []:
                problems.setdefault(problem, set()).add((task, variant.name))
            cases.append(Case(task, variant.name, typed))
    return cases, [_located(text, places, chosen) for text, places in problems.items()]


def _layers(request: Request, chosen: Chosen, task: str, variant: Variant) -> list[Values]:
    """The layers of one config, later wins (benchmarks.compose says the order)."""
    about = chosen.ablation.about if chosen.ablation else {}
    source = chosen.ablation.source if chosen.ablation else ""
    return [
        read_conf("base").values,
        read_conf(f"task/{task}").values,
        read_conf(f"method/{variant.method}").values,
        *(group.values for group in chosen.groups if task in group.about.get("tasks", [task])),
        given(about.get("set") or {}, source),
        given((about.get("task_set") or {}).get(task) or {}, source),
        request.values,
        variant.values,
    ]


def _unknown_keys(
    request: Request, chosen: Chosen, known: dict[tuple[str, str], Known]
) -> list[str]:
    """Keys that no chosen task knows, on the command line and in the files that were chosen."""
    names = dict.fromkeys(key for keys in known.values() for key in keys.settable())
    values = dict(request.values)
    for file in chosen_files(chosen):
        # The method's tuning knobs in a file for all methods are for those that have them.
        values |= {
            key: entry
            for key, entry in file.values.items()
            if not key.endswith(".name")
            and (not key.startswith("method.") or file.source.startswith("conf/method/"))
        }
    values |= request.values
    if chosen.ablation:
        source, about = chosen.ablation.source, chosen.ablation.about
        for content in [about.get("set") or {}, *(about.get("task_set") or {}).values()]:
            values |= given(content, source)
        for variant in chosen.variants:
            values |= variant.values
    return unknown(values, names, " and ".join(f"task={task}" for task in chosen.tasks))


def _fixed_by_variants(request: Request, chosen: Chosen) -> list[str]:
    """Values of the command line that every variant sets itself, so that they would do nothing."""
    if not chosen.ablation:
        return []
    return [
        f"{key}: got {entry.value!r}, but every variant of ablation={chosen.ablation.name} has its "
        f"own; allowed is another key, or a new file under conf/ablation/"
        for key, entry in request.values.items()
        if all(key in variant.values for variant in chosen.variants)
    ]


def _missing(typed: dict[str, Any], keys: Known) -> list[str]:
    """Fill in the defaults of the dataclasses; name what has neither a value nor a default."""
    absent = []
    for key, (schema, name) in keys.fields.items():
        if key in typed:
            continue
        field = next(field for field in fields(schema) if field.name == name)
        if field.default is not MISSING:
            typed[key] = field.default
        elif field.default_factory is not MISSING:
            typed[key] = field.default_factory()
        else:
            absent.append(f"{key}: missing, set it in conf/ or on the command line")
    return absent


def _wrong_values(typed: dict[str, Any]) -> list[str]:
    """Values that a section does not allow, and sections that do not fit each other."""
    sections: dict[str, Any] = {"": _section(typed, "", Machine)}
    method = method_class(typed["method.name"])
    games = {"task.kind": "smooth", "task.game_seed": 0}
    for name, schema in {"task": TASKS[typed["task.name"]], **SECTIONS, "method": method}.items():
        sections[name] = _section(games | typed, name, schema)
    found = section_problems(sections)
    task, train, judge = sections["task"], sections["train"], sections["judge"]
    # The same prompt twice in an iteration would draw the same random numbers twice.
    if typed["task.name"] == "exact" and train.prompts > task.num_prompts:
        found.append(
            f"train.prompts: got {train.prompts}, allowed is at most task.num_prompts "
            f"({task.num_prompts})"
        )
    if train.micro_prompts is not None and train.micro_prompts > train.prompts:
        found.append(
            f"train.micro_prompts: got {train.micro_prompts}, allowed is at most train.prompts "
            f"({train.prompts}), or null"
        )
    fitting = "matrix" if typed["task.name"] == "exact" else "annotators"
    if judge.name in ("matrix", "annotators") and judge.name != fitting:
        found.append(f"judge.name: got {judge.name!r}, allowed is {fitting} on this task")
    return found


def _section(typed: dict[str, Any], name: str, schema: type[Any]) -> Any:
    prefix = f"{name}." if name else ""
    names = {field.name for field in fields(schema)}
    return schema(**{field: typed[f"{prefix}{field}"] for field in names})


def _located(problem: str, places: set[tuple[str, str]], chosen: Chosen) -> str:
    """A problem with the tasks and variants that have it, unless all have."""
    variants = [variant.name for variant in chosen.variants]
    tasks = [task for task in chosen.tasks if any(place[0] == task for place in places)]
    words = []
    if tasks and len(tasks) < len(chosen.tasks):
        words.append(f"task {', '.join(tasks)}")
    concerned = [name for name in variants if any(place[1] == name for place in places)]
    if concerned and len(concerned) < len(variants):
        words.append(f"variant {', '.join(concerned)}")
    return f"{problem} [{'; '.join(words)}]" if words else problem
