from __future__ import annotations

import numpy as np

from mpo.games.dynamics.dno import DNO
from tests.games.dynamics.small_games import after, minimiser, random_games
from tests.oracles import Array


def sigmoid(x: float) -> float:
    return 1 / (1 + float(np.exp(-x)))


def papers_loss(new: Array, policy: Array, wins: Array, pairs: Array, inverse_eta: float) -> float:
    """Algorithm 1's log loss, pair by pair; its η is 1/η here."""
    rewards = wins @ policy
    total = 0.0
    for y in range(len(new)):
        for z in range(len(new)):
            difference = np.log(new[y] / policy[y]) - np.log(new[z] / policy[z])
            target = sigmoid(rewards[y] - rewards[z])
            total -= pairs[y, z] * target * np.log(sigmoid(inverse_eta * difference))
            total -= pairs[y, z] * (1 - target) * np.log(sigmoid(-inverse_eta * difference))
    return total


def test_the_step_minimises_the_papers_loss_whatever_pairs_are_drawn() -> None:
    preferences, start = random_games(2, 4)
    got = after(DNO(eta=0.7), preferences, start, 1).log_policy
    for row in range(2):
        wins, policy = preferences[row].numpy(), start[row].exp().numpy()
        pairs = np.random.default_rng(row).uniform(0.1, 1, size=(4, 4))
        expected = minimiser(
            lambda new, w=wins, p=policy, d=pairs: papers_loss(new, p, w, d, 1 / 0.7), policy
        )
        np.testing.assert_allclose(got[row].exp(), expected, rtol=1e-6)
