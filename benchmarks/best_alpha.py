"""Each variant at its own best alpha, chosen on some seeds and reported on others.

At equal alpha a large alpha would flatter the magnet that moves: a magnet that never moves leaves
a larger gap the larger alpha is (design.md section 2). A sweep's variants are called
`<variant>_alpha<value>`; its plan says `select: {seeds: [...], report: [...]}`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.exact_rows import TASK
from benchmarks.intervals import Interval, mean_interval, paired_difference, paired_ratio
from benchmarks.plan_results import PlanResults, RunResult
from benchmarks.rows import Row, difference_rows, row

ALL_GAMES = "all games"
_SWEPT = re.compile(r"^(?P<family>.+)_alpha(?P<alpha>[0-9.eE+-]+)$")

# (seed, group) -> run, of one variant at one alpha.
Cells = Mapping[tuple[int, str], RunResult]


class Choice(NamedTuple):
    """The alpha chosen for a family, and its gaps on the seeds that report it (seed -> gap)."""

    alpha: float
    selected_gap: float
    reported: dict[int, float]
    runs: list[RunResult]


def family_of(variant: str) -> str | None:
    """The variant's name without its alpha, or None when it is not of a sweep."""
    match = _SWEPT.match(variant)
    return match["family"] if match else None


def is_sweep(results: PlanResults) -> bool:
    """True when every trained variant is named after its alpha."""
    variants = results.variants()
    return bool(variants) and all(family_of(variant) for variant in variants)


def best_alpha_rows(results: PlanResults) -> list[Row]:
    """Rows best_alpha, gap_last_best_alpha and their differences; none if there is no sweep."""
    select = results.plan.get("select")
    if not select or not is_sweep(results):
        return []
    families = _families(results)
    groups = results.groups(TASK)
    rows: list[Row] = []
    for label, games in [*((group, [group]) for group in groups), (ALL_GAMES, groups)]:
        choices = {}
        for family, sweep in families.items():
            choice = choose(sweep, games, select["seeds"], select["report"])
            if choice:
                choices[family] = choice
                rows += _choice_rows((TASK, label), family, choice, select["seeds"])
        for first, second in family_pairs(results):
            if first in choices and second in choices:
                rows += _pair_rows((TASK, label), (first, second), choices)
    return rows


def choose(
    sweep: Mapping[float, Cells], games: Sequence[str], seeds: Sequence[int], report: Sequence[int]
) -> Choice | None:
    """The alpha with the smallest mean gap_last over seeds and games, and its gaps on report.

    Only alphas all of whose runs on seeds are done take part; None when there is no such alpha
    or none of the chosen alpha's runs on report is done.
    """
    means: dict[float, float] = {}
    for alpha, cells in sweep.items():
        wanted = [(seed, game) for seed in seeds for game in games]
        if all(cell in cells for cell in wanted):
            gaps = [float(cells[cell].metrics["gap_last"]) for cell in wanted]
            means[alpha] = float(np.mean(gaps))
    if not means:
        return None
    alpha = min(means, key=lambda candidate: means[candidate])
    reported: dict[int, float] = {}
    runs: list[RunResult] = []
    for seed in report:
        own = [sweep[alpha][seed, game] for game in games if (seed, game) in sweep[alpha]]
        if len(own) == len(games):
            reported[seed] = float(np.mean([run.metrics["gap_last"] for run in own]))
            runs += own
    return Choice(alpha, means[alpha], reported, runs) if reported else None


def _families(results: PlanResults) -> dict[str, dict[float, dict[tuple[int, str], RunResult]]]:
    families: dict[str, dict[float, dict[tuple[int, str], RunResult]]] = {}
    for run in results.done(TASK):
        sweep = families.setdefault(str(family_of(run.variant)), {})
        sweep.setdefault(float(run.method["alpha"]), {})[run.seed, run.group] = run
    return families


def family_pairs(results: PlanResults) -> list[tuple[str, str]]:
    """The plan's pairs to compare, without their alphas."""
    pairs = [(str(family_of(a)), str(family_of(b))) for a, b in results.pairs()]
    return list(dict.fromkeys(pair for pair in pairs if pair[0] != pair[1]))


def _choice_rows(
    place: tuple[str, str], family: str, choice: Choice, seeds: Sequence[int]
) -> list[Row]:
    note = f"chosen on seeds {', '.join(map(str, seeds))}, mean gap there {choice.selected_gap:.4f}"
    chosen = Interval(choice.alpha, math.nan, math.nan, len(seeds))
    gap = mean_interval(list(choice.reported.values()))
    values = " ".join(f"{seed}={value:.6g}" for seed, value in choice.reported.items())
    return [
        row(place, family, "best_alpha", chosen, choice.runs, "", footnote=note),
        row(place, family, "gap_last_best_alpha", gap, choice.runs, seed_values=values),
    ]


def _pair_rows(
    place: tuple[str, str], pair: tuple[str, str], choices: Mapping[str, Choice]
) -> list[Row]:
    first, second = (choices[name] for name in pair)
    seeds = [seed for seed in first.reported if seed in second.reported]
    if not seeds:
        return []
    a, b = ([choice.reported[seed] for seed in seeds] for choice in (first, second))
    runs = [*first.runs, *second.runs]
    metric = "gap_last_best_alpha"
    rows = difference_rows(place, pair, metric, paired_difference(a, b), runs)
    ratio = paired_ratio(a, b)
    return [*rows, row(place, pair[0], f"{metric}_ratio", ratio, runs, versus=pair[1])]
