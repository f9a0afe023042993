"""The quantities of `experiment=theorems` against maths of their own."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from benchmarks.theory.theorems.games import Batch, divergence
from benchmarks.theory.theorems.proofs import reverse_equilibrium
from benchmarks.theory.theorems.rounds import (
    euclidean_rounds,
    euclidean_steps,
    onto_simplex,
    regularised_equilibria,
)
from benchmarks.theory.theorems.statements import round_factor
from benchmarks.theory.theorems.stepsizes import worst_direction
from mpo.games.regularised import regularised_equilibrium
from tests.oracles import kl, random_policy, random_preferences

GAMES = torch.from_numpy(np.stack([random_preferences(4, seed, scale=1.0) for seed in range(5)]))
POLICIES = torch.from_numpy(np.stack([random_policy(4, 20 + seed) for seed in range(5)]))


def test_smoothness_is_the_least_constant() -> None:
    batch = Batch([], [], GAMES, POLICIES.log(), POLICIES)
    for game, constant in zip(GAMES.numpy(), batch.smoothness[:, 0].tolist(), strict=True):
        # ‖Pd‖_∞ / ‖d‖₁ on differences of policies is largest at e_i − e_j.
        extremes = [game[:, i] - game[:, j] for i in range(4) for j in range(i)]
        assert constant == pytest.approx(max(np.abs(d).max() / 2 for d in extremes))
        draw = np.random.default_rng(0).normal(size=(50, 4))
        draw -= draw.mean(1, keepdims=True)
        assert (np.abs(draw @ game.T).max(1) <= constant * np.abs(draw).sum(1) + 1e-12).all()


def test_divergence_also_of_policies_that_are_close_and_of_zeros() -> None:
    for first, second in zip(POLICIES, POLICIES.flip(0), strict=True):
        found = float(divergence(first.log(), second.log()))
        assert found == pytest.approx(kl(first.numpy(), second.numpy()), abs=1e-12)
    pure = torch.tensor([0.0, 0.5, 0.5, 0.0], dtype=torch.float64)
    expected = 0.5 * sum(math.log(0.5 / POLICIES[0, i]) for i in (1, 2))
    assert float(divergence(pure.log(), POLICIES[0].log())) == pytest.approx(expected)
    # KL of a tilt by ε t is ε² Var(t) / 2, far below the rounding of its terms.
    tilt = 1e-9 * torch.tensor([1.0, -1.0, 0.5, 0.0], dtype=torch.float64)
    policy = POLICIES[0]
    variance = float((policy * tilt**2).sum() - (policy * tilt).sum() ** 2)
    near = policy.log() + tilt - float((policy * tilt.expm1()).sum())
    assert float(divergence(policy.log(), near)) == pytest.approx(variance / 2, rel=1e-5)


@pytest.mark.parametrize("alpha", [0.02, 0.1, 1.0])
def test_regularised_equilibria_are_those_of_the_solver(alpha: float) -> None:
    found = regularised_equilibria(GAMES, POLICIES.log(), alpha).exp()
    for game, magnet, policy in zip(GAMES, POLICIES, found, strict=True):
        expected = regularised_equilibrium(game, magnet.log(), alpha)
        np.testing.assert_allclose(policy.numpy(), expected.numpy(), rtol=0, atol=1e-11)


@pytest.mark.parametrize("alpha", [0.05, 0.5])
def test_a_euclidean_round_is_its_own_best_answer(alpha: float) -> None:
    points = euclidean_rounds(GAMES, POLICIES, alpha, 3).numpy()
    assert points.min() >= 0 and np.allclose(points.sum(2), 1)
    for magnets, ends in itertools.pairwise(points):
        for game, magnet, end in zip(GAMES.numpy(), magnets, ends, strict=True):
            slope = game @ end - alpha * (end - magnet)
            assert slope.max() - slope @ end <= 1e-9
    # The same point by many small steps of (4) with the Euclidean distance.
    stepped = euclidean_steps(GAMES, POLICIES, 0.5, 0.5, 400, 3)
    np.testing.assert_allclose(
        stepped.numpy(), euclidean_rounds(GAMES, POLICIES, 0.5, 3).numpy(), atol=1e-9
    )


def test_onto_simplex_is_the_nearest_policy() -> None:
    points = np.random.default_rng(1).normal(size=(40, 5))
    found = onto_simplex(points)
    assert found.min() >= 0 and np.allclose(found.sum(1), 1)
    # x is nearest exactly when no vertex lies further in the direction of the point.
    ahead = ((points - found)[:, None] * (np.eye(5)[None] - found[:, None])).sum(2)
    assert ahead.max() <= 1e-12


def test_the_equilibrium_with_the_other_kl_is_one() -> None:
    for game, magnet in zip(GAMES.numpy(), POLICIES.numpy(), strict=True):
        policy = reverse_equilibrium(game, magnet, 0.5)
        slope = game @ policy + 0.5 * magnet / policy
        assert policy.sum() == pytest.approx(1) and np.ptp(slope) < 1e-8


def test_the_worst_direction_turns_by_sigma() -> None:
    sigma, shift = worst_direction(GAMES, POLICIES.log())
    for game, policy, one, tilt in zip(
        GAMES.numpy(), POLICIES.numpy(), sigma, shift.numpy(), strict=True
    ):
        covariance = np.diag(policy) - np.outer(policy, policy)
        turning = (game - 0.5) @ covariance
        assert float(one) == pytest.approx(np.abs(np.linalg.eigvals(turning).imag).max())
        moved = turning @ tilt
        assert moved @ covariance @ moved == pytest.approx(
            float(one) ** 2 * (tilt @ covariance @ tilt), rel=1e-8
        )


def test_the_factor_of_a_round_is_that_of_its_matrix() -> None:
    alpha, eta, turning = 0.1, 0.4, 0.3
    step = np.array([[1, -eta * turning], [eta * turning, 1]]) / (1 + eta * alpha)
    for interval in (1, 3, 20):
        a_round = np.eye(2)
        for _ in range(interval):
            a_round = step @ a_round + eta * alpha / (1 + eta * alpha) * np.eye(2)
        factor = math.sqrt(np.linalg.det(a_round))
        assert round_factor(alpha, eta, interval, turning) == pytest.approx(factor)
