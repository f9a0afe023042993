from __future__ import annotations

import numpy as np
import pytest
import torch

from mpo.games.dynamics import mmd_step
from mpo.games.dynamics.nash_md import NashMD, NashMDMixture
from mpo.games.regularised import regularised_equilibrium
from tests.games.dynamics.small_games import (
    ROCK_PAPER_SCISSORS,
    after,
    gaps,
    minimiser,
    random_games,
)
from tests.oracles import Array, kl


def test_nash_md_is_the_magnetic_step_with_another_stepsize() -> None:
    preferences, start = random_games(3, 5)
    _, other = random_games(3, 5, first_seed=50)
    dynamic = NashMD(alpha=0.3, eta=0.8)
    state = dynamic.initial(start)._replace(log_policy=other)
    got = dynamic.step(state, lambda p: torch.einsum("nij,nj->ni", preferences, p))
    for row in range(3):
        expected = mmd_step(
            preferences[row], other[row].exp(), other[row].exp(), start[row], 0.3, 0.8 / 0.76
        )
        np.testing.assert_allclose(got.log_policy[row].exp(), expected, rtol=1e-12)


def test_nash_md_ends_at_the_regularised_equilibrium() -> None:
    preferences, start = random_games(4, 6)
    end = after(NashMD(alpha=0.2, eta=0.5), preferences, start, 1000).log_policy
    for row in range(4):
        expected = regularised_equilibrium(preferences[row], start[row], 0.2)
        np.testing.assert_allclose(end[row].exp(), expected, rtol=1e-9)


def test_nash_md_circles_if_the_stepsize_is_large_beside_alpha() -> None:
    # Linearised at the middle, |1 − ηα + iη√3/6|: above 1 for α = 0.05 if η is above 1.17.
    start = torch.log(torch.tensor([[0.4, 0.35, 0.25]], dtype=torch.float64))
    small = after(NashMD(alpha=0.05, eta=0.4), ROCK_PAPER_SCISSORS, start, 2000).log_policy
    expected = regularised_equilibrium(ROCK_PAPER_SCISSORS[0], start[0], 0.05)
    np.testing.assert_allclose(small[0].exp(), expected, rtol=1e-9)
    large = after(NashMD(alpha=0.05, eta=2.0), ROCK_PAPER_SCISSORS, start, 2000).log_policy
    assert float(gaps(ROCK_PAPER_SCISSORS, large)) > 0.3


def mixture(policy: Array, reference: Array, share: float) -> Array:
    weights = policy ** (1 - share) * reference**share
    return np.asarray(weights / weights.sum())


def test_the_mixture_step_maximises_the_papers_objective() -> None:
    preferences, start = random_games(2, 4)
    _, other = random_games(2, 4, first_seed=50)
    alpha, eta = 0.4, 0.9
    dynamic = NashMDMixture(alpha=alpha, eta=eta)
    state = dynamic.initial(start)._replace(log_policy=other)
    got = dynamic.step(state, lambda p: torch.einsum("nij,nj->ni", preferences, p))
    for row in range(2):
        wins = preferences[row].numpy()
        mixed = mixture(other[row].exp().numpy(), start[row].exp().numpy(), alpha * eta)
        expected = minimiser(
            lambda new, w=wins, m=mixed: -eta * float(new @ w @ m) + kl(new, m), mixed
        )
        np.testing.assert_allclose(got.log_policy[row].exp(), expected, rtol=1e-6)


def test_with_a_constant_stepsize_the_mixture_rests_beside_the_equilibrium() -> None:
    preferences, start = random_games(3, 5)
    alpha, eta = 0.2, 0.5
    end = after(NashMDMixture(alpha=alpha, eta=eta), preferences, start, 1000).log_policy
    for row in range(3):
        reference = start[row].exp().numpy()
        mixed = mixture(end[row].exp().numpy(), reference, alpha * eta)
        weaker = regularised_equilibrium(preferences[row], start[row], alpha / (1 - alpha * eta))
        np.testing.assert_allclose(mixed, weaker, rtol=1e-9)
        own = reference * np.exp(preferences[row].numpy() @ mixed / alpha)
        np.testing.assert_allclose(end[row].exp(), own / own.sum(), rtol=1e-9)


def test_with_the_falling_stepsize_theorem_1_holds_and_the_equilibrium_is_reached() -> None:
    preferences, start = random_games(1, 5)
    alpha = 0.3
    target = regularised_equilibrium(preferences[0], start[0], alpha).numpy()
    dynamic = NashMDMixture(alpha=alpha, schedule="falling")
    state = dynamic.initial(start)
    before = kl(target, state.log_policy[0].exp().numpy())
    for k in range(1500):
        eta = 2 / (alpha * (k + 2))
        state = dynamic.step(state, lambda p: torch.einsum("nij,nj->ni", preferences, p))
        distance = kl(target, state.log_policy[0].exp().numpy())
        assert distance <= (1 - eta * alpha) * before + 2 * eta**2 + 1e-12
        assert distance <= 8 / (alpha**2 * (k + 2))
        before = distance
    assert before < 1e-6
    constant = after(NashMDMixture(alpha=alpha, eta=2.0), preferences, start, 2000).log_policy
    assert kl(target, constant[0].exp().numpy()) > 1e-4


@pytest.mark.parametrize("dynamic", [NashMD(0.5, 3.0), NashMDMixture(0.5, 3.0)])
def test_a_step_beyond_the_reference_is_named(dynamic: NashMD | NashMDMixture) -> None:
    assert dynamic.problems() == ["eta: got eta * alpha up to 1.5, allowed: 1 or less"]
