"""From the chosen files and values to one checked config for each task and variant."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, fields
from typing import Any, NamedTuple

from benchmarks.budgets import Budget, clashes, iterations_within, used
from benchmarks.choose import DEFAULT_METHOD, Chosen, Variant
from benchmarks.compose import Request
from benchmarks.fitting import judge_problems, need_problems, needs_of, sections_of, size_problems
from benchmarks.layers import fixed_by_variants, layers, unknown_keys
from benchmarks.validate import Known, check_types, known_keys, section_problems


class Case(NamedTuple):
    """A task and a variant with typed values; lists of seeds and games are not yet expanded."""

    task: str
    variant: str
    values: dict[str, Any]


class Resolved(NamedTuple):
    """The cases of a plan, the budget of each task that has one, and every problem."""

    cases: list[Case]
    budgets: dict[str, Budget]
    problems: list[str]


def resolve(request: Request, chosen: Chosen) -> Resolved:
    """Merge the layers for each task and variant, and check them.

    A value of the wrong type is reported and the value below it used, so that one mistake does
    not hide the others.
    """
    problems: dict[str, set[tuple[str, str]]] = {}
    cases = []
    budgets = {}
    methods = {chosen.method, *(variant.method for variant in chosen.variants)}
    known = {(task, name): known_keys(task, name) for task in chosen.tasks for name in methods}
    for problem in [
        *unknown_keys(request, chosen, known),
        *fixed_by_variants(request, chosen, known),
    ]:
        problems[problem] = set()
    for task in chosen.tasks:
        base = Variant("", chosen.method, {}, (task,))
        for variant in [*chosen.variants_of(task), base]:
            keys = known[task, variant.method]
            typed, found = _merge(request, chosen, task, variant, keys)
            absent = _missing(typed, keys)
            found += absent
            if not absent:
                budget, wrong = _budget(request, chosen, task, typed)
                if budget and variant.name:
                    budgets[task] = budget
                found += wrong + _wrong_values(request, typed, budget if variant.name else None)
            for problem in found if variant.name else []:
                problems.setdefault(problem, set()).add((task, variant.name))
            cases.append(Case(task, variant.name, typed))
    located = [_located(text, places, chosen) for text, places in problems.items()]
    return Resolved(cases, budgets, located)


def _merge(
    request: Request, chosen: Chosen, task: str, variant: Variant, keys: Known
) -> tuple[dict[str, Any], list[str]]:
    """The typed values of all layers, and the values that have the wrong type."""
    typed: dict[str, Any] = {}
    found: list[str] = []
    for layer in layers(request, chosen, task, variant):
        values, wrong = check_types(layer, keys)
        typed |= values
        found += wrong
    return typed | {"task.name": task, "method.name": variant.method}, found


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


def _budget(
    request: Request, chosen: Chosen, task: str, typed: dict[str, Any]
) -> tuple[Budget | None, list[str]]:
    """The budget of a task: as given, or what the default method uses at the same settings."""
    unit, amount = typed["budget"], typed["budget_amount"]
    if unit is None:
        return None, []
    if amount is not None:
        return Budget(unit, amount), []
    base = Variant("", DEFAULT_METHOD, {}, (task,))
    keys = known_keys(task, DEFAULT_METHOD)
    values, _ = _merge(request, chosen, task, base, keys)
    wrong = _missing(values, keys)
    if not wrong:
        sections = sections_of(values)
        wrong = section_problems({"train": sections["train"], "method": sections["method"]})
        needs = needs_of(sections)
        if needs and not wrong:
            return used(unit, values, needs), []
    return None, [
        f"budget_amount: missing, and it cannot be what method={DEFAULT_METHOD} uses, because of "
        f"{problem}"
        for problem in wrong
    ]


def _wrong_values(request: Request, typed: dict[str, Any], budget: Budget | None) -> list[str]:
    """What a section does not allow, what does not fit the others, and too small a budget.

    The number of iterations that the budget allows is put into `typed`.
    """
    sections = sections_of(typed)
    found = section_problems(sections)
    needs = needs_of(sections)
    found += clashes(typed, request.values)
    if budget and needs and typed["train.prompts"] >= 1:
        kept, wrong = iterations_within(budget, typed, needs)
        typed |= kept
        found += wrong
    found += size_problems(typed) + judge_problems(typed)
    return found + need_problems(typed, needs) if needs else found


def _located(problem: str, places: Iterable[tuple[str, str]], chosen: Chosen) -> str:
    """A problem with the tasks and variants that have it, unless all have."""
    found = set(places)
    tasks = [task for task in chosen.tasks if any(place[0] == task for place in found)]
    words = []
    if tasks and len(tasks) < len(chosen.tasks):
        words.append(f"task {', '.join(tasks)}")
    names = [variant.name for task in tasks for variant in chosen.variants_of(task)]
    concerned = [name for name in dict.fromkeys(names) if any(p[1] == name for p in found)]
    if concerned and len(concerned) < len(set(names)):
        words.append(f"variant {', '.join(concerned)}")
    return f"{problem} [{'; '.join(words)}]" if words else problem
