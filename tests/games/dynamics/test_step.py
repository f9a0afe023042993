from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from mpo.games.dynamics import magnetic_step, mirror_step, mmd_step
from mpo.games.solve import duality_gap
from tests.oracles import kl, random_policy, random_preferences

ROCK_PAPER_SCISSORS = torch.tensor(
    [[0.5, 1.0, 0.0], [0.0, 0.5, 1.0], [1.0, 0.0, 0.5]], dtype=torch.float64
)


@pytest.mark.parametrize(("alpha", "eta"), [(0.1, 1.0), (0.5, 0.2), (0.0, 2.0), (0.3, math.inf)])
def test_step_maximises_equation_4(alpha: float, eta: float) -> None:
    wins = random_preferences(6, 0)
    policy, opponent, magnet = (random_policy(6, seed) for seed in (1, 2, 3))

    def loss(logits: np.ndarray) -> float:
        weights = np.exp(logits - logits.max())
        new = weights / weights.sum()
        value = new @ wins @ opponent - alpha * kl(new, magnet) - kl(new, policy) / eta
        return -float(value)

    found = minimize(loss, np.log(policy), method="BFGS", options={"gtol": 1e-10})
    expected = np.exp(found.x - found.x.max())
    got = mmd_step(*map(torch.from_numpy, (wins, policy, opponent, np.log(magnet))), alpha, eta)
    np.testing.assert_allclose(got.numpy(), expected / expected.sum(), atol=1e-5)
    assert loss(np.log(got.numpy())) <= found.fun + 1e-12


def test_leading_dimensions_are_independent_games() -> None:
    wins = torch.from_numpy(np.stack([random_preferences(4, s) for s in range(3)]))
    policy, opponent, magnet = (
        torch.from_numpy(np.stack([random_policy(4, 10 * k + s) for s in range(3)]))
        for k in range(3)
    )
    together = mmd_step(wins, policy, opponent, magnet.log(), 0.1, 0.5)
    for s in range(3):
        alone = mmd_step(wins[s], policy[s], opponent[s], magnet[s].log(), 0.1, 0.5)
        np.testing.assert_allclose(together[s].numpy(), alone.numpy(), rtol=1e-12)


def test_unnormalised_magnet_changes_nothing() -> None:
    wins = torch.from_numpy(random_preferences(4, 0))
    policy, magnet = (torch.from_numpy(random_policy(4, s)) for s in (1, 2))
    one = mmd_step(wins, policy, policy, magnet.log(), 0.1, 0.5)
    two = mmd_step(wins, policy, policy, magnet.log() + 3, 0.1, 0.5)
    np.testing.assert_allclose(one.numpy(), two.numpy(), rtol=1e-12)


def test_zero_probabilities_stay_zero_without_nan() -> None:
    policy = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    got = mmd_step(ROCK_PAPER_SCISSORS, policy, policy, policy.log(), 0.0, 1.0)
    assert float(got[2]) == 0 and float(got.sum()) == pytest.approx(1)
    dropped = mmd_step(ROCK_PAPER_SCISSORS, policy, policy, torch.zeros(3), 1.0, math.inf)
    assert bool(torch.isfinite(dropped).all())


def run_rock_paper_scissors(opponent_is_magnet: bool, move_every: int | None) -> float:
    policy = torch.from_numpy(random_policy(3, 0, scale=0.5))
    magnet = policy
    for step in range(2000):
        opponent = magnet if opponent_is_magnet else policy
        policy = mmd_step(ROCK_PAPER_SCISSORS, policy, opponent, magnet.log(), 0.2, 0.5)
        if move_every and (step + 1) % move_every == 0:
            magnet = policy
    return duality_gap(ROCK_PAPER_SCISSORS[None], policy[None], torch.ones(1))


def test_a_moving_magnet_solves_rock_paper_scissors_and_a_fixed_one_does_not() -> None:
    assert run_rock_paper_scissors(opponent_is_magnet=False, move_every=50) < 1e-6
    assert run_rock_paper_scissors(opponent_is_magnet=False, move_every=None) > 0.01


def test_the_magnet_as_opponent_spirals_out() -> None:
    assert run_rock_paper_scissors(opponent_is_magnet=True, move_every=50) > 0.9


@pytest.mark.parametrize(
    ("alpha", "eta", "message"),
    [
        (-0.1, 1.0, "alpha: got -0.1"),
        (math.nan, 1.0, "alpha: got nan"),
        (0.1, 0.0, "eta: got 0.0"),
        (0.1, math.nan, "eta: got nan"),
        (0.0, math.inf, "eta: got inf with alpha 0"),
    ],
)
def test_values_out_of_range_are_named(alpha: float, eta: float, message: str) -> None:
    third = torch.full((3,), 1 / 3, dtype=torch.float64)
    with pytest.raises(ValueError, match=message):
        mmd_step(ROCK_PAPER_SCISSORS, third, third, third.log(), alpha, eta)


@pytest.mark.parametrize(("alpha", "eta"), [(0.1, 1.0), (0.5, 0.2), (0.0, 2.0)])
def test_the_steps_on_logarithms_are_the_same_step(alpha: float, eta: float) -> None:
    wins = torch.from_numpy(random_preferences(6, 0))
    policy, opponent, magnet = (torch.from_numpy(random_policy(6, seed)) for seed in (1, 2, 3))
    payoffs = wins @ opponent
    expected = mmd_step(wins, policy, opponent, magnet.log(), alpha, eta)
    got = magnetic_step(policy.log(), payoffs, magnet.log(), alpha, eta)
    np.testing.assert_allclose(got.exp().numpy(), expected.numpy(), rtol=1e-12)
    if alpha == 0:
        got = mirror_step(policy.log(), payoffs, eta)
        np.testing.assert_allclose(got.exp().numpy(), expected.numpy(), rtol=1e-12)
