from __future__ import annotations

import numpy as np
import torch

from mpo.games.dynamics.egpo import EGPO
from mpo.games.regularised import regularised_equilibrium
from tests.games.dynamics.small_games import ROCK_PAPER_SCISSORS, after, random_games


def test_both_half_steps_start_at_the_policy() -> None:
    preferences, start = random_games(3, 5)
    alpha, eta = 0.3, 1.2
    got = after(EGPO(alpha=alpha, eta=eta), preferences, start, 4).log_policy
    for row in range(3):
        wins, reference = preferences[row].numpy(), start[row].exp().numpy()
        policy = reference
        for _ in range(4):
            kept = policy ** (1 - eta * alpha) * reference ** (eta * alpha)
            ahead = kept * np.exp(eta * wins @ policy)
            new = kept * np.exp(eta * wins @ (ahead / ahead.sum()))
            policy = new / new.sum()
        np.testing.assert_allclose(got[row].exp(), policy, rtol=1e-12)


def test_it_ends_at_the_regularised_equilibrium_where_the_plain_gradient_circles() -> None:
    start = torch.log(torch.tensor([[0.4, 0.35, 0.25]], dtype=torch.float64))
    end = after(EGPO(alpha=0.01, eta=0.5), ROCK_PAPER_SCISSORS, start, 4000).log_policy
    expected = regularised_equilibrium(ROCK_PAPER_SCISSORS[0], start[0], 0.01)
    np.testing.assert_allclose(end[0].exp(), expected, rtol=1e-9)


def test_its_distance_falls_by_1_minus_eta_alpha_a_step() -> None:
    # The linear rate of the paper's theorem, KL(π*_α ‖ π_k) ≤ (1 − ηα)^k KL(π*_α ‖ π_0).
    preferences, start = random_games(5, 6)
    alpha, eta = 0.1, 0.3

    def payoffs(p):
        return torch.einsum("nij,nj->ni", preferences, p)

    target = torch.stack(
        [regularised_equilibrium(preferences[row], start[row], alpha) for row in range(5)]
    )

    def distance(log_policy):
        return (target * (target.log() - log_policy)).sum(1)

    dynamic = EGPO(alpha=alpha, eta=eta)
    state = dynamic.initial(start)
    first = distance(state.log_policy)
    for k in range(1, 200):
        state = dynamic.step(state, payoffs)
        assert bool((distance(state.log_policy) <= (1 - eta * alpha) ** k * first + 1e-13).all())
