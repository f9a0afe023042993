from __future__ import annotations

import math

import numpy as np
import torch

from mpo.games.dynamics.spo import SPO
from tests.games.dynamics.small_games import (
    ROCK_PAPER_SCISSORS,
    after,
    gaps,
    minimiser,
    random_games,
)
from tests.oracles import kl


def test_the_step_maximises_the_win_rate_less_the_kl() -> None:
    preferences, start = random_games(2, 4)
    got = after(SPO(eta=0.7), preferences, start, 1).log_policy
    for row in range(2):
        wins, policy = preferences[row].numpy(), start[row].exp().numpy()
        expected = minimiser(
            lambda new, w=wins, p=policy: -float(new @ w @ p) + kl(new, p) / 0.7, policy
        )
        np.testing.assert_allclose(got[row].exp(), expected, rtol=1e-6)


def test_the_average_keeps_hedges_regret_bound_and_the_last_iterate_spirals_out() -> None:
    # Hedge: regret at most −log min π_0 / η + η K / 8; the gap is twice that over K.
    preferences = ROCK_PAPER_SCISSORS * 0.8 + 0.1
    preferences = torch.cat([preferences, ROCK_PAPER_SCISSORS])
    start = torch.full((2, 3), -math.log(3), dtype=torch.float64)
    start = torch.log_softmax(start + torch.tensor([[0.1, 0.0, 0.0]]).double(), 1)
    eta, steps = 0.5, 2000
    dynamic = SPO(eta=eta)
    state, average = dynamic.initial(start), torch.zeros(2, 3, dtype=torch.float64)
    for _ in range(steps):
        average += state.log_policy.exp() / steps
        state = dynamic.step(state, lambda p: torch.einsum("nij,nj->ni", preferences, p))
    # A bound of multiplicative weights in [0, 1]; what they do here is better by far.
    bound = 2 * (-float(start.min()) / (eta * steps) + eta / 8)
    assert bool((gaps(preferences, average.log()) <= bound).all())
    assert bool((gaps(preferences, average.log()) < 0.02).all())
    assert bool((gaps(preferences, state.log_policy) > 0.25).all())
