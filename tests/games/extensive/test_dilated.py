from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from open_spiel.python.algorithms import mmd_dilated
from scipy.optimize import minimize
from torch import Tensor

from mpo.games.extensive.dilated import (
    DilatedMD,
    DilatedMMD,
    DilatedMPO,
    dilated_divergence,
    entropy_magnet,
)
from mpo.games.extensive.passes import Passes
from mpo.games.extensive.payoffs import exact_payoffs
from mpo.games.extensive.registry import TREE_DYNAMICS, load_game
from mpo.games.extensive.sequence_form import (
    SequenceForm,
    plan_of,
    random_log_policies,
    sequence_form,
)
from mpo.games.extensive.values import nash_conv
from tests.games.extensive.openspiel_side import both_sides, from_sequences, random_policy


def stepped(form: SequenceForm, dynamic: Any, state: Any, steps: int) -> Any:
    passes, payoffs = Passes(form, state[0].shape[1]), exact_payoffs(form)
    for _ in range(steps):
        state = dynamic.step(state, passes, payoffs)
    return state


@pytest.mark.parametrize("name", ["kuhn_poker", "leduc_poker(suit_isomorphism=True)"])
def test_mmd_takes_openspiels_steps(name: str) -> None:
    """From the uniform policy, with OpenSpiel's magnet: argmin of the dilated entropy."""
    sides = both_sides(name)
    solver = mmd_dilated.MMDDilatedEnt(sides.game, alpha=0.07, stepsize=0.4)
    dynamic = DilatedMMD(alpha=0.07, eta=0.4)
    state = dynamic.initial(sides.form.uniform.log()[:, None])
    state = state._replace(log_magnet=entropy_magnet(sides.form))
    for _ in range(8):
        solver.update_sequences()
        state = stepped(sides.form, dynamic, state, 1)
        plan = plan_of(sides.form, state.log_policy.exp())[:, 0]
        np.testing.assert_allclose(plan, from_sequences(sides, solver), rtol=0, atol=1e-12)


def test_mirror_descent_takes_openspiels_steps() -> None:
    """OpenSpiel's with α = 0 has no magnet at all."""
    sides = both_sides("kuhn_poker")
    solver = mmd_dilated.MMDDilatedEnt(sides.game, alpha=0, stepsize=0.8)
    state = DilatedMD(eta=0.8).initial(sides.form.uniform.log()[:, None])
    for _ in range(20):
        solver.update_sequences()
        state = stepped(sides.form, DilatedMD(eta=0.8), state, 1)
    plan = plan_of(sides.form, state.log_policy.exp())[:, 0]
    np.testing.assert_allclose(plan, from_sequences(sides, solver), rtol=0, atol=1e-12)


def test_openspiels_magnet_is_the_policy_of_least_dilated_entropy() -> None:
    """Kuhn: after a pass player 0 may have to choose again: 2 plans follow it, 1 the bet."""
    form = sequence_form(load_game("kuhn_poker"))
    magnet = entropy_magnet(form)[:, 0].exp()
    passes = form.blocks[1].parents
    np.testing.assert_allclose(magnet[passes], 2 / 3, rtol=1e-14)
    np.testing.assert_allclose(magnet[passes + 1], 1 / 3, rtol=1e-14)


def test_a_mmd_step_is_the_argmax_of_its_objective() -> None:
    """⟨g, x⟩ − α B(x; μ) − B(x; x_k)/η of player 0 in Kuhn poker, by scipy over the logits."""
    form = sequence_form(load_game("kuhn_poker"))
    policy, magnet = random_policy(form, 1).log(), random_policy(form, 2).log()
    dynamic = DilatedMMD(alpha=0.3, eta=0.7)
    state = dynamic.initial(policy[:, None])._replace(log_magnet=magnet[:, None])
    got = stepped(form, dynamic, state, 1).log_policy[:, 0].exp()
    gradient = exact_payoffs(form)(plan_of(form, policy.exp()))

    def lost(logits: np.ndarray) -> tuple[float, np.ndarray]:
        free = torch.tensor(logits, requires_grad=True)
        log_policy = torch.cat(
            [torch.zeros(2).double()]
            + [block.of(free).log_softmax(1).flatten() for block in form.blocks]
        )
        plan = plan_of_autograd(form, log_policy.exp())
        own = form.player == 0
        pull = 0.3 * (log_policy - magnet) + (log_policy - policy) / 0.7
        loss = -(plan * (gradient - pull))[own].sum()
        loss.backward()
        return float(loss.detach()), free.grad.numpy()

    solved = minimize(
        lost, np.zeros(form.sequences), jac=True, method="BFGS", options={"gtol": 1e-10}
    )
    logits = torch.from_numpy(solved.x)
    for block in form.blocks:
        mine = form.player[block.parents] == 0
        expected = block.of(logits).softmax(1)[mine]
        torch.testing.assert_close(block.of(got)[mine], expected, rtol=0, atol=1e-8)


def plan_of_autograd(form: SequenceForm, policy: Tensor) -> Tensor:
    """`plan_of` without writing in place: the product over the ancestors."""
    parent = torch.zeros(form.sequences, dtype=torch.int64)
    parent[1] = 1
    for block in form.blocks:
        block.of(parent).copy_(block.parents[:, None].expand(-1, block.actions))
    plan, above = policy, parent
    while not torch.equal(above, parent[above]):
        plan, above = plan * policy[above], parent[above]
    return plan * policy[above]


@pytest.mark.parametrize("seed", range(3))
def test_divergence_is_bregmans_by_openspiel(seed: int) -> None:
    sides = both_sides("kuhn_poker")
    solvers = [mmd_dilated.MMDDilatedEnt(sides.game, alpha=0.1, stepsize=s) for s in (0.5, 2.0)]
    for solver in solvers:
        for _ in range(seed + 1):
            solver.update_sequences()
    plans = [torch.from_numpy(from_sequences(sides, solver)) for solver in solvers]
    policies = [_conditional(sides.form, plan).log() for plan in plans]
    got = dilated_divergence(sides.form, plans[0], policies[0], policies[1])
    expected = mmd_dilated.dilated_dgf_divergence(*solvers)
    assert float(got) == pytest.approx(expected, rel=1e-9)
    assert expected > 1e-4


def _conditional(form: SequenceForm, plan: Tensor) -> Tensor:
    policy = plan.clone()
    for block in form.blocks:
        block.of(policy).copy_(block.of(plan) / plan[block.parents][:, None])
    return policy


def test_divergence_of_pure_plans_is_finite() -> None:
    form = sequence_form(load_game("kuhn_poker"))
    pure = random_policy(form, 0, pure_share=1.0)
    got = dilated_divergence(form, plan_of(form, pure), pure.log(), form.uniform.log())
    # Each player chooses 3 times in 6 information sets; which are reached is up to the own plan.
    assert math.isfinite(float(got)) and float(got) >= 6 * math.log(2) - 1e-12


def test_mmd_converges_to_openspiels_regularised_equilibrium() -> None:
    """The last iterate has no gap in the game with α ψ, and a gap in the game without."""
    sides = both_sides("kuhn_poker")
    dynamic = DilatedMMD(alpha=0.2, eta=1.0)
    state = dynamic.initial(random_log_policies(sides.form, [3]))
    state = state._replace(log_magnet=entropy_magnet(sides.form))
    state = stepped(sides.form, dynamic, state, 400)
    plan = plan_of(sides.form, state.log_policy.exp())
    solver = mmd_dilated.MMDDilatedEnt(sides.game, alpha=0.2, stepsize=1.0)
    solver.sequences = _for_solver(sides, solver, plan[:, 0])
    assert abs(solver.get_gap()) < 1e-12
    assert float(nash_conv(sides.form, plan)) > 0.1


def _for_solver(sides: object, solver: object, plan: Tensor) -> list[np.ndarray]:
    from tests.games.extensive.openspiel_side import actions_of

    found = [np.ones(len(keys)) for keys in solver.infoset_actions_to_seq]
    for player, information, action, sequence in actions_of(sides.tree):
        key = f"{information} -=- {action}"
        found[player][solver.infoset_actions_to_seq[player][key]] = float(plan[sequence])
    return found


def test_mpo_is_mmd_restarted_with_a_new_magnet() -> None:
    form = sequence_form(load_game("kuhn_poker"))
    start = random_log_policies(form, [1, 2])
    mpo, mmd = DilatedMPO(0.1, 0.5, magnet_interval=4), DilatedMMD(0.1, 0.5)
    state = stepped(form, mpo, mpo.initial(start), 11)
    restarted = mmd.initial(start)
    for steps in (4, 4, 3):
        restarted = stepped(form, mmd, mmd.initial(restarted.log_policy), steps)
    assert torch.equal(state.log_policy, restarted.log_policy)
    assert torch.equal(state.log_magnet, restarted.log_magnet)
    assert state.steps == 11


def test_mpo_reaches_the_games_own_equilibrium() -> None:
    form = sequence_form(load_game("kuhn_poker"))
    start = random_log_policies(form, range(4))
    mpo = stepped(form, TREE_DYNAMICS["mpo"], TREE_DYNAMICS["mpo"].initial(start), 3000)
    mmd = stepped(form, TREE_DYNAMICS["mmd"], TREE_DYNAMICS["mmd"].initial(start), 3000)
    gaps = [nash_conv(form, plan_of(form, state.log_policy.exp())) for state in (mpo, mmd)]
    assert float(gaps[0].max()) < 1e-8
    assert float(gaps[1].min()) > 0.01


def test_a_run_does_not_depend_on_the_others() -> None:
    form = sequence_form(load_game("leduc_poker_ranks"))
    start = random_log_policies(form, [0, 1, 2])
    alphas = torch.tensor([[0.05], [0.1], [0.2]], dtype=torch.float64)
    etas = torch.tensor([[0.5], [1.0], [2.0]], dtype=torch.float64)
    batch = DilatedMPO(alphas, etas, 3)
    together = stepped(form, batch, batch.initial(start), 7).log_policy
    for column in range(3):
        one = DilatedMPO(float(alphas[column]), float(etas[column]), 3)
        alone = stepped(form, one, one.initial(start[:, column : column + 1]), 7).log_policy
        torch.testing.assert_close(together[:, column], alone[:, 0], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", list(TREE_DYNAMICS))
def test_a_step_changes_nothing_of_the_last_state(name: str) -> None:
    form = sequence_form(load_game("kuhn_poker"))
    passes, payoffs = Passes(form, 2), exact_payoffs(form)
    dynamic = TREE_DYNAMICS[name]
    state = dynamic.step(dynamic.initial(random_log_policies(form, [0, 1])), passes, payoffs)
    before = [v.clone() if isinstance(v, Tensor) else v for v in state]
    after = dynamic.step(state, passes, payoffs)
    dynamic.step(after, passes, payoffs)
    for kept, now in zip(before, state, strict=True):
        assert torch.equal(kept, now) if isinstance(kept, Tensor) else kept == now


def test_a_step_is_exact_where_an_action_has_all_but_died_out() -> None:
    """log Σ exp from the largest action: no large number cancels."""
    form = sequence_form(load_game("kuhn_poker"))
    scores = torch.zeros(form.sequences, 1, dtype=torch.float64)
    below = form.blocks[1]
    below.of(scores)[:, 0] = -1e13
    got = Passes(form, 1).log_policy(scores)[:, 0].exp()
    # Nothing is lost behind a pass: log(e^−∞ + e^0) = 0, so that pass and bet weigh the same.
    np.testing.assert_allclose(got[below.parents], 0.5, rtol=1e-15)


def test_problems_come_together() -> None:
    wrong = DilatedMPO(alpha=-1.0, eta=math.nan, magnet_interval=0)
    assert [p.split(":")[0] for p in wrong.problems()] == ["alpha", "eta", "magnet_interval"]
    for dynamic in TREE_DYNAMICS.values():
        assert dynamic.problems() == [] and dynamic.calls_a_step == 1
        assert dataclasses.is_dataclass(dynamic)
