"""Episodes of self-play as the records of the objectives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mpo.games.extensive.episodes import sample_paths
from mpo.records import Prompts, Responses, Rollout
from mpo.seats.seating import Seating


class Episodes(NamedTuple):
    """E episodes."""

    infosets: Tensor
    """(E, 2, T) int64: where each seat decided."""
    actions: Tensor
    """(E, 2, T) int64: what it decided."""
    lengths: Tensor
    """(E, 2) int64: decisions that count."""
    mask: Tensor
    """(E, 2, T) bool, True where a decision counts."""
    wins: Tensor
    """(E, 2) float64: each seat's payoff as a win probability; the two sum to 1."""


def sample_episodes(
    seats: Seating, policy: Tensor, episodes: int, seed: int, iteration: int
) -> Episodes:
    """Play a policy (S,) against itself; the random numbers are a function of the last two."""
    key = np.random.SeedSequence([seed, iteration])
    uniforms = np.random.Generator(np.random.Philox(key)).random((episodes, seats.moves))
    return of_ends(seats, sample_paths(seats.tree, policy, torch.from_numpy(uniforms))[:, -1])


def of_ends(seats: Seating, ends: Tensor) -> Episodes:
    """The episodes that end in these histories (E,): a history says how it was reached."""
    lengths = seats.lengths[ends]
    mask = torch.arange(seats.actions.shape[-1]) < lengths[..., None]
    return Episodes(seats.infosets[ends], seats.actions[ends], lengths, mask, seats.wins[ends])


def rollout(
    episodes: Episodes, iteration: int, iterations: int, state: Mapping[str, float]
) -> Rollout:
    """The episodes as prompts whose two responses, the seats, were compared with each other.

    A seat's P(y_i ≻ y_j | x) is its payoff as a win probability, and its reward is that less ½.
    Nothing is text: ids are the episodes' numbers and the actions.
    """
    number = len(episodes.wins)
    keys = torch.arange(number)
    won = episodes.wins
    wins = torch.stack(
        [
            torch.stack([0.5 + 0 * won[:, 0], won[:, 0]], 1),
            torch.stack([won[:, 1], 0.5 + 0 * won[:, 1]], 1),
        ],
        1,
    )
    met = ~torch.eye(2, dtype=torch.bool)
    return Rollout(
        iteration=iteration,
        iterations=iterations,
        prompts=Prompts(keys[:, None], torch.ones_like(keys), keys, ()),
        responses=Responses(
            episodes.actions, episodes.lengths, torch.ones_like(episodes.lengths, dtype=torch.bool)
        ),
        texts=(),
        opponents=None,
        opponent_texts=(),
        wins=wins,
        compared=met.expand(number, 2, 2),
        greedy_wins=None,
        judge_calls=number,
        samples=2 * number,
        tokens=int(episodes.lengths.sum()),
        rewards=won - 0.5,
        state=state,
    )
