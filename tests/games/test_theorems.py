"""The paper's theorems on the dynamics of mpo.games, against maths of their own in numpy.

docs/theory.md says which of them hold, and `experiment=theorems` measures them on more games.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import root

from mpo.games.dynamics.magnetic import MMD, MPO, MPORT
from mpo.games.dynamics.mirror import MWU
from mpo.games.dynamics.protocol import Dynamic
from mpo.games.matrix_families import rock_paper_scissors
from mpo.games.regularised import regularised_equilibrium
from mpo.games.solve import nash_equilibrium
from tests.games.dynamics.small_games import after
from tests.oracles import (
    Array,
    best_response_value_by_lp,
    duality_gap_by_lp,
    kl,
    random_policy,
    random_preferences,
)

WEIGHTS = np.array([0.3, 0.5, 0.2])
WEIGHTED = rock_paper_scissors(WEIGHTS.tolist()).numpy()
EQUAL = rock_paper_scissors([1, 1, 1]).numpy()
GAMES = [WEIGHTED, *(random_preferences(4, seed, scale=1.0) for seed in range(4))]
STARTS = [np.array([0.7, 0.1, 0.2]), *(random_policy(4, 10 + seed) for seed in range(4))]
CASES = pytest.mark.parametrize(("game", "start"), list(zip(GAMES, STARTS, strict=True)))


def iterates(dynamic: Dynamic[Any], game: Array, start: Array, steps: int) -> list[Array]:
    """π_0 … π_K."""
    preferences = torch.from_numpy(game)[None]
    state = dynamic.initial(torch.from_numpy(np.log(start))[None])
    policies = [start]
    for _ in range(steps):
        state = dynamic.step(state, lambda policy: (preferences @ policy[..., None])[..., 0])
        policies.append(state.log_policy[0].exp().numpy())
    return policies


def lipschitz(game: Array) -> float:
    """L of π -> P π from ‖·‖₁ to ‖·‖_∞ on differences of policies, by its extreme points."""
    pairs = itertools.permutations(range(len(game)), 2)
    return max(float(np.abs(game[:, i] - game[:, j]).max()) / 2 for i, j in pairs)


def regularised(game: Array, magnet: Array, alpha: float) -> Array:
    """The π with α log(π/μ) − P π equal for all actions, by a general root finder."""

    def unequal(values: Array) -> Array:
        logits, level = values[:-1], values[-1]
        policy = np.exp(logits)
        slope = alpha * (logits - np.log(magnet)) - game @ policy
        return np.append(slope - level, policy.sum() - 1)

    solved = root(unequal, np.append(np.log(magnet), -0.5), tol=1e-14)
    assert np.abs(unequal(solved.x)).max() < 1e-12
    return np.asarray(np.exp(solved.x[:-1]))


@CASES
def test_theorem_3_2_the_bound_holds_at_each_step(game: Array, start: Array) -> None:
    alpha = 0.1
    eta = alpha / lipschitz(game) ** 2
    target = regularised(game, start, alpha)
    away = [kl(target, policy) for policy in iterates(MMD(alpha, eta), game, start, 60)]
    for before, now in itertools.pairwise(away):
        if before > 1e-12:
            assert now <= before / (1 + eta * alpha) * (1 + 1e-9)
    assert away[-1] < 0.1 * away[0]


@pytest.mark.parametrize(("share", "holds"), [(0.97, True), (1.03, False)])
def test_theorem_3_2_near_the_equilibrium_the_bound_ends_at_alpha_over_sigma_squared(
    share: float, holds: bool
) -> None:
    # At the uniform equilibrium D = I/3 on differences, P − ½ turns by √3/2: σ = 1/√12.
    alpha, magnet = 0.1, np.full(3, 1 / 3)
    eta = share * alpha * 12
    start = magnet * np.exp(1e-4 * np.array([1.0, -0.3, -0.7]))
    start /= start.sum()
    step = MMD(alpha, eta)
    state = step.initial(torch.from_numpy(np.log(start))[None])
    state = state._replace(log_magnet=torch.from_numpy(np.log(magnet))[None])
    moved = step.step(state, lambda policy: policy @ torch.from_numpy(EQUAL).T)
    now = kl(magnet, moved.log_policy[0].exp().numpy())
    ratio = now / kl(magnet, start)
    assert (ratio <= 1 / (1 + eta * alpha)) is holds
    assert ratio == pytest.approx((1 + eta**2 / 12) / (1 + eta * alpha) ** 2, rel=1e-3)


@CASES
def test_theorem_3_5_mirror_descent_on_the_transformed_reward_takes_the_same_steps(
    game: Array, start: Array
) -> None:
    alpha, eta = 0.3, 2.0
    mmd = iterates(MMD(alpha, eta), game, start, 40)
    for stepsize, same in ((eta / (1 + eta * alpha), True), (eta, False)):
        policy = start
        for expected in mmd[1:]:
            reward = game @ policy - alpha * np.log(policy / start)
            weights = policy * np.exp(stepsize * reward)
            policy = weights / weights.sum()
            if same:
                np.testing.assert_allclose(policy, expected, rtol=1e-10)
            else:
                assert np.abs(policy - expected).max() > 1e-4
                break
    assert MPORT.equal_to(MPO(alpha, eta)).eta == pytest.approx(eta / (1 + eta * alpha))


@CASES
def test_lemma_3_3_and_f_2_each_exact_round_comes_nearer(game: Array, start: Array) -> None:
    alpha, magnet = 0.1, start
    nash = nash_equilibrium(torch.from_numpy(game)).policy.numpy()
    for _ in range(8):
        following = regularised_equilibrium(
            torch.from_numpy(game), torch.from_numpy(np.log(magnet)), alpha
        ).numpy()
        if duality_gap_by_lp(game, magnet) < 1e-4:
            break
        fallen = kl(nash, magnet) - kl(nash, following)
        # The three-point identity, whose last term no equilibrium makes negative.
        won = (nash @ game @ following - 0.5) / alpha
        assert fallen > 0 and won >= -1e-12
        assert fallen == pytest.approx(kl(following, magnet) + won, rel=1e-6, abs=1e-12)
        magnet = following


@CASES
def test_theorem_3_4_exact_rounds_reach_the_original_equilibrium(game: Array, start: Array) -> None:
    log_magnet = torch.from_numpy(np.log(start))
    for _ in range(50):
        policy = regularised_equilibrium(torch.from_numpy(game), log_magnet, 0.03)
        # Not policy.log(): actions that are not played underflow.
        log_magnet = torch.log_softmax(log_magnet + torch.from_numpy(game) @ policy / 0.03, 0)
    assert duality_gap_by_lp(game, log_magnet.exp().numpy()) < 1e-6


@CASES
def test_lemma_3_6_each_round_has_the_rate_to_its_own_target(game: Array, start: Array) -> None:
    alpha, interval = 0.1, 12
    eta = alpha / lipschitz(game) ** 2
    magnets = iterates(MPO(alpha, eta, interval), game, start, 4 * interval)[::interval]
    for magnet, following in itertools.pairwise(magnets):
        target = regularised(game, magnet, alpha)
        bound = kl(target, magnet) * (1 + eta * alpha) ** -interval
        assert kl(target, following) <= bound * (1 + 1e-9) + 1e-15


@CASES
def test_theorem_3_7_long_rounds_reach_the_original_equilibrium(game: Array, start: Array) -> None:
    alpha = 0.1
    eta = alpha / lipschitz(game) ** 2
    last = iterates(MPO(alpha, eta, magnet_interval=100), game, start, 6000)[-1]
    assert duality_gap_by_lp(game, last) < 1e-4 * duality_gap_by_lp(game, start)


@pytest.mark.parametrize(("interval", "nearer"), [(1, False), (9, False), (10, True), (40, True)])
def test_theorem_3_7_does_not_hold_for_short_rounds(interval: int, nearer: bool) -> None:
    # A round near the equilibrium is linear in log π: its matrix by the steps' own matrices.
    alpha, eta = 0.1, 0.4
    slope = (EQUAL - 0.5) @ (np.eye(3) / 3 - 1 / 9)
    step, pull = (np.eye(3) + eta * slope) / (1 + eta * alpha), eta * alpha / (1 + eta * alpha)
    a_round = np.eye(3)
    for _ in range(interval):
        a_round = step @ a_round + pull * np.eye(3)
    centre = np.eye(3) - 1 / 3
    factor = max(abs(np.linalg.eigvals(centre @ a_round @ centre)))
    assert bool(factor < 1) is nearer
    uniform, tilt = np.full(3, 1 / 3), np.array([1.0, -0.2, -0.8])
    start = uniform * np.exp(1e-5 * tilt)
    policies = iterates(MPO(alpha, eta, interval), EQUAL, start / start.sum(), 2 * interval)[
        ::interval
    ]
    # The game is symmetric under rotation: every direction grows by the same factor.
    first, second = (np.linalg.norm(np.log(p) - np.log(p).mean()) for p in policies[1:])
    assert second / first == pytest.approx(factor, rel=1e-3)


def test_theorem_3_7_with_one_step_a_round_is_mirror_descent() -> None:
    alpha, eta, start = 0.1, 0.4, STARTS[0]
    mpo = iterates(MPO(alpha, eta, magnet_interval=1), WEIGHTED, start, 300)
    mirror = iterates(MWU(eta / (1 + eta * alpha)), WEIGHTED, start, 300)
    np.testing.assert_allclose(mpo[-1], mirror[-1], rtol=1e-9)
    assert kl(WEIGHTS, mpo[-1]) > kl(WEIGHTS, start)


@CASES
def test_theorem_f_1_the_regularised_gap_falls_at_half_the_rate(game: Array, start: Array) -> None:
    alpha = 0.1
    eta = alpha / lipschitz(game) ** 2
    target = regularised(game, start, alpha)
    policies = iterates(MMD(alpha, eta), game, start, 200)
    least = min(float(np.min(policy)) for policy in (*policies, target))
    constant = 2 * math.sqrt(2) * (lipschitz(game) + alpha / least)
    for step, policy in enumerate(policies):
        slope = alpha * np.log(policy / start) - game @ policy
        gap = policy @ slope + best_response_value_by_lp(
            np.outer(-slope, np.ones(len(slope))), policy
        )
        bound = constant * math.sqrt(kl(target, start)) * (1 + eta * alpha) ** (-step / 2)
        assert gap <= bound
    assert gap < 0.05 * (start @ (-game @ start) + (game @ start).max())
    # The gap in the original game is another one, and stays.
    assert duality_gap_by_lp(game, policies[-1]) > 10 * gap


def test_theorem_f_4_no_smoothness_constant_bounds_the_entropy() -> None:
    for share in (1e-3, 1e-6):
        near, far = np.array([share, 1 - share]), np.array([2 * share, 1 - 2 * share])
        slope = np.linalg.norm(np.log(far / near)) / np.linalg.norm(far - near)
        assert slope > 0.4 / share


def test_mirror_descent_goes_away_from_a_mixed_equilibrium_at_each_step() -> None:
    eta, start = 0.5, STARTS[0]
    policies = iterates(MWU(eta), WEIGHTED, start, 400)
    for before, now in itertools.pairwise(policies):
        grown = math.log(before @ np.exp(eta * (WEIGHTED @ before))) - eta / 2
        assert grown > 0
        assert kl(WEIGHTS, now) - kl(WEIGHTS, before) == pytest.approx(grown, rel=1e-6)
    average = np.mean(policies[:-1], axis=0)
    bound = 2 * math.log(1 / start.min()) / (eta * 400) + eta / 4
    assert duality_gap_by_lp(WEIGHTED, average) < bound < duality_gap_by_lp(WEIGHTED, policies[-1])


@CASES
def test_the_magnet_as_opponent_makes_a_round_one_step_of_mirror_descent(
    game: Array, start: Array
) -> None:
    alpha, eta, interval = 0.2, 0.5, 7
    letter = MPO(alpha, eta, interval, opponent="snapshot")
    magnets = iterates(letter, game, start, 5 * interval)[::interval]
    stepsize = sum((1 + eta * alpha) ** -j for j in range(1, interval + 1)) * eta
    policy = start
    for magnet in magnets[1:]:
        weights = policy * np.exp(stepsize * (game @ policy))
        policy = weights / weights.sum()
        np.testing.assert_allclose(magnet, policy, rtol=1e-9)


def test_the_magnet_as_opponent_spirals_out_and_the_policy_in() -> None:
    preferences = torch.from_numpy(EQUAL)[None]
    start = torch.tensor([[0.4, 0.35, 0.25]], dtype=torch.float64).log()
    ends = {}
    for opponent in ("policy", "snapshot"):
        state = after(MPO(0.2, 0.5, 50, opponent=opponent), preferences, start, 3000)
        ends[opponent] = duality_gap_by_lp(EQUAL, state.log_policy[0].exp().numpy())
    assert ends["policy"] < 1e-9 and ends["snapshot"] > 0.5


def test_the_signs_of_6_lead_to_the_worst_response() -> None:
    reward, alpha = np.array([1.0, 0.3, 0.0, -1.0]), 0.2
    game = 1 / (1 + np.exp(reward[None] - reward[:, None]))
    magnet = np.array([0.4, 0.3, 0.2, 0.1])
    # The game Pᵀ regularised is a pair of best answers in (6): no move of π_1 makes it smaller.
    policy = regularised(game.T, magnet, alpha)
    value = policy @ game @ policy + alpha * kl(policy, magnet)
    for seed in range(20):
        other = 0.9 * policy + 0.1 * random_policy(4, seed)
        assert other @ game @ policy + alpha * kl(other, magnet) > value
        assert policy @ game @ other - alpha * kl(other, magnet) < value - 2 * alpha * kl(
            policy, magnet
        )
    last = iterates(MPO(alpha, 1.0, 20), game.T, magnet, 1000)[-1]
    assert last[3] > 0.999
    assert duality_gap_by_lp(game, last) == pytest.approx(2 * (game[0, 3] - 0.5), abs=1e-3)
