from __future__ import annotations

import numpy as np
import pytest
import torch

from mpo.games.dynamics.online_dpo import OnlineDPO
from mpo.games.population import population_dpo
from mpo.games.regularised import regularised_equilibrium
from tests.games.dynamics.small_games import after, random_games
from tests.oracles import Array


def papers_loss(logits: Array, reference: Array, policy: Array, wins: Array, beta: float) -> float:
    """DPO's loss over every pair of samples of the policy and both labels."""
    ratio = logits - np.log(reference)
    total = 0.0
    for y in range(len(logits)):
        for z in range(len(logits)):
            for winner, loser, chance in ((y, z, wins[y, z]), (z, y, wins[z, y])):
                margin = beta * (ratio[winner] - ratio[loser])
                # A pair is drawn in both orders, so each label of an unordered pair counts twice.
                total += policy[y] * policy[z] * chance / 2 * np.log1p(np.exp(-margin))
    return total


def test_logits_takes_the_gradient_of_the_dpo_loss() -> None:
    preferences, start = random_games(2, 4)
    _, other = random_games(2, 4, first_seed=50)
    beta, eta = 0.7, 0.9
    dynamic = OnlineDPO(beta=beta, eta=eta, geometry="logits")
    state = dynamic.initial(start)._replace(log_policy=other)
    got = dynamic.step(state, lambda p: torch.einsum("nij,nj->ni", preferences, p)).log_policy
    for row in range(2):
        policy, reference = other[row].exp().numpy(), start[row].exp().numpy()
        gradient = np.zeros(4)
        for y in range(4):
            for weight, shift in ((8, 1e-3), (-1, 2e-3)):
                for sign in (1, -1):
                    at = np.log(policy)
                    at[y] += sign * shift
                    value = papers_loss(at, reference, policy, preferences[row].numpy(), beta)
                    gradient[y] += sign * weight * value / 12e-3
        new = np.exp(np.log(policy) - eta / beta * gradient)
        np.testing.assert_allclose(got[row].exp(), new / new.sum(), rtol=1e-9)


@pytest.mark.parametrize("geometry", ["natural", "logits"])
def test_at_rest_the_policy_is_the_dpo_fit_of_its_own_pairs(geometry: str) -> None:
    preferences, start = random_games(3, 4)
    eta, steps = (0.5, 800) if geometry == "natural" else (3.0, 8000)
    dynamic = OnlineDPO(beta=1.0, eta=eta, geometry=geometry)
    end = after(dynamic, preferences, start, steps).log_policy
    policy = end.exp()
    pairs = policy[:, :, None] * policy[:, None, :] * preferences
    fitted = population_dpo(start, pairs, beta=1.0, label_smoothing=0.0)
    np.testing.assert_allclose(policy, fitted.exp(), rtol=1e-7)


def test_in_a_bradley_terry_game_it_ends_where_rlhf_does() -> None:
    _, start = random_games(2, 5)
    rewards = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 5)))
    preferences = torch.sigmoid(rewards[:, :, None] - rewards[:, None, :])
    end = after(OnlineDPO(beta=1.5, eta=0.5), preferences, start, 2000).log_policy
    np.testing.assert_allclose(end.exp(), torch.softmax(start + rewards / 1.5, 1), rtol=1e-8)


def test_it_rests_near_the_regularised_equilibrium_for_a_quarter_of_beta() -> None:
    # σ(z) = ½ + z/4 − z³/48 …: with P near ½ so are the margins near 0, by the factor cubed.
    preferences, start = random_games(1, 5)
    errors = []
    for share in (0.2, 0.1):
        near_half = 0.5 + share * (preferences - 0.5)
        end = after(OnlineDPO(beta=1.0, eta=1.0), near_half, start, 400).log_policy
        expected = regularised_equilibrium(near_half[0], start[0], 0.25)
        errors.append(float((end[0].exp() - expected).abs().max()))
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.15)
