"""What the paper says of its ablations, beside what was measured here.

A claim belongs to a setting of the method; it is held against every pair of the plan that differs
in that setting and in nothing else. The paper measures language models by a cost model, GPT-4o and
benchmarks; here it is the duality gap of the last iterate, so only the kind of the result, which of
the two is better, can agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from benchmarks.best_alpha import is_sweep
from benchmarks.exact_rows import TASK
from benchmarks.intervals import Interval
from benchmarks.plan_results import PlanResults, RunResult
from benchmarks.rows import find_difference
from benchmarks.verdicts import HIGHER, LOWER, outcome
from benchmarks.wording import listed, number


class Claim(NamedTuple):
    """The paper says that the variant whose `setting` of the method is `worse` is the worse one."""

    setting: str
    worse: object
    says: str
    source: str


CLAIMS = (
    Claim(
        "proximal",
        "clip",
        "clipping in place of the KL loss performs worse",
        "Figure 5 and Ablation Study",
    ),
    Claim(
        "magnet_interval",
        None,
        "a reference that is fixed is significantly outperformed by one that is updated",
        "Figure 5 and Ablation Study",
    ),
    Claim(
        "self_play",
        False,
        "without self-play the performance is severely compromised, below the last round's of "
        "self-play: cost −4.18 against −11.38 (PKU-SafeRLHF), 6.41 against −3.86 (HH-Harmless), "
        "GPT-4o win rate 30.1 % against 79.5 %",
        'Tables 1 and 2, rows "wo. SP"',
    ),
)


def paper_sentences(table: pd.DataFrame, results: PlanResults) -> list[str]:
    """A sentence for each claim that the plan's pairs put to the test on the exact task.

    None for a sweep: what its variants reach is said at each one's own best alpha.
    """
    if is_sweep(results):
        return []
    sentences: list[str] = []
    for claim in CLAIMS:
        for pair in results.pairs():
            oriented = _oriented(claim, pair, results)
            if oriented:
                sentences += _compared(claim, pair, oriented, table, results)
    return sentences


def _oriented(claim: Claim, pair: tuple[str, str], results: PlanResults) -> tuple[str, str] | None:
    """(better, worse) as the paper has it; None where the pair differs in something else."""
    runs = [next((run for run in results.runs if run.variant == name), None) for name in pair]
    first, second = runs
    if first is None or second is None or _rest(claim, first) != _rest(claim, second):
        return None
    if any(claim.setting not in run.method for run in (first, second)):
        return None
    worse = [run.method[claim.setting] == claim.worse for run in (first, second)]
    if worse == [False, True]:
        return pair
    return (pair[1], pair[0]) if worse == [True, False] else None


def _rest(claim: Claim, run: RunResult) -> Mapping[str, Any]:
    """The run's config without the claim's setting and without names, seed and game."""
    method = {k: v for k, v in run.method.items() if k not in (claim.setting, "name")}
    task = {k: v for k, v in run.config["task"].items() if k not in ("kind", "game_seed")}
    rest = {k: v for k, v in run.config.items() if k not in ("seed", "variant")}
    return {**rest, "method": method, "task": task}


def _compared(
    claim: Claim,
    pair: tuple[str, str],
    oriented: tuple[str, str],
    table: pd.DataFrame,
    results: PlanResults,
) -> list[str]:
    better, worse = oriented
    agrees: list[str] = []
    differs: list[str] = []
    neither: list[str] = []
    for group in results.groups(TASK):
        difference = find_difference(table, group, *pair, "gap_last")
        if difference is None:
            continue
        words = f"{group} ({number(Interval(*difference[:4]))})"
        expected = LOWER if pair == oriented else HIGHER
        found = outcome(difference)
        kind = agrees if found == expected else differs if found in (LOWER, HIGHER) else neither
        kind.append(words)
    if not (agrees or differs or neither):
        return []
    parts = []
    if agrees:
        parts.append(f"agrees on {listed(agrees)}")
    if differs:
        parts.append(
            f"does NOT agree in kind on {listed(differs)}, where `{worse}` has the lower gap"
        )
    if neither:
        parts.append(f"decides nothing on {listed(neither)}")
    return [
        f"The paper ({claim.source}): {claim.says}. Here, gap_last of `{pair[0]}` less that of "
        f"`{pair[1]}`, with `{better}` expected to be lower: the exact task "
        f"{'; it '.join(parts)}."
    ]
