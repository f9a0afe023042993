from __future__ import annotations

from typing import Any

import pyspiel
import pytest
import torch
from open_spiel.python.algorithms import expected_game_score, exploitability

from mpo.games.extensive.payoffs import exact_payoffs, noisy_payoffs
from mpo.games.extensive.registry import load_game
from mpo.games.extensive.sequence_form import plan_of, policy_of, sequence_form
from mpo.games.extensive.values import (
    best_response,
    best_response_values,
    expected_value,
    nash_conv,
)
from mpo.games.extensive.values import exploitability as our_exploitability
from tests.games.extensive.openspiel_side import both_sides, random_policy, tabular


@pytest.mark.parametrize(
    ("name", "expected"),
    [("kuhn_poker", 11 / 12), ("leduc_poker", 4.7472222222), ("leduc_poker_ranks", 4.7472222222)],
)
def test_nash_conv_of_the_uniform_policy(name: str, expected: float) -> None:
    form = sequence_form(load_game(name))
    got = nash_conv(form, plan_of(form, form.uniform))
    assert float(got) == pytest.approx(expected, abs=1e-9)
    assert float(our_exploitability(form, plan_of(form, form.uniform))) == float(got) / 2


@pytest.mark.parametrize("pure_share", [0.0, 0.5])
@pytest.mark.parametrize(("name", "seeds"), [("kuhn_poker", range(5)), ("leduc_poker", range(2))])
def test_random_policies_have_openspiels_values(name: str, seeds: range, pure_share: float) -> None:
    """All at once as a batch; OpenSpiel walks histories one by one."""
    sides = both_sides(name)
    policies = [random_policy(sides.form, seed, pure_share) for seed in seeds]
    plans = plan_of(sides.form, torch.stack(policies, 1))
    gaps, values = nash_conv(sides.form, plans), expected_value(sides.form, plans)
    for column, policy in enumerate(policies):
        table = tabular(sides, policy)
        expected = exploitability.nash_conv(sides.game, table, use_cpp_br=True)
        assert float(gaps[column]) == pytest.approx(expected, abs=1e-10)
        worth = expected_game_score.policy_value(sides.game.new_initial_state(), [table, table])
        assert float(values[column]) == pytest.approx(worth[0], abs=1e-10)


@pytest.mark.parametrize("name", ["kuhn_poker", "leduc_poker"])
def test_best_response_wins_what_it_promises_and_what_openspiels_wins(name: str) -> None:
    sides = both_sides(name)
    policy = random_policy(sides.form, 3)
    plan = plan_of(sides.form, policy)
    promised = best_response_values(sides.form, exact_payoffs(sides.form)(plan))
    answer = best_response(sides.form, plan)
    assert set(answer.tolist()) == {0.0, 1.0}
    for player in range(2):
        mixed = torch.where(sides.form.player == player, answer, policy)
        won = expected_value(sides.form, plan_of(sides.form, mixed)) * (1 - 2 * player)
        assert float(won) == pytest.approx(float(promised[player]), abs=1e-12)
        theirs = pyspiel.TabularBestResponse(
            sides.game, player, _table(tabular(sides, policy))
        ).value_from_state(sides.game.new_initial_state())
        assert float(promised[player]) == pytest.approx(theirs, abs=1e-10)


def _table(policy: Any) -> dict[str, list[tuple[int, float]]]:
    table = {}
    for state in policy.states:
        odds = policy.action_probabilities(state)
        table[state.information_state_string()] = list(odds.items())
    return table


@pytest.mark.parametrize("name", ["kuhn_poker", "leduc_poker_ranks"])
def test_plans_and_policies_turn_into_each_other(name: str) -> None:
    form = sequence_form(load_game(name))
    policies = torch.stack([random_policy(form, seed) for seed in range(3)], 1)
    plans = plan_of(form, policies)
    torch.testing.assert_close(policy_of(form, plans), policies, rtol=1e-12, atol=0)
    for block in form.blocks:
        totals = block.of(plans).sum(1)
        torch.testing.assert_close(totals, plans[block.parents], rtol=1e-12, atol=1e-15)


def test_policy_is_uniform_where_the_plan_never_comes() -> None:
    form = sequence_form(load_game("kuhn_poker"))
    policy = form.uniform.clone()
    top, below = form.blocks[0], form.blocks[1]
    # Player 0 always bets: the information sets behind a pass are never reached.
    passes = below.parents
    policy[passes], policy[passes + 1] = 0.0, 1.0
    back = policy_of(form, plan_of(form, policy))
    assert below.of(back).tolist() == [[0.5, 0.5]] * below.infosets
    assert torch.equal(top.of(back), top.of(policy))


def test_dense_and_sparse_products_are_the_payoffs_of_the_tree() -> None:
    """Σ over ends of reach · payoff · both plans, against x_0ᵀ g_0 by either product."""
    for name in ("kuhn_poker", "leduc_poker_ranks"):
        tree = load_game(name)
        form = sequence_form(tree)
        plan = plan_of(form, random_policy(form, 5))
        ends = tree.payoff != 0
        zero, one = tree.last[ends].T
        expected = (tree.reach[ends] * tree.payoff[ends] * plan[zero] * plan[one]).sum()
        for player, sign in ((0, 1), (1, -1)):
            own = form.player == player
            got = (plan * exact_payoffs(form)(plan))[own].sum()
            torch.testing.assert_close(got, sign * expected, rtol=1e-12, atol=1e-15)


def test_noise_is_a_function_of_seed_and_call_and_has_its_size() -> None:
    form = sequence_form(load_game("leduc_poker_ranks"))
    plan = plan_of(form, form.uniform[:, None].repeat(1, 40))
    exact = exact_payoffs(form)(plan)
    noisy, again = noisy_payoffs(form, 0.3, 7), noisy_payoffs(form, 0.3, 7)
    first, second = noisy(plan) - exact, noisy(plan) - exact
    assert torch.equal(first, again(plan) - exact) and not torch.equal(first, second)
    assert float(first.std()) == pytest.approx(0.3, rel=0.02)
    assert abs(float(first.mean())) < 0.01
    torch.testing.assert_close(noisy_payoffs(form, 0.0, 7)(plan), exact, rtol=1e-12, atol=1e-15)
    # A run's noise doesn't depend on the other runs.
    alone = noisy_payoffs(form, 0.3, [11])(plan[:, :1])
    both = noisy_payoffs(form, 0.3, [5, 11])(plan[:, :2])
    torch.testing.assert_close(both[:, 1:], alone, rtol=1e-12, atol=1e-15)
