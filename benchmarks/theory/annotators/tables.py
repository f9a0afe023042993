"""Tables and sentences of `experiment=annotators`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from benchmarks.block import Block
from benchmarks.intervals import Interval, mean_interval, share_interval
from benchmarks.theory.annotators.games import AnnotatorGame
from benchmarks.theory.annotators.rows import End, Structure, agreement, annotator_wins
from benchmarks.wording import counted, listed, number, share

SOLVED = 1e-3
"""A gap at or below counts as solved."""

EQUILIBRIUM = "equilibrium"
LONGEST_PROMPT = 40

Ends = Mapping[str, Sequence[End]]
"""Method to where it ended on each game."""


def csv_rows(
    games: Sequence[AnnotatorGame], structures: Sequence[Structure], ends: Ends
) -> list[dict[str, object]]:
    """A row a prompt: its game, and gap and distance of each method."""
    rows = []
    for place, (game, found) in enumerate(zip(games, structures, strict=True)):
        row: dict[str, object] = {
            "game": place,
            "prompt": game.prompt,
            "responses": found.responses,
            "intransitive_share": _finite(found.intransitive),
            "intransitive_share_by_chance": _finite(found.by_chance),
            "condorcet_winner": "" if found.condorcet is None else found.condorcet,
            "nash_support": found.support,
            "nash_unique": found.unique,
            "nash_played": found.played,
        }
        for method, each in ends.items():
            end = each[place]
            row |= {
                f"{method}.gap_last": end.gap_last,
                f"{method}.gap_average": end.gap_average,
                f"{method}.distance": end.distance,
                f"{method}.diverged": end.diverged,
            }
        rows.append(row)
    return rows


def prompt_block(
    games: Sequence[AnnotatorGame], structures: Sequence[Structure], ends: Ends
) -> Block:
    """The same as text, gap and distance in one cell."""
    rows = []
    for place, (game, found) in enumerate(zip(games, structures, strict=True)):
        rows.append(
            {
                "prompt": _shortened(game.prompt),
                "n": str(found.responses),
                "intransitive": _per_cent(found.intransitive),
                "Condorcet winner": "no" if found.condorcet is None else "yes",
                "support": _support(found),
                **{
                    method: f"{each[place].gap_last:.1e} ({each[place].distance:.2f})"
                    for method, each in ends.items()
                },
            }
        )
    return Block("Each prompt's game, and each method's gap (distance)", pd.DataFrame(rows))


def method_block(ends: Ends) -> Block:
    """Each method over all prompts."""
    rows = []
    for method, each in ends.items():
        solved = sum(end.gap_last <= SOLVED for end in each)
        diverged = sum(end.diverged for end in each)
        rows.append(
            {
                "method": method + (f" ({diverged} diverged)" if diverged else ""),
                f"solved to {SOLVED:g}": share(share_interval(solved, len(each))),
                "last gap": number(mean_interval([end.gap_last for end in each])),
                "median": f"{np.median([end.gap_last for end in each]):.1e}",
                "average's gap": number(mean_interval([end.gap_average for end in each])),
                "distance": number(mean_interval([end.distance for end in each])),
            }
        )
    return Block("Each method, mean of the prompts", pd.DataFrame(rows))


def annotator_rows(
    names: Sequence[str],
    games: Sequence[AnnotatorGame],
    structures: Sequence[Structure],
    ends: Ends,
) -> list[dict[str, object]]:
    """A row an annotator: agreement with the majority, and how often it prefers each policy."""
    policies = {EQUILIBRIUM: [found.nash for found in structures]}
    policies |= {method: [end.policy for end in each] for method, each in ends.items()}
    wins = {name: annotator_wins(games, each).tolist() for name, each in policies.items()}
    agreed = agreement(games).tolist()
    return [
        {
            "annotator": name,
            "agreement": _finite(agreed[place]),
            **{policy: each[place] for policy, each in wins.items()},
        }
        for place, name in enumerate(names)
    ]


def annotator_block(rows: Sequence[Mapping[str, object]]) -> Block:
    """The same as text."""
    # An annotator whose scores all tie agrees with nobody, and has an empty cell.
    cells = [
        {
            key: f"{value:.2f}" if isinstance(value, float) else str(value)
            for key, value in r.items()
        }
        for r in rows
    ]
    title = "How often each annotator prefers where a method ends to the model's own responses"
    return Block(title, pd.DataFrame(cells))


def sentences(structures: Sequence[Structure], ends: Ends) -> list[str]:
    """What the tables show."""
    triples = [s for s in structures if math.isfinite(s.intransitive)]
    cyclic = mean_interval([100 * s.intransitive for s in triples])
    chance = sum(100 * s.by_chance for s in triples) / max(len(triples), 1)
    without = sum(found.condorcet is None for found in structures)
    mixed = sum(found.support > 1 for found in structures)
    many = sum(not found.unique for found in structures)
    total = counted(len(structures), "prompt")
    text = [
        f"{number(cyclic, 1)} % of the triples of a prompt are intransitive; annotators who know "
        f"nothing of each other, with the same ties, would make it {chance:.1f} %.",
        f"Of {total}, {without} have no response that a majority prefers to every other, the "
        f"equilibrium found mixes on {mixed}, and on {many} it is not the only one.",
    ]
    solved = {name: sum(end.gap_last <= SOLVED for end in each) for name, each in ends.items()}
    ranked = sorted(solved, key=lambda name: -solved[name])
    counts = listed([f"`{name}` on {solved[name]}" for name in ranked])
    text.append(f"The last iterate has a gap of at most {SOLVED:g} for {counts}.")
    return text


def notes(calls: int) -> list[str]:
    """The footnotes."""
    return [
        f"every method starts from the model, each sampled response equally likely, and has "
        f"{calls:,} exact oracle calls",
        "gap: 2 (max_y P(y ≻ π) − ½) of the last iterate; distance: total variation to the "
        "nearest equilibrium, by linear programming",
        "support: responses that the equilibrium plays; 1 of 3: there are several equilibria (the "
        "panel ties), the one found plays 1 response, and 3 are played by some",
        "intransitive: share of triples whose majorities go round; a tie counts as transitive",
        "intervals are 95 % bootstrap intervals over prompts; shares have Wilson's",
    ]


def markdown(block: Block) -> str:
    """A block in markdown."""
    return f"**{block.title}**\n\n{block.frame.to_markdown(index=False, disable_numparse=True)}"


def plain(block: Block) -> str:
    """A block for the console."""
    table = block.frame.to_markdown(index=False, tablefmt="simple", disable_numparse=True)
    return f"{block.title}\n{table}"


def _support(found: Structure) -> str:
    most = max(found.support, found.played)
    return str(found.support) if found.unique else f"{found.support} of {most}"


def _shortened(prompt: str) -> str:
    line = " ".join(prompt.split()).replace("|", "\\|")
    return line if len(line) <= LONGEST_PROMPT else line[: LONGEST_PROMPT - 1] + "…"


def _per_cent(value: float) -> str:
    return share(Interval(value, math.nan, math.nan, 0))


def _finite(value: float) -> object:
    return value if math.isfinite(value) else ""
