"""Sentences about own targets: does each variant reach the solution of its own objective?"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.exact_rows import TASK
from benchmarks.plan_results import PlanResults, RunResult
from benchmarks.target_rows import DEVIATION_TOLERANCE, DISTANCE_TOLERANCE, Target, target_of
from benchmarks.wording import counted, listed


def add_targets(can: list[str], cannot: list[str], results: PlanResults) -> None:
    """Add a sentence for each variant whose objective has a known solution.

    A run has reached it when its last iterate's gap is within DEVIATION_TOLERANCE of the
    solution's and, where the solution is one policy, no farther than DISTANCE_TOLERANCE from it.
    """
    for variant in results.variants():
        known = [
            (run, target)
            for run in results.done(TASK)
            if run.variant == variant and (target := target_of(run)) is not None
        ]
        if known:
            sentence, reached = _sentence(variant, known)
            (can if reached else cannot).append(sentence)


def _sentence(variant: str, known: Sequence[tuple[RunResult, Target]]) -> tuple[str, bool]:
    names = list(dict.fromkeys(target.name for _, target in known))
    deviations = [abs(float(run.metrics["gap_last"]) - target.gap) for run, target in known]
    distances = [target.distance for _, target in known if target.distance is not None]
    solution = f"the solution of its own objective ({listed(names)})"
    size = f"largest distance {max(deviations):.3f}"
    if distances:
        size += f"; total variation up to {max(distances):.3f}"
    away = [
        run
        for (run, _), deviation in zip(known, deviations, strict=True)
        if deviation > DEVIATION_TOLERANCE
    ]
    if away:
        games = dict.fromkeys(run.group for run in away)
        places = [f"{game} {sum(run.group == game for run in away)}" for game in games]
        return (
            f"`{variant}`: {len(away)} of {counted(len(known), 'run')} ended farther than "
            f"{DEVIATION_TOLERANCE:g} from the gap of {solution} ({', '.join(places)}; {size}): at "
            "this budget and learning rate they have not reached it."
        ), False
    where = f"within {DEVIATION_TOLERANCE:g} of the gap of {solution}"
    if distances and max(distances) > DISTANCE_TOLERANCE:
        return (
            f"`{variant}`: {counted(len(known), 'run')} ended {where}, but not all at its policy "
            f"({size}, more than {DISTANCE_TOLERANCE:g}): the gaps agree, the policies do not."
        ), False
    return f"`{variant}`: {counted(len(known), 'run')} ended {where} ({size}).", True
