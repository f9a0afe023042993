"""The blocks of table.md and of the console's table: small data frames of formatted cells."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from benchmarks.best_alpha import ALL_GAMES, family_of, family_pairs, is_sweep
from benchmarks.exact_rows import TASK as EXACT
from benchmarks.intervals import Interval
from benchmarks.language_rows import INITIAL
from benchmarks.plan_results import PlanResults
from benchmarks.rows import find, find_difference
from benchmarks.verdicts import verdict
from benchmarks.wording import NONE, number, share


class Block(NamedTuple):
    """A titled table of text cells."""

    title: str
    frame: pd.DataFrame


def blocks(table: pd.DataFrame, results: PlanResults) -> list[Block]:
    """All blocks that the table has numbers for, exact task first."""
    found: list[Block] = []
    for task in results.tasks():
        for group in results.groups(task) if task != EXACT else []:
            found += _language_blocks(table, results, group)
        if task == EXACT and is_sweep(results):
            found += _sweep_blocks(table, results)
        elif task == EXACT:
            found += _exact_blocks(table, results)
    return [block for block in found if not block.frame.empty]


def _exact_blocks(table: pd.DataFrame, results: PlanResults) -> list[Block]:
    gaps, comparisons = [], []
    for group in results.groups(EXACT):
        label = f"{group} ({_support(table, group)})"
        for variant in results.variants():
            last = find(table, group, variant, "gap_last")
            if last is None:
                continue
            gaps.append(
                {
                    "game (equilibrium's support by prompt)": label,
                    "variant": variant,
                    "gap_last": number(last),
                    "gap_average": number(find(table, group, variant, "gap_average")),
                    "gap_regularised": number(find(table, group, variant, "gap_regularised")),
                    "seeds": str(last.n),
                }
            )
            label = ""
        for pair in results.pairs():
            comparisons.append(_comparison(table, group, pair, "gap_last"))
    return [
        Block("Exact task: duality gap, 0 is an equilibrium", pd.DataFrame(gaps)),
        Block("Exact task: paired differences over seeds", _rows(comparisons)),
    ]


def _support(table: pd.DataFrame, group: str) -> str:
    hit = table[(table["group"] == group) & (table["metric"] == "equilibrium_support")]
    if hit.empty:
        return NONE
    kind, _, sizes = str(hit.iloc[0]["footnote"]).partition("; support per prompt ")
    return f"{kind}: {sizes}"


def _comparison(
    table: pd.DataFrame, group: str, pair: tuple[str, str], metric: str
) -> dict[str, str] | None:
    first, second = pair
    difference = find_difference(table, group, first, second, metric)
    if difference is None:
        return None
    interval = Interval(*difference[:4])
    return {
        "game": group,
        "comparison": f"{first} - {second}",
        "difference": number(interval),
        "ratio": number(find(table, group, first, f"{metric}_ratio", second), 2),
        "could have seen": f"{difference.minimum_detectable:.3f}",
        "verdict": verdict(difference, first),
    }


def _rows(rows: list[dict[str, str] | None]) -> pd.DataFrame:
    return pd.DataFrame([row for row in rows if row is not None])


def _sweep_blocks(table: pd.DataFrame, results: PlanResults) -> list[Block]:
    families = list(dict.fromkeys(str(family_of(name)) for name in results.variants()))
    alphas = {run.variant: float(run.method["alpha"]) for run in results.runs}
    swept, chosen, comparisons = [], [], []
    for group in results.groups(EXACT):
        for alpha in sorted(set(alphas.values())):
            row = {"game": group, "alpha": f"{alpha:g}"}
            for family in families:
                names = [v for v, a in alphas.items() if a == alpha and family_of(v) == family]
                gap = find(table, group, names[0], "gap_last") if names else None
                row[f"gap_last, {family}"] = number(gap)
            swept.append(row)
    pairs = family_pairs(results)
    for group in [*results.groups(EXACT), ALL_GAMES]:
        for family in families:
            alpha_found = find(table, group, family, "best_alpha")
            if alpha_found is not None:
                gap = find(table, group, family, "gap_last_best_alpha")
                chosen.append(
                    {
                        "game": group,
                        "variant": family,
                        "best alpha": f"{alpha_found.value:g}",
                        "gap_last on the other seeds": number(gap),
                        "seeds": str(gap.n if gap else 0),
                    }
                )
        comparisons += [_comparison(table, group, p, "gap_last_best_alpha") for p in pairs]
    return [
        Block("Exact task: duality gap of the last iterate by alpha", pd.DataFrame(swept)),
        Block("Each variant at its own best alpha", pd.DataFrame(chosen)),
        Block("Differences at each variant's own best alpha", _rows(comparisons)),
    ]


def _language_blocks(table: pd.DataFrame, results: PlanResults, group: str) -> list[Block]:
    variants = [v for v in results.variants() if find(table, group, v, "win_rate")]
    wins, annotators, quality = [], [], []
    names = annotator_metrics(table, group)
    for variant in variants:
        rivals = [p for p in results.pairs() if p[0] == variant]
        against = [find(table, group, variant, f"win_rate_versus_{b}", b) for _, b in rivals]
        wins.append(
            {
                "variant": variant,
                "win_rate": number(find(table, group, variant, "win_rate")),
                "each seed": seed_values(table, group, variant, "win_rate"),
                "without brevity": number(find(table, group, variant, "win_rate_without_brevity")),
                "against the other": ", ".join(number(found) for found in against) or NONE,
                "kl_reference": number(find(table, group, variant, "kl_reference"), 2),
            }
        )
        annotators.append(
            {
                "variant": variant,
                **{
                    name: number(find(table, group, variant, f"win_rate_{name}"), 2)
                    for name in names
                },
            }
        )
    for variant in [INITIAL, *variants]:
        length = find(table, group, variant, "response_length")
        if length is not None:
            shares = ("truncated", "empty", "one_word", "repeated_ngram")
            quality.append(
                {
                    "policy": variant,
                    "tokens": number(length, 1),
                    **{name: share(find(table, group, variant, name)) for name in shares},
                }
            )
    differences = [_comparison(table, group, pair, "win_rate") for pair in results.pairs()]
    compared = _rows(differences).drop(columns=["game", "ratio"], errors="ignore")
    return [
        Block(
            f"{group}: win rate against the initial policy, 1/2 is no change", pd.DataFrame(wins)
        ),
        Block(f"{group}: win rate by annotator", pd.DataFrame(annotators)),
        Block(f"{group}: responses", pd.DataFrame(quality)),
        Block(f"{group}: paired differences of win_rate", compared),
    ]


def annotator_metrics(table: pd.DataFrame, group: str) -> list[str]:
    """The annotators' names, in the table's order."""
    own = table[(table["group"] == group) & (table["versus"] == "")]["metric"]
    names = own[own.str.startswith("win_rate_") & ~own.str.endswith("_minimum_detectable")]
    return [n.removeprefix("win_rate_") for n in dict.fromkeys(names) if "_without_" not in n]


def seed_values(table: pd.DataFrame, group: str, variant: str, metric: str) -> str:
    """Every seed's value, `0.541, 0.552`; `-` where the table has none."""
    hit = table[
        (table["group"] == group)
        & (table["variant"] == variant)
        & (table["metric"] == metric)
        & (table["versus"] == "")
    ]
    values = [part.partition("=")[2] for part in str(hit.iloc[0]["seed_values"]).split()]
    return ", ".join(f"{float(value):.3f}" for value in values) or NONE
