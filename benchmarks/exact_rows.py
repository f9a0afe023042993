"""Rows of the exact task: gaps of each game and variant, and paired differences over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.intervals import (
    Interval,
    mean_interval,
    paired_difference,
    paired_ratio,
)
from benchmarks.plan_results import PlanResults, RunResult
from benchmarks.rows import Row, by_seed, difference_rows, row

TASK = "exact"
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
# A magnet that never moves must end this close to its regularised equilibrium's gap.
DEVIATION_TOLERANCE = 0.05


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
        values = [float(run.metrics[metric]) for run in runs]
        seeds = by_seed(runs, values)
        rows.append(row(place, variant, metric, mean_interval(values), runs, seed_values=seeds))
    rows += cost_rows(place, variant, runs)
    anchored = [run for run in runs if stays_regularised(run)]
    if anchored:
        values = [run.metrics["gap_last"] - run.metrics["gap_regularised"] for run in anchored]
        largest = max(values, key=abs)
        rows.append(
            row(
                place,
                variant,
                "gap_deviation",
                mean_interval(values),
                anchored,
                seed_values=by_seed(anchored, values),
                footnote=f"gap_last - gap_regularised; largest {largest:+.3f}, "
                f"tolerance {DEVIATION_TOLERANCE:g}",
            )
        )
    return rows


def stays_regularised(run: RunResult) -> bool:
    """True when theory puts the run's last iterate at its magnet's regularised equilibrium.

    That is the magnet never moves, and the opponent is the current policy (design.md section 2).
    """
    return run.magnet_never_moves and run.method["opponent"] == "policy"


def cost_rows(place: tuple[str, str], variant: str, runs: Sequence[RunResult]) -> list[Row]:
    """Mean cost of a run: samples, judge calls, tokens, seconds, MiB; no intervals."""
    costs = {
        name: [run.result["counts"][name] for run in runs] for name in runs[0].result["counts"]
    }
    for name in runs[0].result["seconds"]:
        costs[f"seconds_{name}"] = [run.result["seconds"][name] for run in runs]
    costs["peak_memory_mib"] = [run.result["peak_memory_mib"] for run in runs]
    return [
        row(
            place,
            variant,
            name,
            Interval(float(np.mean(values)), math.nan, math.nan, len(runs)),
            runs,
            "",
            seed_values=by_seed(runs, values),
        )
        for name, values in costs.items()
    ]


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
