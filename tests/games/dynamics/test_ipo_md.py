from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from mpo.games.dynamics.ipo_md import IPOMD
from mpo.games.dynamics.nash_md import NashMD
from mpo.games.regularised import regularised_equilibrium
from tests.games.dynamics.small_games import after, random_games
from tests.oracles import Array


def papers_loss(
    logits: Array, reference: Array, sampler: Array, wins: Array, alpha: float
) -> float:
    """The IPO loss over every pair and both labels, as it is written for winner and loser."""
    ratio = logits - np.log(reference)
    total = 0.0
    for y in range(len(logits)):
        for z in range(len(logits)):
            for winner, loser, chance in ((y, z, wins[y, z]), (z, y, wins[z, y])):
                error = ratio[winner] - ratio[loser] - 1 / (2 * alpha)
                total += sampler[y] * sampler[z] * chance * error**2
    return total


def slope(loss: Callable[[Array], float], at: Array) -> Array:
    """Central differences; exact for a quadratic but for rounding."""
    moved = [at + 1e-3 * sign * np.eye(len(at)) for sign in (1, -1)]
    return np.asarray([(loss(a) - loss(b)) / 2e-3 for a, b in zip(*moved, strict=True)])


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_logits_takes_the_gradient_of_the_papers_loss(beta: float) -> None:
    preferences, start = random_games(2, 4)
    _, other = random_games(2, 4, first_seed=50)
    alpha, eta = 0.3, 0.8
    dynamic = IPOMD(alpha=alpha, eta=eta, mixture=beta, geometry="logits")
    state = dynamic.initial(start)._replace(log_policy=other)
    got = dynamic.step(state, lambda p: torch.einsum("nij,nj->ni", preferences, p)).log_policy
    for row in range(2):
        policy, reference = other[row].exp().numpy(), start[row].exp().numpy()
        sampler = policy ** (1 - beta) * reference**beta
        sampler /= sampler.sum()
        wins = preferences[row].numpy()
        gradient = slope(
            lambda x, r=reference, s=sampler, w=wins: papers_loss(x, r, s, w, alpha),
            np.log(policy),
        )
        new = np.exp(np.log(policy) - eta * alpha / 4 * gradient)
        np.testing.assert_allclose(got[row].exp(), new / new.sum(), rtol=1e-8)


def test_natural_leaves_out_the_samplers_probability() -> None:
    preferences, start = random_games(3, 5)
    _, other = random_games(3, 5, first_seed=50)
    moves = {}
    for geometry in ("natural", "logits"):
        dynamic = IPOMD(alpha=0.3, eta=0.8, mixture=0.4, geometry=geometry)
        state = dynamic.initial(start)._replace(log_policy=other)
        new = dynamic.step(state, lambda p: torch.einsum("nij,nj->ni", preferences, p))
        moves[geometry] = new.log_policy - other
    sampler = torch.softmax(0.6 * other + 0.4 * start, 1)
    natural = moves["natural"] - (sampler * moves["natural"]).sum(1, keepdim=True)
    expected = sampler * natural
    # Each is known but for a constant of its row.
    difference = expected - moves["logits"]
    np.testing.assert_allclose(difference, difference[:, :1].expand(-1, 5), atol=1e-14)


def test_online_ipo_is_nash_md() -> None:
    preferences, start = random_games(3, 5)
    got = after(IPOMD(alpha=0.2, eta=0.6, mixture=0.0), preferences, start, 30).log_policy
    expected = after(NashMD(alpha=0.2, eta=0.6), preferences, start, 30).log_policy
    np.testing.assert_allclose(got, expected, rtol=1e-10)


@pytest.mark.parametrize("geometry", ["natural", "logits"])
@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_at_rest_the_sampler_is_an_equilibrium_for_a_larger_alpha(
    beta: float, geometry: str
) -> None:
    preferences, start = random_games(2, 4)
    alpha = 0.4
    eta = 0.5 if geometry == "natural" else 2.0
    dynamic = IPOMD(alpha=alpha, eta=eta, mixture=beta, geometry=geometry)
    end = after(dynamic, preferences, start, 600 if geometry == "natural" else 6000).log_policy
    for row in range(2):
        sampler = torch.softmax((1 - beta) * end[row] + beta * start[row], 0)
        expected = regularised_equilibrium(preferences[row], start[row], alpha / (1 - beta))
        np.testing.assert_allclose(sampler, expected, rtol=1e-8)
        own = torch.softmax(start[row] + preferences[row] @ expected / alpha, 0)
        np.testing.assert_allclose(end[row].exp(), own, rtol=1e-7)
