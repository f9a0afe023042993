from __future__ import annotations

import numpy as np
import pytest
import torch

from mpo.games.dynamics.mirror import MWU
from mpo.games.dynamics.oracle import noisy_payoffs
from mpo.games.dynamics.sppo import SPPO
from tests.games.dynamics.small_games import after, minimiser, random_games
from tests.oracles import Array


def papers_loss(new: Array, policy: Array, wins: Array, eta: float, log_z: float) -> float:
    return sum(
        p * (np.log(n / p) - (eta * w - log_z)) ** 2
        for n, p, w in zip(new, policy, wins @ policy, strict=True)
    )


@pytest.mark.parametrize("eta", [0.3, 3.0, 20.0])
def test_half_minimises_the_loss_with_eta_over_2(eta: float) -> None:
    preferences, start = random_games(2, 4)
    got = after(SPPO(eta=eta), preferences, start, 1).log_policy
    for row in range(2):
        wins, policy = preferences[row].numpy(), start[row].exp().numpy()

        def loss(new: Array, w: Array = wins, p: Array = policy) -> float:
            return papers_loss(new, p, w, eta, eta / 2)

        mine = got[row].exp().numpy()
        np.testing.assert_allclose(mine, minimiser(loss, mine[::-1].copy()), rtol=1e-5, atol=1e-7)
        # The multiplier's equation, to all digits: u + λ eᵘ = c with one λ for all actions.
        ratio = (got[row] - start[row]).numpy()
        multiplier = (eta * (wins @ policy - 0.5) - ratio) * np.exp(-ratio)
        weighty = policy * np.exp(ratio) > 1e-6
        np.testing.assert_allclose(multiplier[weighty], multiplier[weighty].mean(), rtol=1e-7)
        assert multiplier[weighty].mean() > 0


def test_exact_minimises_the_loss_with_the_true_normaliser() -> None:
    preferences, start = random_games(2, 4)
    got = after(SPPO(eta=1.5, log_normaliser="exact"), preferences, start, 1).log_policy
    for row in range(2):
        wins, policy = preferences[row].numpy(), start[row].exp().numpy()
        log_z = float(np.log(policy @ np.exp(1.5 * wins @ policy)))
        assert papers_loss(got[row].exp().numpy(), policy, wins, 1.5, log_z) < 1e-28


def test_the_two_agree_to_second_order_and_part_at_large_steps() -> None:
    preferences, start = random_games(3, 6)
    apart = [
        float(
            (
                after(SPPO(eta=eta), preferences, start, 1).log_policy
                - after(MWU(eta=eta), preferences, start, 1).log_policy
            )
            .abs()
            .max()
        )
        for eta in (0.02, 0.01)
    ]
    assert apart[0] / apart[1] == pytest.approx(8, rel=0.05)
    huge = after(SPPO(eta=1e5), preferences, start, 1).log_policy.exp()
    policy = start.exp()
    margin = (torch.einsum("nij,nj->ni", preferences, policy) - 0.5).clamp_min(0)
    limit = policy * margin / (policy * margin).sum(1, keepdim=True)
    np.testing.assert_allclose(huge, limit, atol=1e-3)


def test_it_rests_at_an_equilibrium_and_leaves_the_others_rows_alone() -> None:
    third = torch.full((1, 3), 1 / 3, dtype=torch.float64).log()
    wins = torch.tensor([[[0.5, 0.9, 0.2], [0.1, 0.5, 0.9], [0.8, 0.1, 0.5]]]).double()
    cyclic = torch.tensor([[[0.5, 0.9, 0.1], [0.1, 0.5, 0.9], [0.9, 0.1, 0.5]]]).double()
    start = torch.cat([third, third, torch.full((1, 3), float("nan")).double()])
    got = after(SPPO(eta=2.0), torch.cat([cyclic, wins, wins]), start, 1).log_policy
    np.testing.assert_allclose(got[0].exp(), 1 / 3, rtol=1e-12)
    alone = after(SPPO(eta=2.0), wins, third, 1).log_policy
    np.testing.assert_allclose(got[1], alone[0], rtol=1e-12)
    assert bool(got[2].isnan().all())


@pytest.mark.parametrize("eta", [0.1, 10.0, 1000.0])
def test_noise_does_not_stop_it(eta: float) -> None:
    preferences, start = random_games(20, 10)
    dynamic, payoffs = SPPO(eta=eta), noisy_payoffs(preferences, 0.05, seed=3)
    state = dynamic.initial(start)
    for _ in range(50):
        state = dynamic.step(state, payoffs)
        np.testing.assert_allclose(state.log_policy.exp().sum(1), 1, rtol=1e-12)
