from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from mpo.games.bradley_terry_fit import NoFiniteFit
from mpo.games.population import (
    iterated_judged_dpo,
    iterated_population_dpo,
    no_self_play,
    population_dpo,
    tilted_reference,
)
from mpo.games.selection import best_and_worst
from mpo.games.zoo import make_game
from tests.oracles import Array, kl, random_policy, random_preferences


def policies(size: int, *seeds: int) -> Tensor:
    return torch.from_numpy(np.stack([random_policy(size, seed) for seed in seeds]))


def normal(size: int, prompts: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(prompts, size)))


def softmax(logits: Array) -> Array:
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())


def maximiser(value: Any, start: Array) -> Array:
    """The policy of the highest value, by a general optimiser over logits."""
    found = minimize(
        lambda logits: -float(value(softmax(logits))), start, method="BFGS", options={"gtol": 1e-10}
    )
    return softmax(found.x)


def test_the_tilted_reference_maximises_reward_minus_kl() -> None:
    reference, rewards = policies(5, 0, 1), normal(5, 2, 3)
    got = tilted_reference(reference.log(), rewards, 0.4).exp()
    for x in range(2):
        p, r = reference[x].numpy(), rewards[x].numpy()
        expected = maximiser(lambda new, p=p, r=r: new @ r - 0.4 * kl(new, p), np.log(p))
        np.testing.assert_allclose(got[x].numpy(), expected, atol=1e-6)


def test_no_self_play_maximises_the_win_over_the_initial_policy() -> None:
    initial, wins = policies(5, 0, 1), np.stack([random_preferences(5, s) for s in (2, 3)])
    got = no_self_play(torch.from_numpy(wins), initial.log(), 0.2).exp()
    for x in range(2):
        p, w = initial[x].numpy(), wins[x]
        expected = maximiser(lambda new, p=p, w=w: new @ w @ p - 0.2 * kl(new, p), np.log(p))
        np.testing.assert_allclose(got[x].numpy(), expected, atol=1e-6)


def dpo_loss(
    logits: Tensor, log_reference: Tensor, pairs: Tensor, beta: float, smoothing: float
) -> Tensor:
    """The loss as the docstring has it, differentiable, pair by pair."""
    ratio = torch.log_softmax(logits, -1) - log_reference
    z = beta * (ratio[:, None] - ratio)
    each = (1 - smoothing) * torch.nn.functional.softplus(-z)
    each = each + smoothing * torch.nn.functional.softplus(z)
    return (pairs * each).sum()


@pytest.mark.parametrize(("beta", "smoothing"), [(0.1, 0.1), (1.0, 0.01), (0.5, 0.4)])
def test_dpo_has_no_gradient_at_its_solution(beta: float, smoothing: float) -> None:
    reference, rewards = policies(7, 0, 1), normal(7, 2, 2)
    pairs = best_and_worst(reference, rewards, 4)
    solution = population_dpo(reference.log(), pairs, beta, smoothing)
    np.testing.assert_allclose(solution.exp().sum(1).numpy(), 1, rtol=1e-12)
    for x in range(2):
        logits = solution[x].clone().requires_grad_()
        loss = dpo_loss(logits, reference[x].log(), pairs[x], beta, smoothing)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert float(gradient.abs().max()) < 1e-10
        away = solution[x] + normal(7, 1, 5)[0] / 10
        farther = dpo_loss(away, reference[x].log(), pairs[x], beta, smoothing)
        assert float(farther) > float(loss.detach())


def test_dpo_on_bradley_terry_labels_is_the_tilted_reference() -> None:
    reference, rewards = policies(6, 0, 1), normal(6, 2, 2)
    labels = torch.sigmoid(rewards[:, :, None] - rewards[:, None, :])
    pairs = reference[:, :, None] * reference[:, None, :] * labels
    got = population_dpo(reference.log(), pairs, 0.3, 0.0)
    expected = tilted_reference(reference.log(), rewards, 0.3)
    np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-9)


def test_dpo_of_two_responses_is_the_smoothed_log_odds() -> None:
    """Best is always the better one: β h = logit(1 − ε), whatever the reference."""
    reference = torch.tensor([[0.2, 0.8]], dtype=torch.float64)
    pairs = best_and_worst(reference, torch.tensor([[1.0, 0.0]]), 2)
    got = population_dpo(reference.log(), pairs, 0.5, 0.1)[0]
    assert float(got[0] - got[1]) == pytest.approx(math.log(0.2 / 0.8) + math.log(9) / 0.5)


def test_rounds_move_the_reference() -> None:
    reference, rewards = policies(6, 0, 1), normal(6, 2, 2)
    current = reference.log()
    for _ in range(3):
        current = population_dpo(current, best_and_worst(current.exp(), rewards, 4), 0.5, 0.1)
    got = iterated_population_dpo(reference.log(), rewards, 4, 0.5, 0.1, 3)
    np.testing.assert_allclose(got.numpy(), current.numpy(), rtol=1e-9)
    two = iterated_population_dpo(reference.log(), rewards, 2, 0.5, 0.1, 2)
    once = iterated_population_dpo(reference.log(), rewards, 2, 0.5, 0.1, 1)
    np.testing.assert_allclose(
        two.numpy(), iterated_population_dpo(once, rewards, 2, 0.5, 0.1, 1).numpy(), rtol=1e-9
    )


def test_a_weak_penalty_ends_far_from_the_reference_without_losing_its_way() -> None:
    """Probabilities under the smallest float64 still have finite logarithms."""
    rewards = normal(30, 1, 0)
    reference = torch.full((1, 30), -math.log(30), dtype=torch.float64)
    got = iterated_population_dpo(reference, rewards, 4, 0.02, 0.01, 4)
    assert float(got.min()) < -750 and bool(torch.isfinite(got).all())
    assert int(got.argmax()) == int(rewards.argmax())


def test_without_smoothing_one_order_has_no_minimum() -> None:
    reference, rewards = policies(4, 0, 1), normal(4, 2, 2)
    pairs = best_and_worst(reference, rewards, 2)
    best = int(rewards[0].argmax())
    with pytest.raises(NoFiniteFit, match=rf"pairs: got prompt 0, where responses \[{best}\]"):
        population_dpo(reference.log(), pairs, 0.1, 0.0)
    with pytest.raises(NoFiniteFit, match="label_smoothing above 0"):
        iterated_population_dpo(reference.log(), rewards, 2, 0.1, 0.0, 1)


def test_a_judge_of_a_bradley_terry_game_selects_as_its_utilities_do_for_two() -> None:
    game = make_game("bradley_terry", 0, symbols=3, max_tokens=2, prompts=1)
    reference = torch.full((1, 13), -math.log(13), dtype=torch.float64)
    utilities = torch.logit(game.preferences[:, :, 0])
    exact = iterated_population_dpo(reference, utilities, 2, 1.0, 0.1, 2).exp()
    args = (game.preferences, 2, 1.0, 0.1, 2)
    sampled = iterated_judged_dpo(reference, *args, draws=200_000, seed=0).exp()
    np.testing.assert_allclose(sampled.numpy(), exact.numpy(), atol=0.01)
    assert torch.equal(sampled, iterated_judged_dpo(reference, *args, draws=200_000, seed=0).exp())


def test_a_judged_cycle_has_a_minimum_without_smoothing() -> None:
    """Rock, paper, scissors: the better of two wins, no order is the only one, nothing moves."""
    cycle = torch.tensor([[0.5, 1, 0], [0, 0.5, 1], [1, 0, 0.5]], dtype=torch.float64)[None]
    third = torch.full((1, 3), -math.log(3), dtype=torch.float64)
    got = iterated_judged_dpo(third, cycle, 2, 0.5, 0.0, 1, draws=30_000, seed=0).exp()
    np.testing.assert_allclose(got.numpy(), np.full((1, 3), 1 / 3), atol=0.02)


@pytest.mark.parametrize(
    ("beta", "smoothing", "message"),
    [(0.0, 0.1, "beta: got 0.0"), (0.1, 0.5, "label_smoothing: got 0.5"), (0.1, -0.1, "got -0.1")],
)
def test_values_out_of_range_are_named(beta: float, smoothing: float, message: str) -> None:
    reference = policies(3, 0).log()
    with pytest.raises(ValueError, match=message):
        population_dpo(reference, torch.full((1, 3, 3), 0.1), beta, smoothing)
    with pytest.raises(ValueError, match="beta: got 0"):
        tilted_reference(reference, reference, 0.0)
    with pytest.raises(ValueError, match="alpha: got -1"):
        no_self_play(torch.full((1, 3, 3), 0.5), reference, -1.0)
