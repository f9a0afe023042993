"""Rows of a language task: win rates, text quality, costs and the panel's intransitivity.

Below MINIMUM_SEEDS seeds a variant, intervals are over prompts and conditional on the runs: the
seeds' values are averaged by prompt, then prompts are resampled. From there on they are over
seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from benchmarks.contests import PanelMaker, contests
from benchmarks.cost_rows import cost_rows
from benchmarks.intervals import (
    Difference,
    Interval,
    mean_interval,
    minimum_detectable,
    paired_difference,
)
from benchmarks.intransitivity_rows import intransitivity_rows
from benchmarks.plan_results import INITIAL, PlanResults, RunResult
from benchmarks.round_rows import rounds_of
from benchmarks.rows import Row, by_seed, difference_rows, row
from benchmarks.verdicts import MINIMUM_SEEDS

QUALITY = ("response_length", "truncated", "empty", "one_word", "repeated_ngram")
KEYS = ("key", "prompt_id", "run", "versus", "round")

# A run's values of one measure by prompt: index prompt_id.
ByPrompt = pd.Series


def language_rows(results: PlanResults, task: str, panel: PanelMaker) -> list[Row]:
    """All rows of a language task, of the runs that are done."""
    played = contests(results, task, panel)
    quality = {
        run.name: quality_by_prompt(run)
        for role in (INITIAL, "train")
        for run in results.done(task, role)
    }
    rows: list[Row] = []
    for group in results.groups(task):
        place = (task, group)
        trained = {
            variant: [r for r in results.done(task) if (r.group, r.variant) == (group, variant)]
            for variant in results.variants()
        }
        trained = {variant: runs for variant, runs in trained.items() if runs}
        initial = [run for run in results.done(task, INITIAL) if run.group == group]
        for variant, runs in [*trained.items(), (INITIAL, initial)]:
            if runs:
                rows += _quality_rows(place, variant, runs, initial, quality)
        for variant, runs in trained.items():
            rows += _scalar_rows(place, variant, runs)
            for other in initial:
                rows += _contest_rows(place, variant, runs, [other] * len(runs), played, "")
                rows += _round_rows(place, variant, runs, [other] * len(runs), played)
            rows += cost_rows(place, variant, runs)
        for pair in results.pairs():
            rows += _pair_rows(place, pair, trained, initial, played)
        rows += intransitivity_rows(place, results, panel)
    return rows


def quality_by_prompt(run: RunResult) -> pd.DataFrame:
    """Length in tokens and shares of bad responses, a row a prompt (index prompt_id)."""
    from mpo.text_quality import quality_shares

    rows: dict[int, dict[str, float]] = {}
    for _, own in run.samples().groupby("prompt_id", sort=True):
        truncated = [not ended for ended in own["ended"]]
        shares = dict(quality_shares([str(text) for text in own["response"]], truncated))
        rows[int(own["prompt_id"].iloc[0])] = {
            **shares,
            "response_length": float(own["tokens"].mean()),
        }
    return pd.DataFrame.from_dict(rows, orient="index")[list(QUALITY)]


def pooled(values: Sequence[ByPrompt]) -> tuple[np.ndarray, str]:
    """The numbers to take an interval of, and its unit: seeds' means, or prompts' means."""
    if len(values) >= MINIMUM_SEEDS:
        return np.array([float(value.mean()) for value in values]), "seeds"
    return pd.concat(values, axis=1).mean(axis=1).to_numpy(), "prompts"


def _seeds(runs: Sequence[RunResult], values: Sequence[ByPrompt]) -> str:
    return by_seed(runs, [float(value.mean()) for value in values])


def _quality_rows(
    place: tuple[str, str],
    variant: str,
    runs: Sequence[RunResult],
    initial: Sequence[RunResult],
    quality: Mapping[str, pd.DataFrame],
) -> list[Row]:
    rows = []
    for metric in QUALITY:
        values = [quality[run.name][metric] for run in runs]
        numbers, unit = pooled(values)
        seeds = _seeds(runs, values)
        rows.append(row(place, variant, metric, mean_interval(numbers), runs, unit, "", seeds))
        if variant != INITIAL and initial:
            before = [quality[initial[0].name][metric]] * len(runs)
            rows += _difference_rows(place, (variant, INITIAL), metric, values, before, runs)
    return rows


def _difference_rows(
    place: tuple[str, str],
    pair: tuple[str, str],
    metric: str,
    first: Sequence[ByPrompt],
    second: Sequence[ByPrompt],
    runs: Sequence[RunResult],
) -> list[Row]:
    a, unit = pooled(first)
    b, _ = pooled(second)
    deltas = [x - y for x, y in zip(first, second, strict=True)]
    difference: Difference = paired_difference(a, b)
    return difference_rows(
        place, pair, metric, difference, runs, unit, _seeds(runs[: len(deltas)], deltas)
    )


def _scalar_rows(place: tuple[str, str], variant: str, runs: Sequence[RunResult]) -> list[Row]:
    """Numbers that a run has only one of: no interval below MINIMUM_SEEDS."""
    rows = []
    for metric in ("kl_reference", "magnet_moves"):
        if any(metric not in run.metrics for run in runs):
            continue
        values = [float(run.metrics[metric]) for run in runs]
        interval = mean_interval(values)
        if len(runs) < MINIMUM_SEEDS:
            interval = interval._replace(low=math.nan, high=math.nan)
        rows.append(row(place, variant, metric, interval, runs, "seeds", "", by_seed(runs, values)))
    return rows


def _outcomes(
    played: pd.DataFrame,
    runs: Sequence[RunResult],
    others: Sequence[RunResult],
    measure: str,
    round: int = 0,
) -> list[ByPrompt]:
    mine = played[played["round"] == round]
    return [
        mine[(mine["run"] == run.name) & (mine["versus"] == other.name)].set_index("prompt_id")[
            measure
        ]
        for run, other in zip(runs, others, strict=True)
    ]


def _round_rows(
    place: tuple[str, str],
    variant: str,
    runs: Sequence[RunResult],
    others: Sequence[RunResult],
    played: pd.DataFrame,
) -> list[Row]:
    """Win rate against the initial policy at the end of each round."""
    rows = []
    for number in rounds_of(runs):
        values = _outcomes(played, runs, others, "total", number)
        numbers, unit = pooled(values)
        interval, seeds = mean_interval(numbers), _seeds(runs, values)
        metric = f"win_rate_round{number}"
        rows.append(row(place, variant, metric, interval, runs, unit, "", seeds))
    return rows


def _measures(played: pd.DataFrame) -> dict[str, str]:
    """Column of contests.csv -> metric's name."""
    columns = [column for column in played.columns if column not in KEYS]
    return {c: "win_rate" if c == "total" else f"win_rate_{c}" for c in columns}


def _contest_rows(
    place: tuple[str, str],
    variant: str,
    runs: Sequence[RunResult],
    others: Sequence[RunResult],
    played: pd.DataFrame,
    versus: str,
) -> list[Row]:
    """Win rates of runs against others (the initial policy when versus is empty)."""
    rows = []
    for column, metric in _measures(played).items():
        values = _outcomes(played, runs, others, column)
        numbers, unit = pooled(values)
        name = metric.replace("win_rate", f"win_rate_versus_{versus}", 1) if versus else metric
        interval, seeds = mean_interval(numbers), _seeds(runs, values)
        rows.append(row(place, variant, name, interval, runs, unit, versus, seeds))
        detectable = Interval(minimum_detectable(numbers), math.nan, math.nan, len(numbers))
        rows.append(
            row(
                place,
                variant,
                f"{name}_minimum_detectable",
                detectable,
                runs,
                unit,
                versus,
                footnote="smallest distance from 1/2 seen with 80 % power at 5 %",
            )
        )
    return rows


def _pair_rows(
    place: tuple[str, str],
    pair: tuple[str, str],
    trained: Mapping[str, Sequence[RunResult]],
    initial: Sequence[RunResult],
    played: pd.DataFrame,
) -> list[Row]:
    """The two variants against each other, and their win rates' difference, seeds paired."""
    first, second = ({run.seed: run for run in trained.get(name, [])} for name in pair)
    seeds = [seed for seed in first if seed in second]
    if not seeds:
        return []
    ours, theirs = [first[seed] for seed in seeds], [second[seed] for seed in seeds]
    rows = _contest_rows(place, pair[0], ours, theirs, played, pair[1])
    for other in initial:
        for column, metric in _measures(played).items():
            a = _outcomes(played, ours, [other] * len(ours), column)
            b = _outcomes(played, theirs, [other] * len(theirs), column)
            rows += _difference_rows(place, pair, metric, a, b, [*ours, *theirs])
    return rows
