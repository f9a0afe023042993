"""What is measured on the annotators' games: their structure, and where methods end on them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.theory.annotators.games import AnnotatorGame
from mpo.games.dynamics.protocol import Dynamic
from mpo.games.dynamics.trajectory import run
from mpo.games.equilibrium_set import distance_to_equilibria, equilibrium_set
from mpo.games.solve import nash_equilibrium
from mpo.judges.intransitivity import intransitive_share, shuffled_panel_share


class Structure(NamedTuple):
    """One prompt's game."""

    responses: int
    intransitive: float
    """Share of intransitive triples; NaN for fewer than three responses."""
    by_chance: float
    """The same expected of annotators who know nothing of each other, with the same ties."""
    condorcet: int | None
    """The response that a majority prefers to every other, if there is one."""
    nash: Tensor
    """(n,), an equilibrium, a vertex of the set of them."""
    support: int
    """Responses that it plays."""
    unique: bool
    """Whether it is the only one; ties can make many."""
    played: int
    """Responses that some equilibrium plays."""


class End(NamedTuple):
    """Where a method ended on a prompt's game."""

    gap_last: float
    gap_average: float
    """Of the uniform average of its iterates."""
    distance: float
    """Total variation between the last iterate and the nearest equilibrium."""
    diverged: bool
    policy: Tensor
    """(n,), the last iterate."""


def structure(game: AnnotatorGame) -> Structure:
    """The structure of a game."""
    wins, n = game.preferences, len(game.responses)
    nash, everything = nash_equilibrium(wins), equilibrium_set(wins)
    beats = (wins > wins.T).sum(1)
    best = int(beats.argmax())
    # The number of wins orders the responses as the annotator's own scores do.
    scores = game.votes.sum(2).T[None]
    return Structure(
        responses=n,
        intransitive=intransitive_share(wins) if n > 2 else math.nan,
        by_chance=shuffled_panel_share(scores) if n > 2 else math.nan,
        condorcet=best if int(beats[best]) == n - 1 else None,
        nash=nash.policy,
        support=nash.support,
        unique=everything.unique,
        played=everything.played,
    )


def ends(games: Sequence[AnnotatorGame], dynamic: Dynamic[Any], calls: int) -> list[End]:
    """Where a method ends on each game when it starts from the model: each response equally likely.

    Games of as many responses are played in one batch.
    """
    by_size: dict[int, list[int]] = defaultdict(list)
    for place, game in enumerate(games):
        by_size[len(game.responses)].append(place)
    found: dict[int, End] = {}
    for size, places in by_size.items():
        preferences = torch.stack([games[place].preferences for place in places])
        start = torch.full((len(places), size), -math.log(size), dtype=torch.float64)
        measured = run(dynamic, preferences, start, calls)
        for row, place in enumerate(places):
            policy = measured.log_policy[row].exp()
            found[place] = End(
                gap_last=float(measured.gap_last[row, -1]),
                gap_average=float(measured.gap_average[row, -1]),
                distance=distance_to_equilibria(preferences[row], policy),
                diverged=bool(measured.diverged[row]),
                policy=policy,
            )
    return [found[place] for place in range(len(games))]


def annotator_wins(games: Sequence[AnnotatorGame], policies: Sequence[Tensor]) -> Tensor:
    """(A,): how often each annotator prefers the policies' responses to the model's, mean of games.

    Args:
        games: one a prompt.
        policies: (n,) each.
    """
    each = [game.votes.mean(2) @ policy for game, policy in zip(games, policies, strict=True)]
    return torch.stack(each).mean(0)


def agreement(games: Sequence[AnnotatorGame]) -> Tensor:
    """(A,): how often each annotator's vote is with the panel's majority, among pairs of both."""
    agreed, decided = [], []
    for game in games:
        majority = (game.preferences - game.preferences.T).sign()
        same = (2 * game.votes - 1).sign() * majority
        agreed.append((same > 0).double().sum((1, 2)))
        decided.append((same != 0).double().sum((1, 2)))
    return torch.stack(agreed).sum(0) / torch.stack(decided).sum(0)
