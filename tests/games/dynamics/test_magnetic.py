from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from mpo.games.dynamics.magnetic import MMD, MPO, MPORT, FixedMagnetState, Inner, Opponent
from mpo.games.dynamics.oracle import exact_payoffs
from mpo.games.dynamics.protocol import Dynamic
from mpo.games.dynamics.trajectory import run
from mpo.games.regularised import regularised_equilibrium
from mpo.games.solve import nash_equilibrium
from tests.games.dynamics.small_games import ROCK_PAPER_SCISSORS, after, random_games
from tests.oracles import Array, kl, random_policy

LOG_START = torch.from_numpy(np.log(random_policy(3, 0, scale=0.5)))[None]


def pulled(policy: Array, payoffs: Array, magnet: Array, alpha: float, eta: float) -> Array:
    """(π μ^{ηα} exp(η g))^{1/(1+ηα)} over its sum, in probabilities."""
    weights = (policy * magnet ** (eta * alpha) * np.exp(eta * payoffs)) ** (1 / (1 + eta * alpha))
    return np.asarray(weights / weights.sum())


def reference(
    mpo: MPO, wins: Array, start: Array, steps: int, interval: int | None
) -> tuple[Array, Array]:
    """Policy and magnet of MPO after so many steps."""
    alpha, eta = float(mpo.alpha), float(mpo.eta)
    policy = magnet = start
    last = None
    for step in range(1, steps + 1):
        payoffs = wins @ (magnet if mpo.opponent == "snapshot" else policy)
        taken = payoffs
        if mpo.inner == "optimistic" and last is not None:
            taken = 2 * payoffs - last
        if mpo.inner == "extragradient":
            taken = wins @ pulled(policy, payoffs, magnet, alpha, eta)
        policy, last = pulled(policy, taken, magnet, alpha, eta), payoffs
        if interval is not None and step % interval == 0:
            magnet = policy
    return policy, magnet


@pytest.mark.parametrize(
    ("opponent", "inner"),
    [
        ("policy", "plain"),
        ("snapshot", "plain"),
        ("policy", "optimistic"),
        ("policy", "extragradient"),
    ],
)
def test_the_steps_of_mpo_are_the_formulas(opponent: Opponent, inner: Inner) -> None:
    preferences, log_policy = random_games(2, 5)
    mpo = MPO(0.3, 0.8, 4, opponent, inner)
    for steps in range(1, 14):
        state = after(mpo, preferences, log_policy, steps)
        for row in range(2):
            wins, start = preferences[row].numpy(), log_policy[row].exp().numpy()
            policy, magnet = reference(mpo, wins, start, steps, 4)
            np.testing.assert_allclose(state.log_policy[row].exp().numpy(), policy, rtol=1e-10)
            np.testing.assert_allclose(state.log_magnet[row].exp().numpy(), magnet, rtol=1e-10)


def test_the_steps_of_mmd_are_mpos_with_a_magnet_that_stays() -> None:
    preferences, log_policy = random_games(2, 5)
    state = after(MMD(0.3, 0.8), preferences, log_policy, 13)
    assert torch.equal(state.log_magnet, log_policy)
    for row in range(2):
        wins, start = preferences[row].numpy(), log_policy[row].exp().numpy()
        policy, _ = reference(MPO(0.3, 0.8), wins, start, 13, None)
        np.testing.assert_allclose(state.log_policy[row].exp().numpy(), policy, rtol=1e-10)


def test_mmd_stays_at_the_regularised_equilibrium() -> None:
    preferences, log_magnet = random_games(3, 6)
    solved = [regularised_equilibrium(preferences[n], log_magnet[n], 0.2) for n in range(3)]
    state = FixedMagnetState(torch.stack(solved).log(), log_magnet)
    moved = MMD(0.2, 1.5).step(state, exact_payoffs(preferences))
    np.testing.assert_allclose(moved.log_policy.exp().numpy(), np.stack(solved), atol=1e-12)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0])
def test_mmd_converges_at_the_rate_of_theorem_3_2(alpha: float) -> None:
    """KL(π_r* ‖ π_{k+1}) ≤ KL(π_r* ‖ π_1) (1 / (1 + ηα))^k at η = α/L².

    The norm is ‖·‖_1, for which the entropy is 1-strongly convex. In it L is the largest
    |P − ½|: differences of policies sum to 0, so that the ½ drops out.
    """
    preferences, log_policy = random_games(6, 5)
    smoothness = (preferences - 0.5).abs().amax((1, 2))
    eta = (alpha / smoothness**2)[:, None]
    calls = 60
    found = run(
        MMD(alpha, eta), preferences, log_policy, calls, record=range(calls + 1), keep_path=True
    )
    assert found.path is not None
    for row in range(6):
        solved = regularised_equilibrium(preferences[row], log_policy[row], alpha).numpy()
        distances = [kl(solved, policy) for policy in found.path[row].numpy()]
        rate = 1 / (1 + float(eta[row]) * alpha)
        for k, distance in enumerate(distances):
            assert distance <= distances[0] * rate**k + 1e-14


def test_a_step_too_large_for_theorem_3_2_can_break_its_rate() -> None:
    alpha, eta, calls = 0.05, 20.0, 60
    found = run(MMD(alpha, eta), ROCK_PAPER_SCISSORS, LOG_START, calls, keep_path=True)
    assert found.path is not None
    solved = regularised_equilibrium(ROCK_PAPER_SCISSORS[0], LOG_START[0], alpha).numpy()
    start, end = (kl(solved, p) for p in (LOG_START[0].exp().numpy(), found.path[0, 0].numpy()))
    assert end > start / (1 + eta * alpha) ** calls


def test_rock_paper_scissors() -> None:
    """The moving magnet solves it, a magnet that stays does not, Algorithm 1 spirals out."""
    moving = MPO(0.2, 0.5, 50)
    letter = MPO(0.2, 0.5, 50, "snapshot")
    gaps = {
        name: float(run(dynamic, ROCK_PAPER_SCISSORS, LOG_START, 5000).gap_last[0, 0])
        for name, dynamic in (("mpo", moving), ("letter", letter), ("mmd", MMD(0.2, 0.5)))
    }
    assert gaps["mpo"] < 1e-14
    assert gaps["letter"] > 0.99
    solved = regularised_equilibrium(ROCK_PAPER_SCISSORS[0], LOG_START[0], 0.2)
    expected = 2 * (float((ROCK_PAPER_SCISSORS[0] @ solved).max()) - 0.5)
    assert gaps["mmd"] == pytest.approx(expected, abs=1e-10) and expected > 0.01


@pytest.mark.parametrize("inner", ["plain", "optimistic", "extragradient"])
def test_mpo_reaches_the_equilibrium_of_the_linear_program(inner: Inner) -> None:
    preferences, log_policy = random_games(4, 5, first_seed=3)
    found = run(MPO(0.2, 2.0, 10, inner=inner), preferences, log_policy, 6000)
    assert float(found.gap_last.max()) < 1e-9
    for row in range(4):
        solved = nash_equilibrium(preferences[row])
        # Games of an odd size drawn from a density have a single equilibrium.
        np.testing.assert_allclose(
            found.log_policy[row].exp().numpy(), solved.policy.numpy(), atol=1e-6
        )


@pytest.mark.parametrize("opponent", ["policy", "snapshot"])
def test_mpo_rt_at_the_stepsize_of_theorem_3_5_is_mpo(opponent: Opponent) -> None:
    preferences, log_policy = random_games(4, 5)
    alpha = torch.tensor([[0.05], [0.2], [1.0], [3.0]], dtype=torch.float64)
    eta = torch.tensor([[0.1], [1.0], [2.0], [0.5]], dtype=torch.float64)
    mpo = MPO(alpha, eta, 7, opponent)
    transformed = MPORT.equal_to(mpo)
    np.testing.assert_allclose(
        np.asarray(transformed.eta), (eta / (1 + eta * alpha)).numpy(), rtol=1e-15
    )
    for steps in (1, 2, 6, 7, 8, 40):
        one = after(mpo, preferences, log_policy, steps)
        two = after(transformed, preferences, log_policy, steps)
        np.testing.assert_allclose(one.log_policy.numpy(), two.log_policy.numpy(), atol=1e-12)
        np.testing.assert_allclose(one.log_magnet.numpy(), two.log_magnet.numpy(), atol=1e-12)
    other = after(MPORT(alpha, eta, 7, opponent), preferences, log_policy, 1)
    assert not torch.allclose(other.log_policy, after(mpo, preferences, log_policy, 1).log_policy)


def test_mpo_rt_has_no_equal_of_an_extragradient() -> None:
    with pytest.raises(ValueError, match="inner: got 'extragradient', allowed: plain"):
        MPORT.equal_to(MPO(inner="extragradient"))


@pytest.mark.parametrize(
    ("dynamic", "fields"),
    [
        (MMD(0.0, math.inf), ["alpha", "eta"]),
        (
            MPO(-1.0, 0.0, 0, "magnet", "fast"),
            ["alpha", "eta", "magnet_interval", "opponent", "inner"],
        ),
        (MPO(opponent="snapshot", inner="optimistic"), ["inner"]),
        (MPORT(0.0, -1.0, -5), ["alpha", "eta", "magnet_interval"]),
    ],
)
def test_mistakes_are_named_together(dynamic: Dynamic[Any], fields: list[str]) -> None:
    assert [problem.split(":")[0] for problem in dynamic.problems()] == fields
