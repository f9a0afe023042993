from __future__ import annotations

import numpy as np
import torch

from mpo.games.dynamics.oracle import CALLS_A_BLOCK, exact_payoffs, noisy_payoffs, row_seeds
from tests.games.dynamics.small_games import random_games


def test_exact_payoffs_are_each_actions_wins() -> None:
    preferences, log_policy = random_games(3, 5)
    policy = log_policy.exp()
    payoffs = exact_payoffs(preferences)
    for _ in range(2):  # the second answer is the one that is remembered
        got = payoffs(policy).numpy()
        for row in range(3):
            expected = [
                sum(float(preferences[row, i, j] * policy[row, j]) for j in range(5))
                for i in range(5)
            ]
            np.testing.assert_allclose(got[row], expected, rtol=1e-12)
    other = policy.flip(1)
    expected = np.einsum("nij,nj->ni", preferences.numpy(), other.numpy())
    np.testing.assert_allclose(payoffs(other).numpy(), expected, rtol=1e-12)


def test_one_game_may_serve_all_rows() -> None:
    preferences, log_policy = random_games(3, 5)
    policy = log_policy.exp()
    shared = exact_payoffs(preferences[:1])(policy)
    alone = exact_payoffs(preferences[:1].expand(3, 5, 5))(policy)
    np.testing.assert_allclose(shared.numpy(), alone.numpy(), rtol=1e-12)


def test_noise_is_a_function_of_seed_row_and_call() -> None:
    preferences, log_policy = random_games(3, 5)
    policy = log_policy.exp()
    calls = CALLS_A_BLOCK + 3

    def asked(seed: int | list[int], rows: slice = slice(None)) -> list[torch.Tensor]:
        payoffs = noisy_payoffs(preferences[rows], 0.1, seed)
        return [payoffs(policy[rows]) for _ in range(calls)]

    torch.manual_seed(5)
    first = asked(7)
    torch.manual_seed(6)
    state = torch.get_rng_state()
    again = asked(7)
    assert bool((state == torch.get_rng_state()).all())
    other = asked(8)
    last_row = asked(row_seeds(7, 3)[2:], slice(2, 3))
    for one, two, three, four in zip(first, again, other, last_row, strict=True):
        assert torch.equal(one, two)
        assert not torch.isclose(one, three).any()
        np.testing.assert_allclose(one[2:].numpy(), four.numpy(), rtol=1e-14)
    exact = torch.einsum("nij,nj->ni", preferences, policy)
    errors = (torch.stack(first) - exact).reshape(-1).sort().values
    # 1,000 draws of N(0, 0.1²): the closest two are about 1e-7 apart unless they are the same one.
    assert bool((errors.diff() > 1e-13).all())


def test_noise_has_its_size_and_no_bias() -> None:
    preferences, log_policy = random_games(50, 5)
    policy = log_policy.exp()
    payoffs = noisy_payoffs(preferences, 0.3, 0)
    exact = torch.einsum("nij,nj->ni", preferences, policy)
    errors = torch.stack([payoffs(policy) - exact for _ in range(200)]) / 0.3
    # 50,000 draws: four standard errors of the mean are 0.018, of the deviation 0.013.
    assert abs(float(errors.mean())) < 0.018
    assert abs(float(errors.std()) - 1) < 0.013
