"""Who decides what on the way to each end of a game.

E episodes, T the most decisions that a seat has in one, H histories, I information sets, S
sequences, V actions in the game's own numbers (see `mpo.games.extensive.tree`).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mpo.games.extensive.episodes import longest
from mpo.games.extensive.sequence_form import EMPTY, SequenceForm, sequence_form
from mpo.games.extensive.tree import GameTree


class Seating(NamedTuple):
    """A game as its two seats see it. Of a history that is no end, what was decided so far."""

    tree: GameTree
    form: SequenceForm
    legal: Tensor
    """(I, V) bool: the actions that an information set has."""
    owner: Tensor
    """(S,) int64: the information set of each sequence; −1 for the empty ones."""
    infosets: Tensor
    """(H, 2, T) int64: the information sets in which a seat decided, in order; 0 behind the
    last."""
    actions: Tensor
    """(H, 2, T) int64: what it decided there; 0 behind the last."""
    lengths: Tensor
    """(H, 2) int64: how many decisions it had."""
    wins: Tensor
    """(H, 2) float64: the seat's payoff u as a win probability, ½ + u / (2 max |u|)."""
    largest: float
    """max |u| over the ends."""
    moves: int
    """Moves of the longest episode, chance's too."""


def seating(tree: GameTree) -> Seating:
    """Walk up from every history along the own sequences of each seat."""
    infosets = torch.arange(len(tree.player))
    owner = torch.cat([torch.full((EMPTY,), -1), infosets.repeat_interleave(tree.actions)])
    legal = torch.zeros(len(infosets), int(tree.action.max()) + 1, dtype=torch.bool)
    legal[owner[EMPTY:], tree.action[EMPTY:]] = True

    shape = (*tree.last.shape, int(tree.depth.max()) + 1)
    seen, done = (torch.zeros(shape, dtype=torch.int64) for _ in range(2))
    lengths = torch.where(tree.last >= EMPTY, tree.depth[owner[tree.last]] + 1, 0)
    history, seat = torch.meshgrid(torch.arange(shape[0]), torch.arange(2), indexing="ij")
    sequence = tree.last
    for _ in range(shape[-1]):
        moved = sequence >= EMPTY
        infoset = owner[sequence].clamp_min(0)
        place = (history[moved], seat[moved], tree.depth[infoset[moved]])
        seen[place], done[place] = infoset[moved], tree.action[sequence[moved]]
        sequence = torch.where(moved, tree.parent[infoset], sequence)

    largest = float(tree.payoff.abs().max())
    share = tree.payoff / (2 * largest)
    wins = torch.stack([0.5 + share, 0.5 - share], 1)
    form = sequence_form(tree)
    return Seating(tree, form, legal, owner, seen, done, lengths, wins, largest, longest(tree))


def sequence_policy(seats: Seating, log_policy: Tensor) -> Tensor:
    """(S,) float64 π(a | i), the form that games are solved in, from (I, V) log π."""
    chosen = log_policy.double()[seats.owner[EMPTY:], seats.tree.action[EMPTY:]].exp()
    return torch.cat([torch.ones(EMPTY, dtype=torch.float64), chosen])
