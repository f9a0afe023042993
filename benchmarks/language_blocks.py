"""Blocks of a language task: win rates, in total and by annotator, and the responses' quality."""

from __future__ import annotations

import re

import pandas as pd

from benchmarks.block import Block, difference_cells, frame_of
from benchmarks.plan_results import INITIAL, PlanResults
from benchmarks.rows import find
from benchmarks.wording import NONE, number, share

_NO_ANNOTATOR = re.compile(r"win_rate_(without_.*|round\d+)")


def language_blocks(table: pd.DataFrame, results: PlanResults, group: str) -> list[Block]:
    """Win rates, annotators, text quality and paired differences of a group."""
    variants = [v for v in results.variants() if find(table, group, v, "win_rate")]
    wins, annotators, quality = [], [], []
    names = annotator_metrics(table, group)
    for variant in variants:
        wins.append(
            {
                "variant": variant,
                "win_rate": number(find(table, group, variant, "win_rate")),
                "each seed": seed_values(table, group, variant, "win_rate"),
                "without brevity": number(find(table, group, variant, "win_rate_without_brevity")),
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
    direct = []
    for first, second in results.pairs():
        name = f"win_rate_versus_{second}"
        found = find(table, group, first, name, second)
        if found is not None:
            seen = find(table, group, first, f"{name}_minimum_detectable", second)
            direct.append(
                {
                    "contest": f"{first} against {second}",
                    "win_rate": number(found),
                    "could have seen, from 1/2": number(seen),
                }
            )
    differences = [difference_cells(table, group, pair, "win_rate") for pair in results.pairs()]
    compared = frame_of(differences).drop(columns=["game", "ratio"], errors="ignore")
    return [
        Block(
            f"{group}: win rate against the initial policy, 1/2 is no change", pd.DataFrame(wins)
        ),
        Block(f"{group}: win rate of one variant against another", pd.DataFrame(direct)),
        Block(f"{group}: win rate by annotator", pd.DataFrame(annotators)),
        Block(f"{group}: responses", pd.DataFrame(quality)),
        Block(f"{group}: paired differences of win_rate", compared),
    ]


def annotator_metrics(table: pd.DataFrame, group: str) -> list[str]:
    """The annotators' names, in the table's order."""
    own = table[(table["group"] == group) & (table["versus"] == "")]["metric"]
    names = own[own.str.startswith("win_rate_") & ~own.str.endswith("_minimum_detectable")]
    return [
        name.removeprefix("win_rate_")
        for name in dict.fromkeys(names)
        if not _NO_ANNOTATOR.fullmatch(name)
    ]


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
