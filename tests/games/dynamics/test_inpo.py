from __future__ import annotations

import numpy as np
import torch

from mpo.games.dynamics.inpo import INPO
from mpo.games.regularised import regularised_equilibrium
from tests.games.dynamics.small_games import after, minimiser, random_games
from tests.oracles import Array


def expected_loss(
    new: Array, policy: Array, reference: Array, wins: Array, alpha: float, inverse_eta: float
) -> float:
    """INPO's loss in the paper's symbols, over every pair and both labels; its η is 1/η here."""
    share = alpha / inverse_eta
    total = 0.0
    for y in range(len(new)):
        for z in range(len(new)):
            for winner, loser, chance in ((y, z, wins[y, z]), (z, y, wins[z, y])):
                ratio = (
                    np.log(new[winner] / new[loser])
                    - share * np.log(reference[winner] / reference[loser])
                    - (1 - share) * np.log(policy[winner] / policy[loser])
                )
                total += policy[y] * policy[z] * chance * (ratio - 1 / (2 * inverse_eta)) ** 2
    return total


def test_the_step_minimises_the_papers_loss() -> None:
    preferences, start = random_games(2, 4)
    _, other = random_games(2, 4, first_seed=50)
    dynamic = INPO(alpha=0.4, eta=0.7)
    state = dynamic.initial(start)._replace(log_policy=other)
    got = dynamic.step(state, lambda p: torch.einsum("nij,nj->ni", preferences, p))
    for row in range(2):
        policy, reference = other[row].exp().numpy(), start[row].exp().numpy()
        wins = preferences[row].numpy()
        expected = minimiser(
            lambda new, p=policy, r=reference, w=wins: expected_loss(new, p, r, w, 0.4, 1 / 0.7),
            policy,
        )
        np.testing.assert_allclose(got.log_policy[row].exp(), expected, rtol=1e-6)


def test_it_ends_at_the_regularised_equilibrium_with_either_stepsize() -> None:
    preferences, start = random_games(2, 5)
    constant = after(INPO(alpha=0.2, eta=0.5), preferences, start, 1000).log_policy
    falling = after(INPO(alpha=0.2, schedule="falling"), preferences, start, 5000).log_policy
    for row in range(2):
        expected = regularised_equilibrium(preferences[row], start[row], 0.2)
        np.testing.assert_allclose(constant[row].exp(), expected, rtol=1e-9)
        np.testing.assert_allclose(falling[row].exp(), expected, rtol=1e-5)


def test_the_falling_stepsize_is_2_over_alpha_k_plus_2() -> None:
    preferences, start = random_games(1, 4)
    policy = reference = start[0].exp().numpy()
    for k in range(5):
        eta = 2 / (0.5 * (k + 2))
        share = eta * 0.5
        weights = policy ** (1 - share) * reference**share
        weights *= np.exp(eta * preferences[0].numpy() @ policy)
        policy = weights / weights.sum()
    got = after(INPO(alpha=0.5, schedule="falling"), preferences, start, 5).log_policy
    np.testing.assert_allclose(got[0].exp(), policy, rtol=1e-12)
