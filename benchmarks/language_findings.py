"""Sentences about a language task: win rates, judge hacking, the judge's own consistency."""

from __future__ import annotations

import pandas as pd

from benchmarks.language_blocks import annotator_metrics
from benchmarks.plan_results import INITIAL, PlanResults
from benchmarks.rows import find, find_difference
from benchmarks.verdicts import MINIMUM_SEEDS
from benchmarks.wording import listed, number, share

BAD_SHARES = ("truncated", "empty", "one_word", "repeated_ngram")


def add_language(
    can: list[str], cannot: list[str], table: pd.DataFrame, results: PlanResults, group: str
) -> None:
    """Add the group's sentences to can and cannot."""
    variants = [v for v in results.variants() if find(table, group, v, "win_rate")]
    scope = "on these runs"
    for variant in variants:
        wins = find(table, group, variant, "win_rate")
        if wins and wins.low > 0.5:
            can.append(
                f"{group}: `{variant}` wins against the initial policy at {number(wins)} {scope}; "
                + _sources(table, group, variant)
            )
        elif wins and wins.high < 0.5:
            can.append(
                f"{group}: `{variant}` loses to the initial policy ({number(wins)}) {scope}."
            )
        elif wins:
            seen = find(table, group, variant, "win_rate_minimum_detectable")
            cannot.append(
                f"{group}: that `{variant}` learned is not resolved (win rate {number(wins)}; the "
                f"smallest distance from ½ it could have seen is {number(seen)})."
            )
        _add_quality(can, cannot, table, group, variant)
    for first, second in results.pairs(group):
        _add_language_pair(can, cannot, table, group, first, second)
    if variants:
        seeds = max(len(_seeds(table, group, variant)) for variant in variants)
        if seeds < MINIMUM_SEEDS:
            cannot.append(
                f"{group}: with {seeds} {'seed' if seeds == 1 else 'seeds'} a variant the "
                "intervals are over prompts, conditional on the runs; no claim is made across "
                "seeds."
            )
    _add_intransitivity(can, cannot, table, group)


def _seeds(table: pd.DataFrame, group: str, variant: str) -> list[str]:
    hit = table[(table["group"] == group) & (table["variant"] == variant)]
    hit = hit[(hit["metric"] == "win_rate") & (hit["versus"] == "")]
    return str(hit.iloc[0]["seed_values"]).split()


def _sources(table: pd.DataFrame, group: str, variant: str) -> str:
    """Which annotators the win rate comes from."""
    rates = {
        n: find(table, group, variant, f"win_rate_{n}") for n in annotator_metrics(table, group)
    }
    known = {name: rate for name, rate in rates.items() if rate}
    strongest = max(known, key=lambda name: known[name].value)
    rest = find(table, group, variant, "win_rate_without_brevity")
    weakest = min(known, key=lambda name: known[name].value)
    text = (
        f"the annotator most won over is {strongest} ({known[strongest].value:.2f}), the least "
        f"{weakest} ({known[weakest].value:.2f})"
    )
    return f"{text}, and without brevity it is {number(rest)}." if rest else f"{text}."


def _add_quality(
    can: list[str], cannot: list[str], table: pd.DataFrame, group: str, variant: str
) -> None:
    worse, known = [], False
    for name in BAD_SHARES:
        difference = find_difference(table, group, variant, INITIAL, name)
        known = known or difference is not None
        if difference and difference.resolved and difference.value > 0:
            before = find(table, group, INITIAL, name)
            after = find(table, group, variant, name)
            worse.append(f"{name} ({share(before)} to {share(after)})")
    if worse:
        can.append(
            f"{group}: `{variant}` has more bad responses than the initial policy: {listed(worse)}."
        )
    elif known:
        can.append(
            f"{group}: no share of bad responses ({', '.join(BAD_SHARES)}) of `{variant}` is above "
            "the initial policy's by more than its noise."
        )


def _add_language_pair(
    can: list[str], cannot: list[str], table: pd.DataFrame, group: str, first: str, second: str
) -> None:
    direct = find(table, group, first, f"win_rate_versus_{second}", second)
    if direct is None:
        cannot.append(f"{group}: `{first}` and `{second}` have no seed in common that is done.")
        return
    seen = find(table, group, first, f"win_rate_versus_{second}_minimum_detectable", second)
    if direct.low > 0.5 or direct.high < 0.5:
        word = "beats" if direct.low > 0.5 else "loses to"
        can.append(f"{group}: `{first}` {word} `{second}` at {number(direct)} on these runs.")
    else:
        cannot.append(
            f"{group}: the difference between `{first}` and `{second}` is not resolved at this "
            f"size (win rate {number(direct)}; the smallest distance from ½ it could have seen is "
            f"{number(seen)})."
        )


def _add_intransitivity(can: list[str], cannot: list[str], table: pd.DataFrame, group: str) -> None:
    measured = find(table, group, "", "intransitive_share")
    random_share = find(table, group, "", "intransitive_share_random")
    if measured is None or random_share is None:
        return
    text = (
        f"{group}: {share(measured)} of the judge's triples are intransitive; as many "
        f"annotators who know nothing of each other would give {share(random_share)}"
    )
    if measured.high < random_share.value:
        can.append(f"{text}: the panel is more consistent than chance.")
    elif measured.low > random_share.value:
        can.append(f"{text}: the panel is more cyclic than chance.")
    else:
        cannot.append(f"{text}: the panel's cycles are not told apart from chance.")
