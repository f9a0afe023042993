"""MPO-RT's expected gradient at θ = θ_k, by enumeration, beside MPO's and the true objective's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mpo.objectives.mpo import MPO
from mpo.objectives.mpo_rt import MPORT
from tests.kl_oracles import (
    directional_differences,
    flat_gradient,
    kl_by_token,
    kl_of_enumeration,
    log_probs,
    token_log_probs,
    unit_directions,
)
from tests.objectives.enumerated_game import PROMPT, Game
from tests.oracles import random_policy

ALPHA = 0.3
CLOSE = {"rtol": 1e-8, "atol": 1e-11}
SEPARATE = {"symmetric": False, "responses": 1, "pairs": "disjoint", "opponent": "snapshot"}


@pytest.fixture(scope="module")
def game() -> Game:
    return Game(symbols=3)


def among_own(game: Game, method: Any) -> Tensor:
    """The expected gradient when two samples of π_k meet each other."""
    now = game.probs.detach()
    index, weights = game.joint(now, now)
    return game.gradient(method, index, index, weights)


def against(game: Game, method: Any, opponent: Tensor) -> Tensor:
    """The expected gradient of one sample of π_k against one of a fixed opponent."""
    index, weights = game.joint(game.probs.detach(), opponent)
    return game.gradient(method, index[:, :1], index[:, 1:], weights)


def magnet_log_probs(game: Game) -> Tensor:
    return log_probs(game.magnet.model, PROMPT, game.responses).detach()


def future_term(game: Game) -> Tensor:
    """Σ_y π(y) Σ_t ∇ log π(y_t|s_t) Σ_{l>t} KL_l, the visits' part of ∇ KL(π ‖ μ)."""
    tokens = token_log_probs(game.policy.model, PROMPT, game.responses)
    kls = kl_by_token(game.policy.model, game.magnet.model, PROMPT, game.responses)
    total = torch.zeros((), dtype=torch.float64)
    for weight, each, kl in zip(game.probs.detach(), tokens, kls, strict=True):
        for t in range(len(each)):
            total = total + weight * each[t] * kl[t + 1 :].sum().detach()
    return flat_gradient(total, game.parameters)


def relative_distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_it_is_the_gradient_of_the_regularised_objective(game: Game) -> None:
    got = among_own(game, MPORT(alpha=ALPHA, responses=2))
    now, magnet = game.probs.detach(), magnet_log_probs(game)
    mine = log_probs(game.policy.model, PROMPT, game.responses)
    objective = mine.exp() @ game.wins @ now - ALPHA * kl_of_enumeration(mine, magnet)
    torch.testing.assert_close(got, -flat_gradient(objective, game.parameters), **CLOSE)
    # The pull to the magnet is a part that would show.
    assert relative_distance(among_own(game, MPORT(alpha=0.0, responses=2)), got) > 0.1


def test_it_agrees_with_finite_differences_of_the_regularised_objective() -> None:
    # A game of its own: the differences move the weights in place, under the scores' graph.
    game = Game(symbols=3)
    opponent = torch.from_numpy(random_policy(len(game.responses), seed=5))
    magnet = magnet_log_probs(game)

    def objective() -> Tensor:
        mine = log_probs(game.policy.model, PROMPT, game.responses)
        return mine.exp() @ game.wins @ opponent - ALPHA * kl_of_enumeration(mine, magnet)

    got = against(game, MPORT(alpha=ALPHA, **SEPARATE), opponent)
    directions = unit_directions(6, len(got), seed=3)
    wanted = directional_differences(objective, game.parameters, directions)
    torch.testing.assert_close(directions @ got, -wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("eta", [0.2, 5.0])
def test_it_equals_mpo_with_the_gradient_of_the_sequence_kl(game: Game, eta: float) -> None:
    got = among_own(game, MPORT(alpha=ALPHA, eta=eta, responses=2))
    wanted = among_own(game, MPO(alpha=ALPHA, eta=eta, responses=2, kl_gradient="sequence"))
    torch.testing.assert_close(got, wanted, **CLOSE)


def test_it_equals_mpo_against_a_snapshot(game: Game) -> None:
    opponent = torch.from_numpy(random_policy(len(game.responses), seed=6))
    got = against(game, MPORT(alpha=ALPHA, **SEPARATE), opponent)
    wanted = against(game, MPO(alpha=ALPHA, kl_gradient="sequence", **SEPARATE), opponent)
    torch.testing.assert_close(got, wanted, **CLOSE)


def test_it_differs_from_the_gradient_of_each_token_by_the_future_term(game: Game) -> None:
    got = among_own(game, MPORT(alpha=ALPHA, responses=2))
    per_token = among_own(game, MPO(alpha=ALPHA, responses=2, kl_gradient="per_token"))
    future = future_term(game)
    assert float(future.norm()) > 1e-2
    torch.testing.assert_close(got - per_token, ALPHA * future, **CLOSE)


def test_to_the_letter_each_token_is_paid_for_the_tokens_left(game: Game) -> None:
    got = among_own(game, MPORT(alpha=ALPHA, responses=2, log_ratio="sequence"))
    now, magnet = game.probs.detach(), magnet_log_probs(game)
    reward = game.wins @ now - ALPHA * (now.log() - magnet)
    total = torch.zeros((), dtype=torch.float64)
    tokens = token_log_probs(game.policy.model, PROMPT, game.responses)
    for weight, each, paid in zip(now, tokens, reward, strict=True):
        for t in range(len(each)):
            total = total + weight * paid * (len(each) - t) * each[t]
    torch.testing.assert_close(got, -flat_gradient(total, game.parameters), **CLOSE)
    assert relative_distance(got, among_own(game, MPORT(alpha=ALPHA, responses=2))) > 0.1
