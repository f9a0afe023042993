"""`tune`: every method of conf/search/<task>.yaml tries equally many of its grid's points."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.choose import DEFAULT_METHOD, FULL, Chosen, Variant
from benchmarks.compose import GROUPS, TUNE, Given, Request, available, read_conf
from benchmarks.picks import SECTION_GROUPS, chosen_tasks, pick_methods, section_groups
from benchmarks.schema import TASKS

DEFAULT_TASK = "exact"

Point = dict[str, Any]
"""A trial's values by dotted key."""


def choose_trials(request: Request) -> tuple[Chosen, list[str]]:
    """The variants `<method>-<i>` of a `tune` command; what is wrong is listed, and left out.

    The search's file says on which games or prompts they are tried: never on those that a
    comparison reports.
    """
    allowed = ("task", *SECTION_GROUPS)
    problems = [
        f"{group}: got {request.choices[group]!r}, allowed after {TUNE} is {', '.join(allowed)} "
        "and methods=[…]"
        for group in (*GROUPS, "size")
        if group in request.choices and group not in allowed
    ]
    tasks = chosen_tasks(request, [DEFAULT_TASK], problems)
    if len(tasks) > 1:
        problems.append(f"task: got {tasks}, allowed after {TUNE} is one of {', '.join(TASKS)}")
    task = tasks[0]
    empty = Chosen(
        kind=TUNE,
        name=f"{TUNE}_{task}",
        about={},
        source="",
        size=FULL,
        tasks=[task],
        method=DEFAULT_METHOD,
        groups=section_groups(request, [task], problems),
        variants=[],
        compare=[],
        trials={},
    )
    if task not in available("search"):
        problems.append(
            f"task: got {task!r}, which has no grids; allowed is a task with a file under "
            f"conf/search/: {', '.join(available('search'))}"
        )
        return empty, problems
    file = read_conf(f"search/{task}")
    grids = file.about["grids"]
    methods = pick_methods(request, list(grids), list(grids), problems)
    points = {method: grid_points(grids[method]) for method in methods}
    count, wrong = trial_count(request.choices.get("trials"), points)
    problems += wrong
    variants, trials = [], {}
    for method in methods:
        for number, point in enumerate(drawn(points[method], count, task)):
            values = {key: Given(value, file.source) for key, value in point.items()}
            variants.append(Variant(f"{method}-{number}", method, values, (task,)))
            trials[f"{method}-{number}"] = {"method": method, "values": point}
    chosen = empty._replace(about=file.about, source=file.source, variants=variants, trials=trials)
    return chosen, problems


def grid_points(grid: Mapping[str, Sequence[Any]]) -> list[Point]:
    """Every combination of the keys' values, the last key's the fastest."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def trial_count(asked: Any, points: Mapping[str, Sequence[Point]]) -> tuple[int, list[str]]:
    """How many trials each method has: those asked for, or the whole grid where all are alike."""
    sizes = {method: len(grid) for method, grid in points.items()}
    smallest = min(sizes.values())
    words = ", ".join(f"{method} {size}" for method, size in sizes.items())
    if asked is None:
        if len(set(sizes.values())) == 1:
            return smallest, []
        return smallest, [
            f"trials: missing, and the grids differ in size ({words}); allowed is the same number "
            f"for each method, 1 to {smallest}"
        ]
    if isinstance(asked, int) and not isinstance(asked, bool) and 1 <= asked <= smallest:
        return asked, []
    return smallest, [
        f"trials: got {asked!r}, allowed is an integer from 1 to {smallest}, the same number for "
        f"each method (grid points: {words})"
    ]


def drawn(points: Sequence[Point], count: int, seed: str) -> list[Point]:
    """`count` of the points in the grid's order, the same places of all grids of one size."""
    kept = random.Random(seed).sample(range(len(points)), count)
    return [points[index] for index in sorted(kept)]
