"""Rows of each variant's own target: the exact solution of what its method optimises.

A method is held against the solution of its own objective, not only against the game's
equilibrium: a magnet that never moves against its regularised equilibrium, PPO against the tilted
reference. benchmarks/own_targets.py solves for them when a run starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.intervals import mean_interval
from benchmarks.plan_results import RunResult
from benchmarks.rows import Row, by_seed, row

DEVIATION_TOLERANCE = 0.05
"""A run is at its own target's gap when the two gaps differ by no more than this."""
DISTANCE_TOLERANCE = 0.1
"""A run is at its own target when their total variation is no more than this as well."""
REGULARISED = "regularised equilibrium"


class Target(NamedTuple):
    """The solution of a run's own objective.

    gap is its duality gap; distance the total variation between the run's last policy and it,
    mean over prompts, None where the solution need not be unique.
    """

    name: str
    gap: float
    distance: float | None


def target_of(run: RunResult) -> Target | None:
    """The run's own target, or None where its objective has none that can be solved for."""
    metrics = run.metrics
    if name := metrics.get("target"):
        distance = metrics.get("tv_target")
        return Target(name, float(metrics["gap_target"]), None if distance is None else distance)
    if "target" not in metrics and stays_regularised(run):
        # A result of before own targets were recorded.
        return Target(REGULARISED, float(metrics["gap_regularised"]), None)
    return None


def stays_regularised(run: RunResult) -> bool:
    """True when theory puts the run's last iterate at its magnet's regularised equilibrium.

    That is the magnet never moves, and the opponent is the current policy (design.md section 2).
    """
    return (
        run.magnet_never_moves
        and run.method.get("opponent") == "policy"
        and "gap_regularised" in run.metrics
    )


def target_rows(place: tuple[str, str], variant: str, runs: Sequence[RunResult]) -> list[Row]:
    """gap_target, tv_target and gap_deviation of a variant's runs on a game."""
    known = [(run, target) for run in runs if (target := target_of(run)) is not None]
    if not known:
        return []
    own, targets = [run for run, _ in known], [target for _, target in known]
    rows = []
    if any("target" in run.metrics for run in own):
        gaps = [target.gap for target in targets]
        rows.append(_row(place, variant, "gap_target", own, gaps, targets[0].name))
    distances = [target.distance for target in targets if target.distance is not None]
    if len(distances) == len(own):
        note = (
            f"total variation to the {targets[0].name}, mean over prompts; largest "
            f"{max(distances):.3f}, tolerance {DISTANCE_TOLERANCE:g}"
        )
        rows.append(_row(place, variant, "tv_target", own, distances, note))
    deviations = [
        float(run.metrics["gap_last"]) - target.gap
        for run, target in zip(own, targets, strict=True)
    ]
    note = (
        f"gap_last - gap of the {targets[0].name}; largest {max(deviations, key=abs):+.3f}, "
        f"tolerance {DEVIATION_TOLERANCE:g}"
    )
    rows.append(_row(place, variant, "gap_deviation", own, deviations, note))
    return rows


def _row(
    place: tuple[str, str],
    variant: str,
    metric: str,
    runs: Sequence[RunResult],
    values: Sequence[float],
    note: str,
) -> Row:
    seeds = by_seed(runs, values)
    return row(
        place, variant, metric, mean_interval(values), runs, seed_values=seeds, footnote=note
    )
