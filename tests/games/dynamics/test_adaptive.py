"""The adaptive rule against loops of its formulas in probabilities, and what is proven of it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch

from mpo.games.dynamics.adaptive import AdaptiveState, MPOAdaptive
from mpo.games.dynamics.oracle import exact_payoffs, noisy_payoffs
from mpo.games.dynamics.trajectory import run
from mpo.games.matrix_families import initial_policies, matrix_game, rock_paper_scissors
from mpo.games.solve import nash_equilibrium
from tests.games.dynamics.small_games import after, random_games
from tests.oracles import Array, kl

FACTS = MPOAdaptive(eta=2.0, step_share=0.4, strength=0.25, least_strength=5e-4, exploration=0.0)
"""A constant η of 2 and α = 0.05 · 0.8^moves, at least 1e-4, with nothing mixed into the magnet."""


class Followed(NamedTuple):
    policies: list[Array]
    magnet: Array
    alpha: float
    moves: int


def deviation(weights: Array, values: Array) -> float:
    return math.sqrt(float((weights * (values - (weights * values).sum()) ** 2).sum()))


def answer(magnet: Array, payoffs: Array, alpha: float) -> Array:
    weights = magnet * np.exp(payoffs / alpha - (payoffs / alpha).max())
    return np.asarray(weights / weights.sum())


def follow(rule: MPOAdaptive, wins: Array, start: Array, steps: int) -> Followed:
    """The rule on one game, word by word, in probabilities."""
    share, memory = float(rule.step_share), float(rule.memory)
    strength = float(rule.strength)
    policies, gradients, magnet = [start], [wins @ start], start
    slope = alpha = first = 0.0
    moves = 0
    for k in range(steps):
        policy, gradient = policies[k], gradients[k]
        spread = deviation(policy, gradient)
        if rule.eta is not None:
            slope = share / float(rule.eta)
        elif k == 0:
            slope = share * spread / float(rule.first_step)
        else:
            between = (policy + policies[k - 1]) / 2
            distance = math.sqrt((((policy - policies[k - 1]) ** 2) / between).sum())
            measured = deviation(between, gradient - gradients[k - 1]) / distance
            slope = measured if k == 1 else max(measured, memory * slope)
        if k == 0:
            alpha = strength * slope
            first = alpha * kl(policy, answer(magnet, gradient, alpha))
        if alpha * kl(policy, answer(magnet, gradient, alpha)) < float(rule.progress) * first:
            moves += 1
            strength = max(float(rule.weakening) * strength, float(rule.least_strength))
            alpha = strength * slope
            mixed = min(float(rule.most_exploration), float(rule.exploration) * spread / slope)
            magnet = (1 - mixed) * policy + mixed * start
            first = alpha * kl(policy, answer(policy, gradient, alpha))
        before = gradients[k - 1] if k else gradient
        eta = share / slope
        pulled = policy * magnet ** (eta * alpha) * np.exp(eta * (2 * gradient - before))
        stepped = pulled ** (1 / (1 + eta * alpha))
        policies.append(stepped / stepped.sum())
        gradients.append(wins @ policies[-1])
    return Followed(policies, magnet, alpha, moves)


@pytest.mark.parametrize(
    "rule",
    [
        MPOAdaptive(),
        MPOAdaptive(exploration=1.0, weakening=0.5, least_strength=0.03),
        MPOAdaptive(first_step=0.05),
        FACTS,
    ],
)
def test_the_steps_are_the_formulas(rule: MPOAdaptive) -> None:
    preferences, log_policy = random_games(2, 5)
    for row in range(2):
        wins, start = preferences[row].numpy(), log_policy[row].exp().numpy()
        followed = follow(rule, wins, start, 60)
        assert followed.moves >= 3
        state = rule.initial(log_policy[row : row + 1])
        payoffs = exact_payoffs(preferences[row : row + 1])
        for policy in followed.policies:
            np.testing.assert_allclose(state.log_policy[0].exp().numpy(), policy, rtol=1e-8)
            last, state = state, rule.step(state, payoffs)
        np.testing.assert_allclose(last.log_magnet[0].exp().numpy(), followed.magnet, rtol=1e-8)
        assert float(last.alpha) == pytest.approx(followed.alpha, rel=1e-8)


def test_it_reaches_the_equilibrium_that_linear_programming_finds() -> None:
    games = [rock_paper_scissors([1.0, 2.0, 3.0])]
    games += [random_games(1, 3, seed)[0][0] for seed in range(20)]
    preferences = torch.stack(games)
    log_policy = initial_policies(range(len(games)), 3).log()
    ended = run(MPOAdaptive(), preferences, log_policy, 2000)
    assert float(ended.gap_last.max()) < 1e-6
    found = [nash_equilibrium(game) for game in games]
    assert {equilibrium.support for equilibrium in found} == {1, 3}
    for log_last, equilibrium in zip(ended.log_policy, found, strict=True):
        np.testing.assert_allclose(
            log_last.exp().numpy(), equilibrium.policy.numpy(), rtol=0, atol=1e-4
        )


def test_a_row_is_the_same_alone_and_in_a_batch() -> None:
    preferences, log_policy = random_games(4, 6)
    rule = MPOAdaptive(step_share=torch.tensor([[0.2], [0.3], [0.4], [0.5]], dtype=torch.float64))
    together = after(rule, preferences, log_policy, 80)
    for row in range(4):
        alone = after(
            MPOAdaptive(step_share=0.2 + 0.1 * row),
            preferences[row : row + 1],
            log_policy[row : row + 1],
            80,
        )
        np.testing.assert_allclose(
            alone.log_policy[0].numpy(), together.log_policy[row].numpy(), rtol=1e-9
        )


@pytest.mark.parametrize("scale", [0.01, 0.2])
def test_smaller_margins_change_no_policy(scale: float) -> None:
    preferences, log_policy = random_games(3, 6)
    shrunk = 0.5 + scale * (preferences - 0.5)
    whole = after(MPOAdaptive(), preferences, log_policy, 60)
    small = after(MPOAdaptive(), shrunk, log_policy, 60)
    np.testing.assert_allclose(small.log_policy.numpy(), whole.log_policy.numpy(), rtol=1e-6)
    np.testing.assert_allclose(small.alpha.numpy(), scale * whole.alpha.numpy(), rtol=1e-6)


def states(rule: MPOAdaptive, noise: float, steps: int) -> tuple[list[AdaptiveState], Array]:
    preferences = torch.stack([matrix_game("random_logistic", s, 10) for s in range(1000, 1020)])
    payoffs = noisy_payoffs(preferences, noise, 0) if noise else exact_payoffs(preferences)
    found = [rule.initial(initial_policies(range(1000, 1020), 10).log())]
    for _ in range(steps):
        found.append(rule.step(found[-1], payoffs))
    return found, (preferences - 0.5).abs().amax((1, 2)).numpy()


def test_the_estimate_is_at_most_the_largest_margin() -> None:
    found, largest = states(MPOAdaptive(), noise=0.0, steps=200)
    for state in found[2:]:
        assert (state.lipschitz[:, 0].numpy() <= largest * (1 + 1e-12)).all()


def test_noise_does_not_stop_the_steps() -> None:
    found, _ = states(MPOAdaptive(), noise=0.05, steps=200)
    slopes = torch.cat([state.lipschitz for state in found[1:]])
    # Differences of noise would give any value.
    assert float(slopes.max()) == 0.5
    moved = (found[-1].log_policy.exp() - found[-2].log_policy.exp()).abs().sum(1)
    assert float(moved.median()) > 1e-3


def test_an_action_given_up_early_comes_back() -> None:
    seeds = [1223, 1411, 1603]  # found among the 1,000 on which the rule was tuned
    preferences = torch.stack([matrix_game("random_logistic", seed, 10) for seed in seeds])
    log_policy = initial_policies(seeds, 10).log()
    mixed = run(MPOAdaptive(), preferences, log_policy, 1500, tolerances=[1e-3])
    alone = run(MPOAdaptive(exploration=0.0), preferences, log_policy, 1500, tolerances=[1e-3])
    assert bool(mixed.calls_to.isfinite().all())
    assert not bool(alone.calls_to.isfinite().any())


def test_it_solves_random_games_several_times_as_fast_as_a_constant_step() -> None:
    seeds = range(1100, 1140)
    preferences = torch.stack([matrix_game("random_logistic", seed, 10) for seed in seeds])
    log_policy = initial_policies(list(seeds), 10).log()
    adapted, constant = (
        run(rule, preferences, log_policy, 1500, tolerances=[1e-3]).calls_to[:, 0].numpy()
        for rule in (MPOAdaptive(), FACTS)
    )
    assert np.isfinite(adapted).all()
    assert float(np.median(adapted)) < 200
    assert np.isfinite(constant).sum() < len(seeds)


def test_where_all_policies_are_equilibria_it_stands_still() -> None:
    log_policy = initial_policies([1, 2], 4).log()
    state = after(MPOAdaptive(), torch.full((2, 4, 4), 0.5, dtype=torch.float64), log_policy, 50)
    np.testing.assert_allclose(state.log_policy.numpy(), log_policy.numpy(), rtol=1e-9)


def test_all_fields_out_of_range_are_named() -> None:
    wrong = MPOAdaptive(
        step_share=0.0,
        first_step=-1.0,
        memory=1.5,
        strength=math.inf,
        weakening=-0.1,
        least_strength=0.0,
        progress=2.0,
        exploration=-1.0,
        most_exploration=1.1,
        eta=0.0,
    )
    named = [problem.split(":")[0] for problem in wrong.problems()]
    assert sorted(named) == sorted(MPOAdaptive.__dataclass_fields__)
    assert MPOAdaptive().problems() == []
