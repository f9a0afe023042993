from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from mpo.games.dynamics.bond import BOND
from tests.games.dynamics.small_games import ROCK_PAPER_SCISSORS, after, gaps, random_games
from tests.oracles import Array


def best_of(policy: Array, rewards: Array, n: int) -> Array:
    """The law of the best of n samples by enumeration, lots among the best samples."""
    law = np.zeros(len(policy))
    for samples in itertools.product(range(len(policy)), repeat=n):
        best = max(rewards[y] for y in samples)
        winners = [y for y in samples if rewards[y] == best]
        for y in winners:
            law[y] += np.prod(policy[list(samples)]) / len(winners)
    return law


@pytest.mark.parametrize("rounds", [1, 2])
def test_where_rewards_decide_it_is_the_best_of_n(rounds: int) -> None:
    _, start = random_games(1, 4)
    rewards = np.array([0.3, -1.0, 0.3, 2.0])
    wins = (np.sign(rewards[:, None] - rewards) + 1) / 2
    got = after(BOND(knockout_rounds=rounds), torch.from_numpy(wins)[None], start, 1).log_policy
    expected = best_of(start[0].exp().numpy(), rewards, 2**rounds)
    np.testing.assert_allclose(got[0].exp(), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("rounds", [1, 2])
def test_for_any_preference_it_is_the_winner_of_a_knockout(rounds: int) -> None:
    preferences, start = random_games(1, 3)
    wins, policy = preferences[0].numpy(), start[0].exp().numpy()

    def winner(entrants: tuple[int, ...]) -> Array:
        if len(entrants) == 1:
            return np.eye(3)[entrants[0]]
        half = len(entrants) // 2
        left, right = winner(entrants[:half]), winner(entrants[half:])
        return np.asarray(left * (wins @ right) + right * (wins @ left))

    expected = sum(
        np.prod(policy[list(entrants)]) * winner(entrants)
        for entrants in itertools.product(range(3), repeat=2**rounds)
    )
    got = after(BOND(knockout_rounds=rounds), preferences, start, 1).log_policy
    np.testing.assert_allclose(got[0].exp(), expected, rtol=1e-12)


def test_the_anchor_follows_by_its_rate() -> None:
    preferences, start = random_games(2, 4)
    rate = 0.3
    got = after(BOND(anchor_rate=rate), preferences, start, 5)
    for row in range(2):
        wins, anchor = preferences[row].numpy(), start[row].exp().numpy()
        for _ in range(5):
            policy = 2 * anchor * (wins @ anchor)
            anchor = anchor ** (1 - rate) * policy**rate
            anchor /= anchor.sum()
        np.testing.assert_allclose(got.log_policy[row].exp(), policy, rtol=1e-12)
        np.testing.assert_allclose(got.log_anchor[row].exp(), anchor, rtol=1e-12)


def test_an_anchor_that_stays_is_best_of_n_of_the_initial_policy() -> None:
    preferences, start = random_games(2, 4)
    once = after(BOND(anchor_rate=0.0), preferences, start, 1).log_policy
    often = after(BOND(anchor_rate=0.0), preferences, start, 20).log_policy
    np.testing.assert_allclose(often, once, rtol=1e-13)


def test_it_rests_at_a_mixed_equilibrium_and_spirals_away_from_beside_it() -> None:
    third = torch.full((1, 3), 1 / 3, dtype=torch.float64).log()
    rest = after(BOND(), ROCK_PAPER_SCISSORS, third, 100).log_policy
    np.testing.assert_allclose(rest[0].exp(), 1 / 3, rtol=1e-10)
    beside = torch.log(torch.tensor([[0.34, 0.33, 0.33]], dtype=torch.float64))
    early = float(gaps(ROCK_PAPER_SCISSORS, after(BOND(), ROCK_PAPER_SCISSORS, beside, 1)[0]))
    late = float(gaps(ROCK_PAPER_SCISSORS, after(BOND(), ROCK_PAPER_SCISSORS, beside, 4000)[0]))
    assert early < 0.05 and late > 0.5


def test_an_action_that_never_wins_stays_finite() -> None:
    wins = torch.tensor([[[0.5, 1.0], [0.0, 0.5]]], dtype=torch.float64)
    sure = torch.tensor([[0.0, -1e4]], dtype=torch.float64)
    assert bool(after(BOND(), wins, sure, 50).log_policy.isfinite().all())
