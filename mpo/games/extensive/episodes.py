"""Episodes: paths from the root to an end, sampled for many at once."""

from __future__ import annotations

import torch
from torch import Tensor

from mpo.games.extensive.rules import TERMINAL
from mpo.games.extensive.tree import GameTree


def sample_paths(tree: GameTree, policy: Tensor, uniforms: Tensor) -> Tensor:
    """Play E episodes.

    With ``path`` what is returned and ``h = path[:, t]``: ``tree.mover[h]`` and ``tree.infoset[h]``
    are who sees what at move t, ``tree.sequence[path[:, t + 1]]`` the sequence that is chosen
    there, and ``tree.payoff[path[:, -1]]`` what player 0 wins. Behind its end an episode stays
    where it is, at a history whose mover is TERMINAL.

    Args:
        policy: (S,), π(a | i).
        uniforms: (E, moves) float64 in [0, 1), one a move, chance's too; `longest` says how many
            are enough.

    Returns:
        (E, moves + 1) int64, histories.

    Raises:
        ValueError: an episode isn't over after that many moves.
    """
    moved = tree.sequence >= 0
    odds = torch.where(moved, policy.to(torch.float64)[tree.sequence.clamp_min(0)], tree.chance)
    # A child that isn't there weighs nothing.
    weights = torch.where(tree.children >= 0, odds[tree.children.clamp_min(0)], 0.0)
    upto = weights.cumsum(1)
    here = torch.zeros(len(uniforms), dtype=torch.int64)
    path = [here]
    for uniform in uniforms.T:
        bounds = upto[here]
        # Child c is drawn for upto[c − 1] ≤ u < upto[c]; one of weight 0 never is.
        drawn = (bounds <= (uniform * bounds[:, -1]).unsqueeze(1)).sum(1)
        child = tree.children[here].gather(1, drawn.clamp_max(bounds.shape[1] - 1).unsqueeze(1))
        here = torch.where(tree.mover[here] == TERMINAL, here, child[:, 0])
        path.append(here)
    running = int((tree.mover[here] != TERMINAL).sum())
    if running:
        raise ValueError(
            f"uniforms: got {uniforms.shape[1]} moves, after which {running} episodes run on, "
            f"allowed: {longest(tree)} or more"
        )
    return torch.stack(path, 1)


def longest(tree: GameTree) -> int:
    """Moves of the longest episode, chance's too."""
    moves, level = 0, tree.children[:1]
    while bool((level >= 0).any()):
        level = tree.children[level[level >= 0]]
        moves += 1
    return moves
