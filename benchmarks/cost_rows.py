"""Rows of what a run used: prompts, samples, judge calls, tokens, optimizer steps, seconds, MiB."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.intervals import Interval
from benchmarks.plan_results import RunResult
from benchmarks.rows import Row, by_seed, row

COUNTS = ("prompts", "samples", "judge_calls", "tokens", "optimizer_steps")
"""What a run counts, in the order of the tables."""


def counts_of(run: RunResult) -> dict[str, float]:
    """What a run used, by the names of COUNTS; without those that its result does not tell.

    Results written before prompts and optimizer steps were counted have them in their config.
    """
    counted = dict(run.result["counts"])
    iterations = run.metrics.get("iterations")
    if iterations is not None:
        counted.setdefault("prompts", iterations * run.config["train"]["prompts"])
        if "inner_steps" in run.method:
            counted.setdefault("optimizer_steps", iterations * run.method["inner_steps"])
    return {name: counted[name] for name in COUNTS if name in counted}


def cost_rows(place: tuple[str, str], variant: str, runs: Sequence[RunResult]) -> list[Row]:
    """Mean cost of a run of a variant, of those that all its runs tell; no intervals."""
    costs = [
        {
            **counts_of(run),
            **{f"seconds_{name}": value for name, value in run.result["seconds"].items()},
            "peak_memory_mib": run.result["peak_memory_mib"],
        }
        for run in runs
    ]
    told = [name for name in costs[0] if all(name in cost for cost in costs)]
    rows = []
    for name in told:
        values = [float(cost[name]) for cost in costs]
        mean = Interval(float(np.mean(values)), math.nan, math.nan, len(runs))
        rows.append(row(place, variant, name, mean, runs, "", seed_values=by_seed(runs, values)))
    return rows
