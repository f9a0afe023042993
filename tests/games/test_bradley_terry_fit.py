from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from mpo.games.bradley_terry_fit import NoFiniteFit, population_reward
from mpo.games.zoo import make_game
from tests.oracles import Array, random_policy, random_preferences


def loss(rewards: Array, wins: Array, probs: Array) -> float:
    """−Σ ρρ' P log σ(r − r'), pair by pair."""
    total = 0.0
    for y in range(len(probs)):
        for other in range(len(probs)):
            margin = rewards[y] - rewards[other]
            total += probs[y] * probs[other] * wins[y, other] * np.log1p(np.exp(-margin))
    return float(total)


def batch(*seeds: int, size: int = 5) -> tuple[Tensor, Tensor]:
    wins = np.stack([random_preferences(size, seed) for seed in seeds])
    probs = np.stack([random_policy(size, 10 + seed) for seed in seeds])
    return torch.from_numpy(wins), torch.from_numpy(probs)


def test_it_is_the_minimum_found_by_a_general_optimiser() -> None:
    wins, probs = batch(0, 1)
    got = population_reward(wins, probs)
    assert got.dtype == torch.float64 and tuple(got.shape) == (2, 5)
    for x in range(2):
        w, p = wins[x].numpy(), probs[x].numpy()
        found = minimize(loss, np.zeros(5), (w, p), method="BFGS", options={"gtol": 1e-9})
        np.testing.assert_allclose(got[x].numpy(), found.x - p @ found.x, atol=1e-5)
        assert loss(got[x].numpy(), w, p) <= found.fun + 1e-14
        assert p @ got[x].numpy() == pytest.approx(0, abs=1e-13)


def test_each_response_wins_as_often_in_the_model_as_in_the_game() -> None:
    """∂L/∂r(y) = 0: Σ_y' ρ(y') σ(r(y) − r(y')) = P(y ≻ ρ)."""
    wins, probs = batch(3, size=40)
    reward = population_reward(wins, probs)[0].numpy()
    modelled = (1 / (1 + np.exp(reward[None] - reward[:, None]))) @ probs[0].numpy()
    np.testing.assert_allclose(modelled, wins[0].numpy() @ probs[0].numpy(), atol=1e-11)


def test_a_bradley_terry_game_gives_back_its_utilities() -> None:
    game = make_game("bradley_terry", 8)
    probs = torch.stack(
        [torch.from_numpy(random_policy(game.num_responses, x, scale=3.0)) for x in range(3)]
    )
    got = population_reward(game.preferences, probs)
    # logit P(y ≻ y') = r(y) − r(y'): the game's own utilities, against its first response.
    own = torch.logit(game.preferences[:, :, 0])
    np.testing.assert_allclose((got - got[:, :1]).numpy(), own.numpy(), atol=1e-9)
    # Another ρ moves only the constant.
    other = population_reward(game.preferences, torch.full_like(probs, 1 / game.num_responses))
    np.testing.assert_allclose((got - got[:, :1]), (other - other[:, :1]), atol=1e-9)


def test_on_a_cycle_the_fit_depends_on_who_samples() -> None:
    wins, probs = batch(0)
    first = population_reward(wins, probs)[0]
    second = population_reward(wins, probs.flip(1))[0]
    assert float((first - first[0] - second + second[0]).abs().max()) > 0.05


def test_rare_responses_and_far_rewards_are_fitted() -> None:
    reward = np.array([0.0, 12.0, -12.0, 3.0])
    wins = 1 / (1 + np.exp(reward[None] - reward[:, None]))
    probs = torch.tensor([[1 - 3e-9, 1e-9, 1e-9, 1e-9]], dtype=torch.float64)
    got = population_reward(torch.from_numpy(wins)[None], probs)[0].numpy()
    np.testing.assert_allclose(got - got[0], reward, atol=1e-5)


def test_certain_wins_are_fine_in_a_cycle_and_refused_outside_of_one() -> None:
    cycle = torch.tensor([[0.5, 1, 0], [0, 0.5, 1], [1, 0, 0.5]], dtype=torch.float64)
    third = torch.full((1, 3), 1 / 3, dtype=torch.float64)
    np.testing.assert_allclose(population_reward(cycle[None], third), np.zeros((1, 3)), atol=1e-12)
    above = torch.full((4, 4), 0.5, dtype=torch.float64)
    above[:3, :3] = cycle
    above[3, :3], above[:3, 3] = 1.0, 0.0
    fine = torch.full((4, 4), 0.5, dtype=torch.float64)
    with pytest.raises(NoFiniteFit, match=r"preferences: got prompt 1, where responses \[3\]"):
        population_reward(torch.stack([fine, above]), torch.full((2, 4), 0.25))


def test_values_out_of_range_are_named() -> None:
    wins, probs = batch(0)
    with pytest.raises(ValueError, match=r"preferences: got shape \(1, 5, 5\), allowed"):
        population_reward(wins, probs[:, :4])
    with pytest.raises(ValueError, match="probs: got a smallest of 0"):
        population_reward(wins, torch.tensor([[0.0, 0.25, 0.25, 0.25, 0.25]]))
