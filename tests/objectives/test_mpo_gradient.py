"""The gradient of MPO's policy term, against the enumerated objective that it estimates."""

from __future__ import annotations

import pytest
import torch

from mpo.objectives.mpo import MPO
from mpo.objectives.protocol import BEHAVIOUR, MAGNET, compared_pairs
from mpo.policy import Policy
from tests.enumerated_scores import detached, engine_scores, outcomes, rollout_of
from tests.kl_oracles import flat_gradient, kl_by_token, token_log_probs
from tests.objectives.enumerated_game import Game
from tests.oracles import random_policy
from tests.tiny_llama import frozen_twin, prompts_of, responses_of, tiny_llama

CLOSE = {"rtol": 1e-8, "atol": 1e-11}


@pytest.fixture(scope="module")
def game() -> Game:
    return Game(symbols=3)


@pytest.fixture(scope="module")
def small() -> Game:
    return Game(symbols=2)


def test_gradient_of_the_win_probability_against_a_fixed_opponent(game: Game) -> None:
    opponent = torch.from_numpy(random_policy(len(game.responses), seed=5))
    method = MPO(alpha=0.0, symmetric=False, pairs="disjoint", responses=1, opponent="snapshot")
    index, weights = game.joint(game.probs.detach(), opponent)
    got = game.gradient(method, index[:, :1], index[:, 1:], weights)
    wanted = flat_gradient(game.probs @ game.wins @ opponent, game.parameters)
    assert float(wanted.norm()) > 1e-2
    torch.testing.assert_close(got, -wanted, **CLOSE)


@pytest.mark.parametrize("pairs, count", [("disjoint", 2), ("all", 2), ("all", 3)])
def test_symmetric_pairs_have_the_same_gradient_however_many(
    game: Game, pairs: str, count: int
) -> None:
    method = MPO(alpha=0.0, symmetric=True, pairs=pairs, responses=count)
    now = game.probs.detach()
    index, weights = game.joint(*[now] * count)
    got = game.gradient(method, index, index, weights)
    # Averaged over the trained responses, not summed; the opponent π_k is held fixed.
    wanted = flat_gradient(game.probs @ game.wins @ now, game.parameters)
    torch.testing.assert_close(got, -wanted, **CLOSE)


@pytest.mark.parametrize("pairs", ["disjoint", "all"])
@pytest.mark.parametrize("baseline", ["half", "remax", "rloo"])
def test_baselines_leave_the_expected_gradient_alone(
    small: Game, baseline: str, pairs: str
) -> None:
    method = MPO(alpha=0.0, symmetric=False, responses=2, pairs=pairs, baseline=baseline, gamma=1.0)
    opponent = torch.from_numpy(random_policy(len(small.responses), seed=6))
    now = small.probs.detach()
    index, weights = small.joint(now, now, opponent, opponent)
    greedy = 3 if baseline == "remax" else None
    got = small.gradient(method, index[:, :2], index[:, 2:], weights, greedy)
    wanted = flat_gradient(small.probs @ small.wins @ opponent, small.parameters)
    torch.testing.assert_close(got, -wanted, **CLOSE)


def test_baselines_change_the_advantages(small: Game) -> None:
    index = torch.tensor([[1, 4, 2, 5]])
    found = []
    for baseline in ("half", "remax", "rloo"):
        method = MPO(symmetric=False, responses=2, baseline=baseline)
        mine, others = index[:, :2], index[:, 2:]
        wins = small.wins[mine[:, :, None], others[:, None, :]]
        greedy = small.wins[3][others] if baseline == "remax" else None
        scores = detached(outcomes(small.scores, mine))
        found.append(method.targets(rollout_of(wins, None, greedy), scores).advantages)
    assert not torch.allclose(found[0], found[1])
    assert not torch.allclose(found[0], found[2])


@pytest.mark.parametrize("kl_gradient", ["sequence", "per_token"])
def test_away_from_the_start_loss_and_gradient_are_equation_8_written_out(
    kl_gradient: str,
) -> None:
    alpha, eta, gamma = 0.3, 0.5, 0.9
    policy = Policy(tiny_llama(4), 1)
    parameters = [p for _, p in policy.moving_parameters()]
    behaviour, magnet = frozen_twin(policy, seed=2, scale=0.1), frozen_twin(policy, seed=1)
    rows = [[1, 2], [0]]
    groups = [[(0, 3), (1, 2, 0)], [(3,), (2, 2, 3)]]
    prompts, responses = prompts_of(rows), responses_of(groups, eos=3)
    wins = torch.tensor([[[0.5, 0.8], [0.2, 0.5]], [[0.5, 0.1], [0.9, 0.5]]]).double()
    method = MPO(alpha=alpha, eta=eta, gamma=gamma, responses=2, kl_gradient=kl_gradient)
    names = {BEHAVIOUR: behaviour, MAGNET: magnet}
    start = engine_scores(behaviour, names, prompts, responses)
    compared = compared_pairs(method.needs(), 2)
    targets = method.targets(rollout_of(wins, compared), detached(start))
    loss, _ = method.loss(engine_scores(policy, names, prompts, responses), targets)

    total = torch.zeros((), dtype=torch.float64)
    for x, prompt in enumerate(rows):
        now = token_log_probs(policy.model, prompt, groups[x])
        with torch.no_grad():
            before = token_log_probs(behaviour.model, prompt, groups[x])
            held = kl_by_token(behaviour.model, magnet.model, prompt, groups[x])
        far = kl_by_token(policy.model, magnet.model, prompt, groups[x])
        moved = kl_by_token(policy.model, behaviour.model, prompt, groups[x])
        for i, tokens in enumerate(groups[x]):
            for t in range(len(tokens)):
                advantage = gamma ** (len(tokens) - 1 - t) * (wins[x, i, 1 - i] - 0.5)
                if kl_gradient == "sequence":
                    advantage = advantage - alpha * held[i][t + 1 :].sum()
                ratio = torch.exp(now[i][t] - before[i][t])
                total = total + ratio * advantage - alpha * far[i][t] - moved[i][t] / eta
    wanted = -total / 4
    torch.testing.assert_close(loss, wanted, **CLOSE)
    torch.testing.assert_close(
        flat_gradient(loss, parameters), flat_gradient(wanted, parameters), **CLOSE
    )
