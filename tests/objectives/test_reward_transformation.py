"""Theorem 3.5 on exact steps: magnetic mirror descent is mirror descent on a transformed reward."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mpo.games.dynamics import mmd_step
from mpo.objectives import MPORT
from mpo.objectives.protocol import compared_pairs
from tests.enumerated_scores import detached, outcomes, rollout_of
from tests.kl_oracles import log_probs
from tests.objectives.enumerated_game import PROMPT, Game
from tests.oracles import random_policy, random_preferences

SIZE = 6
STEPS = [(0.1, 1.0), (0.5, 0.2), (1.0, 5.0), (0.3, 30.0)]
CLOSE = {"rtol": 1e-10, "atol": 1e-13}


def transformed(preferences: Tensor, policy: Tensor, magnet: Tensor, alpha: float) -> Tensor:
    """P(y ≻ y′) − α (log π_k(y) − log μ(y)): (R, R), MPO-RT's reward of y against y′."""
    return preferences - alpha * (policy / magnet).log()[:, None]


def mirror_step(rewards: Tensor, policy: Tensor, opponent: Tensor, eta: float) -> Tensor:
    """argmax_π π·(R o) − (1/η) KL(π ‖ π_k): mirror descent, the step without a magnet."""
    return mmd_step(rewards, policy, opponent, torch.zeros_like(policy), 0.0, eta)


def a_game() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(preferences, policy, opponent, magnet)."""
    wins = torch.from_numpy(random_preferences(SIZE, 0))
    policy, opponent, magnet = (torch.from_numpy(random_policy(SIZE, s)) for s in (1, 2, 3))
    return wins, policy, opponent, magnet


@pytest.mark.parametrize(("alpha", "eta"), STEPS)
def test_a_magnetic_step_is_a_mirror_step_of_a_smaller_stepsize(alpha: float, eta: float) -> None:
    wins, policy, opponent, magnet = a_game()
    magnetic = mmd_step(wins, policy, opponent, magnet.log(), alpha, eta)
    rewards = transformed(wins, policy, magnet, alpha)
    got = mirror_step(rewards, policy, opponent, eta / (1 + eta * alpha))
    torch.testing.assert_close(got, magnetic, **CLOSE)
    # Equation (9) has η in its place: another step.
    unadjusted = mirror_step(rewards, policy, opponent, eta)
    assert float((unadjusted - magnetic).abs().max()) > 1e-3


@pytest.mark.parametrize(("alpha", "eta"), STEPS)
def test_the_magnetic_step_solves_the_theorems_program(alpha: float, eta: float) -> None:
    wins, policy, opponent, magnet = a_game()
    new = mmd_step(wins, policy, opponent, magnet.log(), alpha, eta).requires_grad_()
    # F(π_k) = −P o, and the KL is the Bregman divergence of the negative entropy.
    from_magnet = policy.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(
        (from_magnet * (from_magnet / magnet).log()).sum(), from_magnet
    )
    linear = ((-(wins @ opponent) + alpha * gradient) * new).sum()
    program = linear + (1 + eta * alpha) / eta * (new * (new / policy).log()).sum()
    (slope,) = torch.autograd.grad(program, new)
    # Convex on the simplex, and no coordinate is 0: at the minimum all slopes are equal.
    torch.testing.assert_close(slope, slope.mean().expand(SIZE), rtol=1e-9, atol=1e-9)
    assert bool((new > 0).all())
    assert float((wins @ opponent).std()) > 1e-2


def test_whole_runs_with_a_moving_magnet_are_the_same() -> None:
    alpha, eta = 0.2, 0.8
    wins, start, _, _ = a_game()
    magnetic = mirror = start
    magnet, other = magnetic, mirror
    for step in range(60):
        magnetic = mmd_step(wins, magnetic, magnetic, magnet.log(), alpha, eta)
        rewards = transformed(wins, mirror, other, alpha)
        mirror = mirror_step(rewards, mirror, mirror, eta / (1 + eta * alpha))
        torch.testing.assert_close(mirror, magnetic, **CLOSE)
        if (step + 1) % 20 == 0:
            magnet, other = magnetic, mirror
    assert float((magnetic - start).abs().max()) > 1e-2


def test_the_methods_return_is_the_theorems_reward() -> None:
    alpha = 0.3
    game = Game(symbols=2)
    count = len(game.responses)
    # Each response against each: γ = 1, so that A_1 is the whole return.
    mine = torch.arange(count)[:, None].expand(count, count).reshape(-1, 1)
    others = torch.arange(count).repeat(count)[:, None]
    method = MPORT(alpha=alpha, symmetric=False, responses=1, pairs="disjoint")
    wins = game.wins[mine[:, :, None], others[:, None, :]]
    rollout = rollout_of(wins, compared_pairs(method.needs(), len(mine)))
    targets = method.targets(rollout, detached(outcomes(game.scores, mine)))
    magnet = log_probs(game.magnet.model, PROMPT, game.responses).detach().exp()
    wanted = transformed(game.wins, game.probs.detach(), magnet, alpha)
    got = targets.advantages[:, 0, 0].view(count, count) + 0.5
    torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-11)
