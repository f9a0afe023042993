"""The tree of a game as flat arrays: what episodes are sampled from and solvers are built on.

Letters, in the same words in every file of this folder: H histories, I information sets,
S sequences of both players together, N runs (seeds and hyper-parameters). Sequences come first and
runs last, (S, N): then the information sets of one depth lie together in memory.

A sequence is an information set with one of its actions, or one of the two empty sequences, 0 of
player 0 and 1 of player 1. Numbers of information sets rise with the depth (how many own moves
came before) and then with the number of actions; an information set's actions have consecutive
sequences. Sets of one depth and one number of actions are therefore a dense block of sequences,
(sets, actions), without padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mpo.games.extensive.rules import CHANCE, TERMINAL, Position

MAX_HISTORIES = 2_000_000
"""A larger game is refused: its arrays would fill the memory of a small machine."""
NONE = -1


class GameTree(NamedTuple):
    """All histories of a game, the root first, each history's children behind one another.

    To play E episodes at once, keep the E current histories h, from 0 (the root), and repeat until
    ``mover[h]`` is TERMINAL everywhere:

    - ``children[h]`` are the next histories, one for each action, in the order of the actions;
    - where ``mover[h]`` is CHANCE, ``chance[children[h]]`` are their probabilities;
    - where it is a player, ``i = infoset[h]`` is what the player sees, ``features[i]`` the same for
      a network, ``actions[i]`` how many actions it has; action a is sequence ``first[i] + a``,
      which is also ``sequence[children[h, a]]``, and has the number ``action[first[i] + a]`` in the
      game's own words (2 is "raise" in every position of Leduc poker).

    ``payoff[h]`` is then what player 0 wins. `mpo.games.extensive.episodes.sample_paths` does it
    for tabular policies. A policy is one number a sequence, (S, …): π(a | i), and 1 for the two
    empty sequences.
    """

    name: str
    mover: Tensor
    """(H,) int64: 0, 1, CHANCE or TERMINAL."""
    children: Tensor
    """(H, C) int64: the histories that follow; −1 behind the last."""
    chance: Tensor
    """(H,) float64: the probability with which chance moves into this history; 1 if a player
    does."""
    reach: Tensor
    """(H,) float64: the product of those on the way from the root."""
    sequence: Tensor
    """(H,) int64: the sequence that the move into this history completes; −1 if chance moved."""
    last: Tensor
    """(H, 2) int64: the last sequence of each player on the way."""
    infoset: Tensor
    """(H,) int64: the mover's information set; −1 if no player moves."""
    payoff: Tensor
    """(H,) float64: player 0's at the end of the game, 0 before."""
    player: Tensor
    """(I,) int64: whose information set it is."""
    parent: Tensor
    """(I,) int64: the player's sequence that leads to it."""
    depth: Tensor
    """(I,) int64: how many own moves came before."""
    first: Tensor
    """(I,) int64: the sequence of its first action."""
    actions: Tensor
    """(I,) int64: how many actions it has."""
    features: Tensor
    """(I, F) float64: what the player knows, as numbers."""
    action: Tensor
    """(S,) int64: the action in the game's own numbers; −1 for the empty sequences."""
    information: tuple[str, ...]
    """What the player knows in each information set, as text."""


class _Infoset(NamedTuple):
    """An information set when first met; sequences are numbered in the order of meeting."""

    player: int
    parent: int
    depth: int
    first: int
    actions: tuple[int, ...]
    features: tuple[float, ...]


def build_tree(name: str, root: Position, max_histories: int = MAX_HISTORIES) -> GameTree:
    """Walk a game, breadth first.

    Args:
        name: for messages.
        root: the position before the first move.
        max_histories: more are refused.

    Raises:
        ValueError: the game has more histories; or it forgets: one information set has two
            histories with different actions or own moves before.
    """
    positions: list[Position | None] = [root]
    mover, infoset, payoff = [], [], []
    children: list[range] = []
    chance, reach, sequence, last = [1.0], [1.0], [NONE], [(0, 1)]
    found: dict[tuple[int, str], int] = {}
    infosets: list[_Infoset] = []
    depths = [NONE, NONE]
    """Depth of the information set of each sequence, in the order of meeting."""

    # The list grows while it is walked: breadth first.
    for history, position in enumerate(positions):
        assert position is not None
        player, legal = position.mover(), position.actions()
        mover.append(player)
        payoff.append(position.payoff() if player == TERMINAL else 0.0)
        odds: Sequence[float] = position.odds() if player == CHANCE else [1.0] * len(legal)
        number = NONE
        if player >= 0:
            before = last[history][player]
            key = (player, position.information())
            seen = _Infoset(player, before, depths[before] + 1, len(depths), tuple(legal), ())
            if key not in found:
                found[key] = len(infosets)
                infosets.append(seen._replace(features=tuple(position.features())))
                depths += [seen.depth] * len(legal)
            number = found[key]
            _check_recall(name, key[1], infosets[number], seen)
        infoset.append(number)
        children.append(range(len(positions), len(positions) + len(legal)))
        for a, (action, probability) in enumerate(zip(legal, odds, strict=True)):
            positions.append(position.after(action))
            chance.append(probability)
            reach.append(reach[history] * probability)
            done = NONE if number == NONE else infosets[number].first + a
            sequence.append(done)
            own = last[history]
            last.append(own if done == NONE else (done, own[1]) if player == 0 else (own[0], done))
        if len(positions) > max_histories:
            raise ValueError(f"{name}: got more than {max_histories:,} histories, allowed: fewer")
        positions[history] = None

    order = sorted(
        range(len(infosets)), key=lambda i: (infosets[i].depth, len(infosets[i].actions), i)
    )
    ordered = [infosets[i] for i in order]
    met = [0, 1] + [s.first + a for s in ordered for a in range(len(s.actions))]
    number_of_sequence = _inverse(met)
    number_of_infoset = _inverse(order)
    names = [information for _, information in found]

    def renumbered(numbers: Tensor, values: Sequence[object]) -> Tensor:
        old = torch.tensor(values, dtype=torch.int64)
        return torch.where(old >= 0, numbers[old], NONE)

    def integers(values: Sequence[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64)

    def reals(values: Sequence[object]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)

    widest = max(len(row) for row in children)
    return GameTree(
        name=name,
        mover=integers(mover),
        children=torch.tensor(
            [[*row, *[NONE] * (widest - len(row))] for row in children], dtype=torch.int64
        ),
        chance=reals(chance),
        reach=reals(reach),
        sequence=renumbered(number_of_sequence, sequence),
        last=renumbered(number_of_sequence, last),
        infoset=renumbered(number_of_infoset, infoset),
        payoff=reals(payoff),
        player=integers([s.player for s in ordered]),
        parent=renumbered(number_of_sequence, [s.parent for s in ordered]),
        depth=integers([s.depth for s in ordered]),
        first=renumbered(number_of_sequence, [s.first for s in ordered]),
        actions=integers([len(s.actions) for s in ordered]),
        features=reals([s.features for s in ordered]),
        action=integers([NONE, NONE] + [action for s in ordered for action in s.actions]),
        information=tuple(names[i] for i in order),
    )


def _inverse(order: Sequence[int]) -> Tensor:
    """The new number of each old one, where order[new] = old."""
    inverse = torch.empty(len(order), dtype=torch.int64)
    inverse[torch.tensor(order, dtype=torch.int64)] = torch.arange(len(order))
    return inverse


def _check_recall(name: str, key: str, first: _Infoset, seen: _Infoset) -> None:
    for field in ("actions", "parent"):
        got, before = getattr(seen, field), getattr(first, field)
        if got != before:
            raise ValueError(
                f"{name}: information state {key!r}: got two histories that differ in {field}, "
                "allowed: perfect recall"
            )
