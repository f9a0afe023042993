"""Rows of the exact task: gaps of each game and variant, and paired differences over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.cost_rows import cost_rows
from benchmarks.intervals import (
    Interval,
    mean_interval,
    paired_difference,
    paired_ratio,
)
from benchmarks.plan_results import PlanResults, RunResult
from benchmarks.round_rows import exact_round_rows
from benchmarks.rows import Row, by_seed, difference_rows, row
from benchmarks.target_rows import target_rows

TASK = "exact"
# Averaged over seeds where every run of the variant has it: not every method has a magnet.
MEANS = (
    "gap_initial",
    "gap_last",
    "gap_average",
    "gap_regularised",
    "gap_regularised_sequence",
    "gap_regularised_per_token",
    "kl_reference",
    "response_length",
)


def exact_rows(results: PlanResults) -> list[Row]:
    """All rows of the exact task, of the runs that are done."""
    rows: list[Row] = []
    for group in results.groups(TASK):
        runs = [run for run in results.done(TASK) if run.group == group]
        rows += _game_rows(group, runs)
        for variant in results.variants():
            own = [run for run in runs if run.variant == variant]
            if own:
                rows += _variant_rows(group, variant, own)
        for pair in results.pairs():
            rows += _pair_rows(group, pair, runs)
    return rows


def _game_rows(group: str, runs: Sequence[RunResult]) -> list[Row]:
    if not runs:
        return []
    support = [int(size) for size in runs[0].metrics["equilibrium_support"]]
    note = f"{equilibrium_kind(support)}; support per prompt {', '.join(map(str, support))}"
    largest = Interval(float(max(support)), math.nan, math.nan, len(support))
    return [row((TASK, group), "", "equilibrium_support", largest, runs[:1], "", footnote=note)]


def equilibrium_kind(support: Sequence[int]) -> str:
    """mixed when any prompt's equilibrium plays more than one response, else pure."""
    return "mixed" if max(support) > 1 else "pure"


def _variant_rows(group: str, variant: str, runs: Sequence[RunResult]) -> list[Row]:
    place = (TASK, group)
    rows = []
    for metric in MEANS:
        if all(metric in run.metrics for run in runs):
            values = [float(run.metrics[metric]) for run in runs]
            seeds = by_seed(runs, values)
            rows.append(row(place, variant, metric, mean_interval(values), runs, seed_values=seeds))
    rows += target_rows(place, variant, runs)
    rows += exact_round_rows(place, variant, runs)
    return rows + cost_rows(place, variant, runs)


def _pair_rows(group: str, pair: tuple[str, str], runs: Sequence[RunResult]) -> list[Row]:
    first, second = ({run.seed: run for run in runs if run.variant == variant} for variant in pair)
    seeds = [seed for seed in first if seed in second]
    if not seeds:
        return []
    place = (TASK, group)
    used = [first[seed] for seed in seeds] + [second[seed] for seed in seeds]
    rows: list[Row] = []
    for metric in ("gap_last", "gap_average"):
        a = [float(first[seed].metrics[metric]) for seed in seeds]
        b = [float(second[seed].metrics[metric]) for seed in seeds]
        deltas = by_seed(used[: len(seeds)], [x - y for x, y in zip(a, b, strict=True)])
        difference = paired_difference(a, b)
        rows += difference_rows(place, pair, metric, difference, used, seed_values=deltas)
        ratio = paired_ratio(a, b)
        rows.append(row(place, pair[0], f"{metric}_ratio", ratio, used, versus=pair[1]))
    return rows
