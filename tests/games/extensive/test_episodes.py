from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from mpo.games.extensive.episodes import longest, sample_paths
from mpo.games.extensive.registry import load_game
from mpo.games.extensive.rules import TERMINAL
from mpo.games.extensive.sequence_form import plan_of, sequence_form
from mpo.games.extensive.values import expected_value
from tests.games.extensive.openspiel_side import random_policy


def uniforms(episodes: int, moves: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((episodes, moves)))


@pytest.mark.parametrize(("name", "moves"), [("kuhn_poker", 5), ("leduc_poker", 11)])
def test_paths_are_plays(name: str, moves: int) -> None:
    tree = load_game(name)
    assert longest(tree) == moves
    paths = sample_paths(tree, sequence_form(tree).uniform, uniforms(500, moves, 0))
    assert paths.shape == (500, moves + 1)
    assert bool((paths[:, 0] == 0).all()) and bool((tree.mover[paths[:, -1]] == TERMINAL).all())
    for path in paths[:50].tolist():
        for here, there in pairwise(path):
            over = int(tree.mover[here]) == TERMINAL
            assert there == here if over else there in tree.children[here].tolist()


def test_ends_come_as_often_as_they_should() -> None:
    """χ² of 30 ends of Kuhn poker, and the mean payoff against the exact value."""
    tree = load_game("kuhn_poker")
    form = sequence_form(tree)
    policy = random_policy(form, 4)
    plan = plan_of(form, policy)
    ends = (tree.mover == TERMINAL).nonzero()[:, 0]
    odds = tree.reach[ends] * plan[tree.last[ends]].prod(1)
    assert float(odds.sum()) == pytest.approx(1, rel=1e-12)
    episodes = 40_000
    drawn = sample_paths(tree, policy, uniforms(episodes, 5, 1))[:, -1]
    counts = torch.stack([(drawn == end).sum() for end in ends]).double()
    statistic = float(((counts - episodes * odds) ** 2 / (episodes * odds)).sum())
    assert statistic < 58.3  # 99.9 % of χ² with 29 degrees of freedom
    mean = float(tree.payoff[drawn].mean())
    assert mean == pytest.approx(float(expected_value(form, plan)), abs=4 * 1.4 / episodes**0.5)


def test_an_action_of_probability_zero_is_never_played() -> None:
    tree = load_game("leduc_poker_ranks")
    form = sequence_form(tree)
    policy = random_policy(form, 2, pure_share=1.0)
    edge = torch.zeros(300, 11, dtype=torch.float64)
    edge[1::2] = 1 - 2**-53
    edge[::3] = uniforms(100, 11, 3)
    paths = sample_paths(tree, policy, edge)
    taken = tree.sequence[paths[:, 1:]]
    assert bool((policy[taken[taken >= 0]] == 1).all())


def test_too_few_moves() -> None:
    tree = load_game("kuhn_poker")
    with pytest.raises(ValueError, match=r"got 3 moves, after which .* allowed: 5 or more"):
        sample_paths(tree, sequence_form(tree).uniform, uniforms(20, 3, 0))
