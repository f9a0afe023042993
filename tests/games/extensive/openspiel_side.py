"""OpenSpiel's side of a comparison: its games, and our numbers in its order."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyspiel
import torch
from numpy.typing import NDArray
from open_spiel.python import policy as spiel_policy
from torch import Tensor

from mpo.games.extensive.openspiel import load_openspiel
from mpo.games.extensive.sequence_form import SequenceForm, sequence_form
from mpo.games.extensive.tree import GameTree


class Sides(NamedTuple):
    """A game by both."""

    game: Any
    tree: GameTree
    form: SequenceForm


def both_sides(name: str) -> Sides:
    tree = load_openspiel(name)
    return Sides(pyspiel.load_game(name), tree, sequence_form(tree))


def actions_of(tree: GameTree) -> list[tuple[int, str, int, int]]:
    """(player, information state, action, our sequence) of all sequences but the empty ones."""
    found = []
    for i, name in enumerate(tree.information):
        for a in range(int(tree.actions[i])):
            sequence = int(tree.first[i]) + a
            found.append((int(tree.player[i]), name, int(tree.action[sequence]), sequence))
    return found


def tabular(sides: Sides, policy: Tensor) -> spiel_policy.TabularPolicy:
    """Our (S,) policy as OpenSpiel's."""
    found = spiel_policy.TabularPolicy(sides.game)
    found.action_probability_array[:] = 0
    for _, information, action, sequence in actions_of(sides.tree):
        found.policy_for_key(information)[action] = float(policy[sequence])
    return found


def from_tabular(sides: Sides, policy: spiel_policy.TabularPolicy) -> NDArray[np.float64]:
    """OpenSpiel's policy as ours."""
    found = np.ones(sides.form.sequences)
    for _, information, action, sequence in actions_of(sides.tree):
        found[sequence] = policy.policy_for_key(information)[action]
    return found


def from_sequences(sides: Sides, solver: Any) -> NDArray[np.float64]:
    """The plan of OpenSpiel's mmd_dilated as ours."""
    found = np.ones(sides.form.sequences)
    for player, information, action, sequence in actions_of(sides.tree):
        key = f"{information} -=- {action}"
        found[sequence] = solver.sequences[player][solver.infoset_actions_to_seq[player][key]]
    return found


def random_policy(form: SequenceForm, seed: int, pure_share: float = 0.0) -> Tensor:
    """(S,): Dirichlet probabilities; a share of the information sets plays one action only."""
    rng = np.random.default_rng(seed)
    policy = torch.ones(form.sequences, dtype=torch.float64)
    for block in form.blocks:
        drawn = rng.dirichlet(np.ones(block.actions), block.infosets)
        pure = rng.random(block.infosets) < pure_share
        drawn[pure] = np.eye(block.actions)[rng.integers(block.actions, size=pure.sum())]
        block.of(policy).copy_(torch.from_numpy(drawn))
    return policy
