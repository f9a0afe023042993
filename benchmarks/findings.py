"""Sentences about a table, generated from its numbers: what can and what cannot be concluded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from benchmarks.best_alpha import ALL_GAMES, family_of, family_pairs, is_sweep
from benchmarks.comparison_findings import add_comparison
from benchmarks.exact_rows import TASK as EXACT
from benchmarks.intervals import Difference, Interval
from benchmarks.language_findings import add_language
from benchmarks.plan_results import PlanResults
from benchmarks.rows import find, find_difference
from benchmarks.target_findings import add_targets
from benchmarks.trials import best_trials, is_tuning
from benchmarks.verdicts import HIGHER, LOWER, MINIMUM_SEEDS, TOO_FEW, UNRESOLVED, outcome
from benchmarks.wording import counted, listed, number


class Findings(NamedTuple):
    """Sentences: what the numbers support, and what they do not."""

    can: list[str]
    cannot: list[str]


def findings(table: pd.DataFrame, results: PlanResults) -> Findings:
    """The findings of all tasks; never empty: without a number it says that there is none."""
    can: list[str] = []
    cannot: list[str] = []
    if is_tuning(results):
        _add_trials(can, cannot, table, results)
    elif EXACT in results.tasks():
        if is_sweep(results):
            _add_sweep(can, cannot, table, results)
        else:
            _add_exact(can, cannot, table, results)
    for task in results.tasks():
        for group in results.groups(task) if task != EXACT and not is_tuning(results) else []:
            add_language(can, cannot, table, results, group)
    unfinished = [run.name for run in results.runs if run.status != "done"]
    if unfinished:
        cannot.append(
            f"{len(unfinished)} of {len(results.runs)} runs have no result, so every number above "
            "is of a part of the plan."
        )
    if not can:
        can.append("Nothing yet.")
    return Findings(can, cannot)


def _add_exact(
    can: list[str], cannot: list[str], table: pd.DataFrame, results: PlanResults
) -> None:
    groups = results.groups(EXACT)
    for pair in results.pairs(groups[0]):
        missing = _add_pair(can, cannot, table, pair, groups, "gap_last")
        if missing:
            cannot.append(
                f"`{pair[0]}` and `{pair[1]}` have no seed in common that is done on "
                f"{listed(missing)}: they are not compared there."
            )
    _add_few(cannot, table, results.pairs(groups[0]), groups, "gap_last")
    add_comparison(can, cannot, table, results)
    add_targets(can, cannot, results)
    cannot.append(
        f"The exact task is {len(groups)} small {'game' if len(groups) == 1 else 'games'} and "
        "one setting of each variant; nothing is claimed for other games, settings or budgets."
    )


def _add_pair(
    can: list[str],
    cannot: list[str],
    table: pd.DataFrame,
    pair: tuple[str, str],
    groups: Sequence[str],
    metric: str,
) -> list[str]:
    """Add what the pair's differences say on the groups; returns the groups without one."""
    found = {group: find_difference(table, group, *pair, metric) for group in groups}
    known = {group: difference for group, difference in found.items() if difference}
    where = " at its own best α" if metric != "gap_last" else ""
    for kind, words in ((LOWER, "a lower"), (HIGHER, "a higher")):
        parts = [
            f"{group} ({_versus(table, group, pair, metric, difference)})"
            for group, difference in known.items()
            if outcome(difference) == kind
        ]
        if parts:
            can.append(
                f"The last iterate of `{pair[0]}`{where} has {words} duality gap than that of "
                f"`{pair[1]}` on {listed(parts)}."
            )
    _add_unresolved(cannot, known, *pair)
    return [group for group in groups if group not in known]


def _versus(
    table: pd.DataFrame, group: str, pair: tuple[str, str], metric: str, difference: Difference
) -> str:
    """What the two variants reach on a game, in figures."""
    gaps = [find(table, group, variant, metric) for variant in pair]
    support = find(table, group, "", "equilibrium_support")
    ratio = find(table, group, pair[0], f"{metric}_ratio", pair[1])
    parts = [
        " against ".join(f"{gap.value:.3f}" for gap in gaps if gap),
        f"difference {number(Interval(*difference[:4]))}",
    ]
    if support:
        parts.insert(0, f"{'mixed' if support.value > 1 else 'pure'} equilibrium")
    if ratio and math.isfinite(ratio.value):
        parts.append(f"ratio {ratio.value:.2f}")
    return ", ".join(parts)


def _add_unresolved(
    cannot: list[str], known: dict[str, Difference], first: str, second: str
) -> None:
    parts = [
        f"{group} (difference {number(Interval(*difference[:4]))}; the smallest it could have "
        f"seen is {difference.minimum_detectable:.3f})"
        for group, difference in known.items()
        if outcome(difference) == UNRESOLVED
    ]
    if parts:
        cannot.append(
            f"Whether `{first}` or `{second}` has the lower gap is not resolved on {listed(parts)}."
        )


def _add_few(
    cannot: list[str],
    table: pd.DataFrame,
    pairs: Sequence[tuple[str, str]],
    groups: Sequence[str],
    metric: str,
) -> None:
    """The pairs that share too few seeds for a claim, in one sentence where they are alike."""
    alike: dict[tuple[str, str], list[str]] = {}
    for first, second in pairs:
        found = {group: find_difference(table, group, first, second, metric) for group in groups}
        few = [f"{g} ({d.n})" for g, d in found.items() if d and outcome(d) == TOO_FEW]
        if few:
            alike.setdefault((first, listed(few)), []).append(f"`{second}`")
    for (first, where), others in alike.items():
        each = "each of " if len(others) > 1 else ""
        cannot.append(
            f"`{first}` and {each}{listed(others)} share fewer than {MINIMUM_SEEDS} seeds on "
            f"{where}: no claim across seeds is made there."
        )


def _add_sweep(
    can: list[str], cannot: list[str], table: pd.DataFrame, results: PlanResults
) -> None:
    families = list(dict.fromkeys(str(family_of(name)) for name in results.variants()))
    tried = sorted({float(run.method["alpha"]) for run in results.runs})
    groups = [*results.groups(EXACT), ALL_GAMES]
    for group in groups:
        reached = []
        for family in families:
            alpha = find(table, group, family, "best_alpha")
            gap = find(table, group, family, "gap_last_best_alpha")
            if alpha and gap:
                at_edge = alpha.value in (tried[0], tried[-1])
                edge = ", the end of the range tried" if at_edge else ""
                reached.append(f"`{family}` {gap.value:.3f} (α = {alpha.value:g}{edge})")
        if len(reached) == len(families):
            can.append(f"At its own best α each variant reaches, on {group}: {listed(reached)}.")
        else:
            cannot.append(f"On {group} not every variant has a best α: runs are missing.")
    for pair in family_pairs(results):
        _add_pair(can, cannot, table, pair, groups, "gap_last_best_alpha")
    _add_few(cannot, table, family_pairs(results), groups, "gap_last_best_alpha")


def _add_trials(
    can: list[str], cannot: list[str], table: pd.DataFrame, results: PlanResults
) -> None:
    """Which trial of each method is the best, and at which end of the grid it lies."""
    trials = results.plan["trials"]
    for method, variant in best_trials(table, results).items():
        own = [trial["values"] for trial in trials.values() if trial["method"] == method]
        chosen = trials[variant]["values"]
        ends = [
            key
            for key, value in chosen.items()
            if isinstance(value, int | float)
            and len({each[key] for each in own}) > 1
            and value in (min(each[key] for each in own), max(each[key] for each in own))
        ]
        values = listed([f"{key}={value}" for key, value in chosen.items()])
        edge = f" ({listed(ends)} at the end of what was tried)" if ends else ""
        can.append(f"Of {counted(len(own), 'trial')} `{method}` is best at {values}{edge}.")
    cannot.append(
        "Trials choose settings: their scores are of tuning games or prompts, and that of the best "
        "is too good by having been chosen."
    )
