"""The trials of `tune`: each one's score, and the best of each method (plan["trials"])."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from benchmarks.atomic import write_text
from benchmarks.best_alpha import ALL_GAMES
from benchmarks.block import Block
from benchmarks.exact_rows import TASK as EXACT
from benchmarks.intervals import Interval, mean_interval
from benchmarks.plan_results import PlanResults
from benchmarks.rows import Row, find, row
from benchmarks.wording import listed, number

BEST_FILE = "best.yaml"
SCORE = "trial_score"


def is_tuning(results: PlanResults) -> bool:
    """True for a plan of `tune`."""
    return results.kind == "tune"


def trial_rows(results: PlanResults, rows: Sequence[Row]) -> list[Row]:
    """The score of each trial whose runs are all done.

    On the exact task the mean of gap_last over the tuning games, with its interval over seeds; on
    a language task the win rate against the initial policy on the tuning prompts, from `rows`.
    """
    if not is_tuning(results):
        return []
    found = []
    for variant in results.plan["trials"]:
        runs = [run for run in results.runs if run.variant == variant]
        if any(run.status != "done" for run in runs):
            continue
        if runs[0].task == EXACT:
            seeds = dict.fromkeys(run.seed for run in runs)
            means = [
                float(pd.Series([r.metrics["gap_last"] for r in runs if r.seed == seed]).mean())
                for seed in seeds
            ]
            values = " ".join(f"{s}={m:.6g}" for s, m in zip(seeds, means, strict=True))
            note = "mean gap_last over the tuning games; lower is better"
            score = mean_interval(means)
            place = (EXACT, ALL_GAMES)
            found.append(row(place, variant, SCORE, score, runs, seed_values=values, footnote=note))
        else:
            wins = [
                each
                for each in rows
                if (each.variant, each.metric, each.versus) == (variant, "win_rate", "")
            ]
            note = "win rate against the initial policy on the tuning prompts; higher is better"
            found += [each._replace(metric=SCORE, footnote=note) for each in wins]
    return found


def best_trials(table: pd.DataFrame, results: PlanResults) -> dict[str, str]:
    """Method to the variant of its best trial; a method without a score is left out."""
    best: dict[str, tuple[float, str]] = {}
    for variant, trial in results.plan["trials"].items():
        score = _score(table, results, variant)
        if score is None:
            continue
        cost = score.value if EXACT in results.tasks() else -score.value
        method = str(trial["method"])
        if method not in best or cost < best[method][0]:
            best[method] = (cost, variant)
    return {method: variant for method, (_, variant) in best.items()}


def write_best(folder: Path, table: pd.DataFrame, results: PlanResults) -> None:
    """Write best.yaml: each method's best values by dotted key."""
    if is_tuning(results):
        trials: dict[str, Any] = results.plan["trials"]
        best = {
            method: trials[variant]["values"]
            for method, variant in best_trials(table, results).items()
        }
        write_text(folder / BEST_FILE, OmegaConf.to_yaml(OmegaConf.create(best)))


def edge_notes(table: pd.DataFrame, results: PlanResults) -> list[str]:
    """A note that names the best values which lie at an edge of their grid."""
    if not is_tuning(results):
        return []
    trials = results.plan["trials"]
    found = []
    for method, variant in best_trials(table, results).items():
        own = [trial["values"] for trial in trials.values() if trial["method"] == method]
        for key, value in trials[variant]["values"].items():
            tried = sorted({values[key] for values in own})
            if len(tried) > 2 and value in (tried[0], tried[-1]):
                side = "smallest" if value == tried[0] else "largest"
                found.append(f"{method} {key} {_cell(value)} ({side} of {len(tried)})")
    if not found:
        return []
    return [f"Best at the edge of what was tried, so beyond it may be better: {listed(found)}."]


def trials_block(table: pd.DataFrame, results: PlanResults) -> Block:
    """Every trial with its score, the best of each method marked."""
    best = set(best_trials(table, results).values())
    rows = []
    for variant, trial in results.plan["trials"].items():
        score = _score(table, results, variant)
        rows.append(
            {
                "method": str(trial["method"]),
                "trial": variant,
                **{str(key): _cell(value) for key, value in trial["values"].items()},
                "score": number(score) if score else "no score: runs failed or are missing",
                "best": "best" if variant in best else "",
            }
        )
    kind = "mean gap_last of the tuning games" if EXACT in results.tasks() else "win rate"
    return Block(f"Trials: {kind}", pd.DataFrame(rows).fillna("-"))


def _score(table: pd.DataFrame, results: PlanResults, variant: str) -> Interval | None:
    groups = [ALL_GAMES, *(group for task in results.tasks() for group in results.groups(task))]
    found = (find(table, group, variant, SCORE) for group in groups)
    return next((score for score in found if score is not None), None)


def _cell(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
