from __future__ import annotations

import numpy as np
import torch

from mpo.games.dynamics.comal import COMAL
from mpo.games.dynamics.magnetic import MPO
from mpo.games.regularised import regularised_equilibrium
from mpo.games.solve import nash_equilibrium
from tests.games.dynamics.small_games import ROCK_PAPER_SCISSORS, after, gaps, random_games
from tests.oracles import kl


def test_it_is_the_papers_two_loops() -> None:
    preferences, start = random_games(2, 4)
    alpha, eta, inner, outer = 0.3, 0.6, 3, 4
    got = after(COMAL(alpha, eta, inner), preferences, start, inner * outer)
    for row in range(2):
        wins, reference = preferences[row].numpy(), start[row].exp().numpy()
        for _ in range(outer):
            policy = reference
            for _ in range(inner):
                gradient = wins @ policy - alpha * (np.log(policy / reference) + 1)
                weights = policy * np.exp(eta * gradient)
                policy = weights / weights.sum()
            reference = policy
        np.testing.assert_allclose(got.log_policy[row].exp(), reference, rtol=1e-12)
        np.testing.assert_allclose(got.log_reference[row].exp(), reference, rtol=1e-12)


def test_it_is_mpo_with_another_stepsize() -> None:
    preferences, start = random_games(3, 6)
    alpha, eta = 0.1, 0.8
    got = after(COMAL(alpha, eta, reference_interval=7), preferences, start, 100).log_policy
    mpo = MPO(alpha=alpha, eta=eta / (1 - eta * alpha), magnet_interval=7)
    expected = after(mpo, preferences, start, 100).log_policy
    np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_a_long_round_solves_the_regularised_game_and_the_equilibrium_comes_nearer() -> None:
    preferences, start = random_games(1, 5)
    nash = nash_equilibrium(preferences[0]).policy.numpy()
    dynamic = COMAL(alpha=0.2, eta=0.5, reference_interval=600)
    reference, before = start, kl(nash, start[0].exp().numpy())
    for rounds in range(1, 4):
        expected = regularised_equilibrium(preferences[0], reference[0], 0.2)
        reference = after(dynamic, preferences, start, 600 * rounds).log_reference
        np.testing.assert_allclose(reference[0].exp(), expected, rtol=1e-9)
        distance = kl(nash, reference[0].exp().numpy())
        assert distance < before
        before = distance


def test_the_last_iterate_reaches_the_original_equilibrium() -> None:
    start = torch.log(torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64))
    dynamic = COMAL(alpha=0.2, eta=0.5)
    end = after(dynamic, ROCK_PAPER_SCISSORS, start, 3000).log_policy
    assert float(gaps(ROCK_PAPER_SCISSORS, end)) < 1e-10
