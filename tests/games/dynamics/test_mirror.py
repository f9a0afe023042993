from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from mpo.games.dynamics.mirror import MWU, ExtragradientMWU, OptimisticMWU
from mpo.games.dynamics.protocol import Dynamic
from mpo.games.dynamics.trajectory import run
from tests.games.dynamics.small_games import ROCK_PAPER_SCISSORS, after, random_games
from tests.oracles import Array, random_policy

LOG_START = torch.from_numpy(np.log(random_policy(3, 0, scale=0.5)))[None]


def multiplied(policy: Array, payoffs: Array, eta: float) -> Array:
    """π exp(η g) over its sum, in probabilities."""
    weights = policy * np.exp(eta * payoffs)
    return np.asarray(weights / weights.sum())


def plain(wins: Array, policies: list[Array], eta: float) -> Array:
    return multiplied(policies[-1], wins @ policies[-1], eta)


def optimistic(wins: Array, policies: list[Array], eta: float) -> Array:
    last = policies[-2] if len(policies) > 1 else policies[-1]
    return multiplied(policies[-1], 2 * wins @ policies[-1] - wins @ last, eta)


def extragradient(wins: Array, policies: list[Array], eta: float) -> Array:
    half = multiplied(policies[-1], wins @ policies[-1], eta)
    return multiplied(policies[-1], wins @ half, eta)


@pytest.mark.parametrize(
    ("dynamic", "recipe"),
    [
        (MWU(0.7), plain),
        (OptimisticMWU(0.7), optimistic),
        (ExtragradientMWU(0.7), extragradient),
    ],
)
def test_steps_are_the_formulas(
    dynamic: Dynamic[Any], recipe: Callable[[Array, list[Array], float], Array]
) -> None:
    preferences, log_policy = random_games(2, 5)
    for row in range(2):
        policies = [np.exp(log_policy[row].numpy())]
        for steps in range(1, 20):
            policies.append(recipe(preferences[row].numpy(), policies, 0.7))
            got = after(dynamic, preferences, log_policy, steps).log_policy
            np.testing.assert_allclose(got[row].exp().numpy(), policies[-1], rtol=1e-10)


def test_a_step_is_the_maximiser_of_its_objective() -> None:
    preferences, log_policy = random_games(1, 4)
    policy = log_policy[0].exp().numpy()
    payoffs = preferences[0].numpy() @ policy

    def value(new: Array) -> float:
        return float(new @ payoffs - (new * np.log(new / policy)).sum() / 0.7)

    best = after(MWU(0.7), preferences, log_policy, 1).log_policy[0].exp().numpy()
    for seed in range(200):
        other = 0.999 * best + 0.001 * random_policy(4, seed)
        assert value(other) < value(best)


def test_the_last_iterate_of_mwu_spirals_out_and_its_average_converges() -> None:
    found = run(MWU(0.5), ROCK_PAPER_SCISSORS, LOG_START, 5000, record=[0, 100, 500, 5000])
    gaps = found.gap_last[0].tolist()
    assert gaps == sorted(gaps) and gaps[-1] > 0.999
    assert float(found.gap_average[0, -1]) < 0.01


def test_the_average_of_mwu_keeps_to_its_regret_bound() -> None:
    """gap of the average of K iterates ≤ 2 (max_y −log π_1(y) / (ηK) + η/8) (Freund, Schapire)."""
    preferences, log_policy = random_games(5, 6)
    eta, calls = 0.1, 2000
    found = run(MWU(eta), preferences, log_policy, calls)
    bound = 2 * (-log_policy.amin(1) / (eta * (calls + 1)) + eta / 8)
    assert bool((found.gap_average[:, 0] <= bound).all())
    assert bool((found.gap_last[:, 0] > bound).any())


@pytest.mark.parametrize("dynamic", [OptimisticMWU(0.5), ExtragradientMWU(1.0)])
def test_the_corrected_ones_converge_in_the_last_iterate(dynamic: Dynamic[Any]) -> None:
    found = run(dynamic, ROCK_PAPER_SCISSORS, LOG_START, 3000)
    assert float(found.gap_last[0, 0]) < 1e-10


def test_probabilities_that_underflow_are_not_lost() -> None:
    """An action that always loses falls by e^{−η/2…} a step, far below the smallest float64."""
    preferences = torch.tensor([[[0.5, 1.0], [0.0, 0.5]]], dtype=torch.float64)
    start = torch.log(torch.tensor([[0.5, 0.5]], dtype=torch.float64))
    state = after(MWU(1.0), preferences, start, 3000)
    odds = float(state.log_policy[0, 1] - state.log_policy[0, 0])
    # P π = (1 − π_2/2, π_1/2): the odds fall by ½ each step, whatever π.
    assert odds == pytest.approx(-1500, rel=1e-9)
    assert float(state.log_policy.exp()[0, 1]) == 0


@pytest.mark.parametrize("kind", [MWU, OptimisticMWU, ExtragradientMWU])
def test_mistakes_are_named(kind: Callable[[float], Dynamic[Any]]) -> None:
    assert kind(0.5).problems() == []
    for eta in (0.0, -1.0, math.inf, math.nan):
        assert kind(eta).problems() == [f"eta: got {eta}, allowed: a finite number above 0"]
