"""Rows of a self-play run's rounds, the paper's Iter.1, Iter.2, …, named `<metric>_round<r>`.

A round's number is that of the policy at its end; of a run that stopped before its last round was
over, only the rounds that ended are there.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.intervals import mean_interval
from benchmarks.plan_results import RunResult
from benchmarks.rows import Row, by_seed, row


def rounds_of(runs: Sequence[RunResult]) -> list[int]:
    """The rounds that all the runs have ended, in order."""
    ended = [{int(entry["round"]) for entry in run.rounds} for run in runs]
    return sorted(set.intersection(*ended)) if ended else []


def round_samples(run: RunResult, round: int) -> str:
    """The file of the samples at a round's end; the last round's are the run's own."""
    own = f"samples_round{round}.jsonl"
    return own if (run.folder / own).is_file() else "samples.jsonl"


def exact_round_rows(place: tuple[str, str], variant: str, runs: Sequence[RunResult]) -> list[Row]:
    """gap_last and gap_average at the end of each round."""
    rows = []
    for number in rounds_of(runs):
        entries = [
            next(entry for entry in run.rounds if int(entry["round"]) == number) for run in runs
        ]
        for metric in ("gap_last", "gap_average"):
            values = [float(entry[metric]) for entry in entries]
            rows.append(
                row(
                    place,
                    variant,
                    f"{metric}_round{number}",
                    mean_interval(values),
                    runs,
                    seed_values=by_seed(runs, values),
                    footnote=f"after iteration {_iterations(entries)}",
                )
            )
    return rows


def _iterations(entries: Sequence[dict[str, object]]) -> str:
    return " or ".join(dict.fromkeys(str(entry["iteration"]) for entry in entries))
