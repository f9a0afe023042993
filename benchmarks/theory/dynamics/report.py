"""What `experiment=dynamics` has found, in sentences that follow from the table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.theory.dynamics.table import Summary, calls
from benchmarks.wording import listed, share

TOLERANCE = "1e-3"
"""The tolerance of the sentences and of the profile."""

FAR_BETTER = 10.0
"""The average iterate is worth a sentence when its gap is so many times smaller than the last's."""


def sentences(summaries: Sequence[Summary]) -> list[str]:
    """A few sentences for each game."""
    found = []
    for game in dict.fromkeys(summary.game for summary in summaries):
        found += _of_game(game, [summary for summary in summaries if summary.game == game])
    return found


def _of_game(game: str, summaries: Sequence[Summary]) -> list[str]:
    most = max(summary.solved[TOLERANCE].value for summary in summaries)
    seeds = summaries[0].gap_last.n
    runs = "the only run" if seeds == 1 else f"all {seeds} runs"
    if most == 0:
        found = [f"On {game} no method's last iterate reached a gap of {TOLERANCE}."]
    else:
        best = [s for s in summaries if s.solved[TOLERANCE].value == most]
        names = listed([f"`{summary.method}`" for summary in best])
        interval = share(best[0].solved[TOLERANCE])
        solved = f"{runs}" if most == 1 else f"{interval} of the {seeds} runs, the most,"
        verb = "solves" if len(best) == 1 else "solve"
        found = [f"On {game} {names} {verb} {solved} to a gap of {TOLERANCE}."]
    median = {s.method: s.median[TOLERANCE] for s in summaries}
    finite = sorted((value, name) for name, value in median.items() if math.isfinite(value))
    if finite:
        ranked = listed([f"`{name}` {calls(value)}" for value, name in finite])
        found.append(f"Median oracle calls to that gap: {ranked}.")
    none = [f"`{s.method}`" for s in summaries if s.solved[TOLERANCE].value == 0 < most]
    if none:
        verb = "solves" if len(none) == 1 else "solve"
        found.append(f"Within the budget {listed(none)} {verb} none of them.")
    nearer = [
        f"`{s.method}` {s.gap_last_median:.2g} and {s.gap_average_median:.2g}"
        for s in summaries
        if s.gap_last_median > float(TOLERANCE)
        and s.gap_average_median * FAR_BETTER < s.gap_last_median
    ]
    if nearer:
        found.append(
            "Far nearer with the average iterate, which takes keeping all policies, than with the "
            f"last (median gaps of the last and the average): {listed(nearer)}."
        )
    return [" ".join(found)]
