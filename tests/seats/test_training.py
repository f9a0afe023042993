"""The gradient of the loss over all episodes against differences of payoffs, and whole runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from baselines import PPO
from mpo.games.extensive.kuhn import kuhn_poker
from mpo.games.extensive.rules import TERMINAL
from mpo.games.extensive.sequence_form import plan_of
from mpo.games.extensive.values import expected_value, exploitability
from mpo.objectives import MPO, MPORT, Objective
from mpo.objectives.protocol import BEHAVIOUR, MAGNET
from mpo.seats.episodes import Episodes, of_ends, rollout, sample_episodes
from mpo.seats.network import log_policy
from mpo.seats.scores import others_mean, scores_of
from mpo.seats.seating import seating, sequence_policy
from mpo.seats.training import SeatTrainer, SeatTraining, objective_problems

SEATS = seating(kuhn_poker())
SMALL = SeatTraining(iterations=4, episodes=64, hidden=8)
PG = MPO(responses=2, alpha=0.0, magnet_interval=None, inner_steps=1)
METHODS = {"mpo": MPO(responses=2), "mpo_rt": MPORT(responses=2), "ppo": PPO(responses=2), "pg": PG}


def logits_of(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SEATS.legal.shape, generator=generator, dtype=torch.float64)


def tables(logits: Tensor) -> Tensor:
    return log_policy(logits, SEATS.legal)


def payoff_less_kl(logits: Tensor, magnet: Tensor, seat: int, alpha: float) -> Tensor:
    """u_i − α Σ_h P(h) KL(π_i ‖ μ), by walking over the histories: nothing is sampled."""
    tree, table = SEATS.tree, tables(logits)
    plan = plan_of(SEATS.form, sequence_policy(SEATS, table))
    value = expected_value(SEATS.form, plan) / (2 * SEATS.largest)
    kl = (table.exp() * (table - tables(magnet))).sum(1)
    mine = tree.mover == seat
    reach = tree.reach[mine] * plan[tree.last[mine]].prod(1)
    return (value if seat == 0 else -value) - alpha * (reach * kl[tree.infoset[mine]]).sum()


def exact_gradient(logits: Tensor, magnet: Tensor, alpha: float) -> Tensor:
    """Each seat's own gradient of its payoff, the other seat held fixed, by central differences."""
    found = torch.zeros_like(logits)
    step = 1e-6
    for infoset, action in SEATS.legal.nonzero().tolist():
        seat = int(SEATS.tree.player[infoset])
        ends = []
        for sign in (1, -1):
            moved = logits.clone()
            moved[infoset, action] += sign * step
            ends.append(payoff_less_kl(moved, magnet, seat, alpha))
        found[infoset, action] = (ends[0] - ends[1]) / (2 * step)
    return found


def all_ends() -> Episodes:
    return of_ends(SEATS, (SEATS.tree.mover == TERMINAL).nonzero()[:, 0])


def probabilities(table: Tensor) -> Tensor:
    ends = (SEATS.tree.mover == TERMINAL).nonzero()[:, 0]
    plan = plan_of(SEATS.form, sequence_policy(SEATS, table))
    return SEATS.tree.reach[ends] * plan[SEATS.tree.last[ends]].prod(1)


def loss_gradients(
    objective: Objective[Any], logits: Tensor, magnet: Tensor, episodes: Episodes, baseline: bool
) -> Tensor:
    """The gradient that each episode alone gives, (E, I, V), at θ = θ_k."""
    frozen = {BEHAVIOUR: tables(logits), MAGNET: tables(magnet)}
    needs, judged = objective.needs(), rollout(episodes, 0, 1, {})
    targets = objective.targets(judged, scores_of(tables(logits), frozen, needs, episodes, None))
    if baseline:
        usual = others_mean(targets.advantages, episodes, len(SEATS.legal))
        targets = targets._replace(advantages=targets.advantages - usual)
    found = []
    for place in range(len(episodes.wins)):
        one = slice(place, place + 1)
        theta = logits.clone().requires_grad_()
        few = Episodes(*(part[one] for part in episodes))
        scores = scores_of(tables(theta), frozen, needs, few, None)
        loss, _ = objective.loss(scores, type(targets)(*(part[one] for part in targets)))
        found.append(torch.autograd.grad(loss, theta)[0])
    return torch.stack(found)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("kind", [MPO, MPORT])
def test_the_expected_gradient_is_that_of_the_payoff_less_the_kl(kind: Any, alpha: float) -> None:
    logits, magnet = logits_of(0), logits_of(1)
    objective = kind(responses=2, alpha=alpha)
    each = loss_gradients(objective, logits, magnet, all_ends(), baseline=False)
    weights = probabilities(tables(logits))
    found = -2 * (weights[:, None, None] * each).sum(0)
    wanted = exact_gradient(logits, magnet, alpha)
    # The loss is a mean over the responses; both seats of an episode are responses.
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9)
    assert float(wanted.abs().max()) > 1e-2


def test_the_gradient_without_the_later_kl_is_another_one() -> None:
    logits, magnet = logits_of(0), logits_of(1)
    objective = MPO(responses=2, alpha=0.3, kl_gradient="per_token")
    each = loss_gradients(objective, logits, magnet, all_ends(), baseline=False)
    found = -2 * (probabilities(tables(logits))[:, None, None] * each).sum(0)
    assert float((found - exact_gradient(logits, magnet, 0.3)).abs().max()) > 1e-3


@pytest.mark.parametrize("baseline", [False, True])
def test_the_sampled_gradient_is_unbiased_and_the_baseline_makes_it_less_noisy(
    baseline: bool,
) -> None:
    logits, magnet, number = logits_of(0), logits_of(1), 400
    policy = sequence_policy(SEATS, tables(logits))
    objective = MPO(responses=2, alpha=0.3)
    episodes = sample_episodes(SEATS, policy, number, seed=1, iteration=0)
    each = -2 * loss_gradients(objective, logits, magnet, episodes, baseline)
    error = each.std(0) / number**0.5
    away = (each.mean(0) - exact_gradient(logits, magnet, 0.3)).abs()
    assert (away <= 5 * error + 1e-9).all()
    plain = -2 * loss_gradients(objective, logits, magnet, episodes, False)
    spread, usual = float(each.var(0).sum()), float(plain.var(0).sum())
    assert spread < 0.8 * usual if baseline else spread == usual


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_run(name: str) -> None:
    def run(seed: int) -> Tensor:
        trainer = SeatTrainer(METHODS[name], SEATS, SMALL, seed)
        for _ in range(SMALL.iterations):
            trainer.iteration()
        assert trainer.episodes_done == SMALL.iterations * SMALL.episodes
        return trainer.log_policy().detach()

    torch.manual_seed(0)
    first = run(3)
    torch.manual_seed(1)
    assert torch.equal(first, run(3))
    assert not torch.equal(first, run(4))


def test_the_magnet_moves_when_it_is_due() -> None:
    trainer = SeatTrainer(MPO(responses=2, magnet_interval=3), SEATS, SMALL, 0)
    start = trainer.frozen[MAGNET]
    for _ in range(2):
        trainer.iteration()
    assert torch.equal(trainer.frozen[MAGNET], start)
    trainer.iteration()
    assert torch.equal(trainer.frozen[MAGNET], trainer.log_policy().detach())
    assert not torch.equal(trainer.frozen[MAGNET], start)


def test_mpo_comes_closer_to_the_equilibrium() -> None:
    settings = SeatTraining(iterations=60, episodes=512, lr=0.01)
    objective = MPO(responses=2, magnet_interval=20, inner_steps=2)
    trainer = SeatTrainer(objective, SEATS, settings, 100)

    def distance() -> float:
        policy = sequence_policy(SEATS, trainer.log_policy().detach())
        return float(exploitability(SEATS.form, plan_of(SEATS.form, policy)))

    before = distance()
    for _ in range(settings.iterations):
        trainer.iteration()
    assert distance() < before / 4


def test_an_adaptive_objective_moves_its_own_numbers() -> None:
    objective = PPO(responses=2, beta=0.1, adaptive_kl=True, kl_target=1e-6, kl_horizon=1)
    trainer = SeatTrainer(objective, SEATS, SMALL, 0)
    trainer.iteration()
    trainer.iteration()
    assert trainer.state["beta"] != 0.1


def test_objectives_that_do_not_fit_two_seats_are_refused_with_all_mistakes() -> None:
    assert all(objective_problems(method) == [] for method in METHODS.values())
    bad = MPO(responses=4, opponent="snapshot", symmetric=False, baseline="remax")
    assert len(objective_problems(bad)) == 3
    with pytest.raises(ValueError, match=r"episodes: got 0.*lr: got -1.*responses: got 4"):
        SeatTrainer(MPO(responses=4), SEATS, SeatTraining(episodes=0, lr=-1.0), 0)
