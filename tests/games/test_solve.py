from __future__ import annotations

import numpy as np
import pytest
import torch

from mpo.games.solve import duality_gap, duality_gaps, nash_equilibrium
from mpo.games.zoo import KINDS, make_game
from tests.oracles import duality_gap_by_lp, random_policy, random_preferences

ROCK_PAPER_SCISSORS = torch.tensor(
    [[0.5, 1.0, 0.0], [0.0, 0.5, 1.0], [1.0, 0.0, 0.5]], dtype=torch.float64
)


@pytest.mark.parametrize("seed", range(4))
def test_gap_is_that_of_linear_programming(seed: int) -> None:
    wins = np.stack([random_preferences(9, 10 * seed + x) for x in range(3)])
    policy = np.stack([random_policy(9, 50 * seed + x) for x in range(3)])
    weights = np.array([0.2, 0.5, 0.3])
    expected = sum(
        weight * duality_gap_by_lp(p, pi)
        for weight, p, pi in zip(weights, wins, policy, strict=True)
    )
    got = duality_gap(torch.from_numpy(wins), torch.from_numpy(policy), torch.from_numpy(weights))
    assert got == pytest.approx(expected, rel=1e-9)


def test_gap_of_known_policies() -> None:
    ones = torch.ones(1, dtype=torch.float64)
    rock = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    assert duality_gap(ROCK_PAPER_SCISSORS[None], rock, ones) == pytest.approx(1.0)
    third = torch.full((1, 3), 1 / 3, dtype=torch.float64)
    assert duality_gap(ROCK_PAPER_SCISSORS[None], third, ones) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("seed", range(4))
def test_nash_equilibrium_has_no_gap(seed: int) -> None:
    wins = random_preferences(10, seed)
    found = nash_equilibrium(torch.from_numpy(wins))
    assert abs(duality_gap_by_lp(wins, found.policy.numpy())) < 1e-9
    assert found.value == pytest.approx(0.5, abs=1e-9)
    assert float(found.policy.sum()) == pytest.approx(1, rel=1e-12)
    assert found.support == int((found.policy > 1e-8).sum())


@pytest.mark.parametrize("kind", KINDS)
def test_nash_equilibria_of_the_shipped_games_have_no_gap(kind: str) -> None:
    game = make_game(kind, 1)
    policy = torch.stack([nash_equilibrium(wins).policy for wins in game.preferences])
    assert abs(duality_gap(game.preferences, policy, game.prompt_weights)) < 1e-9


def test_nash_equilibrium_of_known_games() -> None:
    found = nash_equilibrium(ROCK_PAPER_SCISSORS)
    np.testing.assert_allclose(found.policy.numpy(), 1 / 3, rtol=1e-9)
    assert found.support == 3
    reward = torch.tensor([0.3, 2.0, -1.0], dtype=torch.float64)
    pure = nash_equilibrium(torch.sigmoid(reward[:, None] - reward))
    np.testing.assert_allclose(pure.policy.numpy(), [0, 1, 0], atol=1e-9)
    assert pure.support == 1


def test_bad_arguments_are_named() -> None:
    wins, ones = ROCK_PAPER_SCISSORS[None], torch.ones(1, dtype=torch.float64)
    with pytest.raises(ValueError, match="policy: got rows that sum to"):
        duality_gap(wins, torch.full((1, 3), 0.5), ones)
    with pytest.raises(ValueError, match="policy: got rows that sum to"):
        duality_gap(wins, torch.full((1, 3), float("nan")), ones)
    with pytest.raises(ValueError, match="preferences: got shape"):
        duality_gap(wins, torch.full((1, 4), 0.25), ones)
    with pytest.raises(ValueError, match="weights: got shape"):
        duality_gap(wins, torch.full((1, 3), 1 / 3), torch.ones(2))
    with pytest.raises(ValueError, match="preferences: got shape"):
        nash_equilibrium(torch.zeros(3, 3))


def test_gaps_of_a_batch_are_those_of_linear_programming() -> None:
    wins = np.stack([random_preferences(7, seed) for seed in range(5)])
    policies = np.stack([random_policy(7, 70 + seed) for seed in range(5)])
    got = duality_gaps(torch.from_numpy(wins), torch.from_numpy(policies))
    expected = [duality_gap_by_lp(p, pi) for p, pi in zip(wins, policies, strict=True)]
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-9)
    one = [duality_gap_by_lp(wins[0], policy) for policy in policies]
    for game in (wins[0], wins[:1]):
        shared = duality_gaps(torch.from_numpy(game), torch.from_numpy(policies))
        np.testing.assert_allclose(shared.numpy(), one, rtol=1e-9)


def test_bad_arguments_of_a_batch_are_named() -> None:
    policies = torch.full((2, 3), 1 / 3)
    with pytest.raises(ValueError, match=r"preferences: got shape \(3, 3, 3\)"):
        duality_gaps(ROCK_PAPER_SCISSORS.expand(3, 3, 3), policies)
    with pytest.raises(ValueError, match=r"policies: got shape \(3,\)"):
        duality_gaps(ROCK_PAPER_SCISSORS, policies[0])
    for bad in (0.5, float("nan")):
        policies[1, 0] = bad
        with pytest.raises(ValueError, match="policies: got row 1 that sums to"):
            duality_gaps(ROCK_PAPER_SCISSORS, policies)
