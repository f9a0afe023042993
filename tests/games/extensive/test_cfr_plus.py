from __future__ import annotations

import numpy as np
import pytest
import torch
from open_spiel.python.algorithms import cfr

from mpo.games.extensive.cfr_plus import CFRPlus
from mpo.games.extensive.passes import Passes
from mpo.games.extensive.payoffs import exact_payoffs
from mpo.games.extensive.sequence_form import policy_of
from mpo.games.extensive.trajectory import run_tree
from tests.games.extensive.openspiel_side import both_sides, from_tabular


@pytest.mark.parametrize(
    ("name", "steps"), [("kuhn_poker", 12), ("leduc_poker(suit_isomorphism=True)", 4)]
)
def test_policies_and_averages_are_openspiels(name: str, steps: int) -> None:
    """Both players' policies after every step, and the average plan as a policy."""
    sides = both_sides(name)
    solver = cfr.CFRPlusSolver(sides.game)
    dynamic, start = CFRPlus(), sides.form.uniform.log()[:, None]
    passes, payoffs = Passes(sides.form, 1), exact_payoffs(sides.form)
    state = dynamic.initial(start)
    for _ in range(steps):
        solver.evaluate_and_update_policy()
        state = dynamic.step(state, passes, payoffs)
        expected = from_tabular(sides, solver.current_policy())
        np.testing.assert_allclose(state.log_policy[:, 0].exp(), expected, rtol=0, atol=1e-10)
    # OpenSpiel's average ends with the policies before its last update.
    average = run_tree(dynamic, sides.form, start, steps - 1).average_plan
    expected = from_tabular(sides, solver.average_policy())
    got = policy_of(sides.form, average)[:, 0]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10)


def test_average_solves_kuhn_poker() -> None:
    form = both_sides("kuhn_poker").form
    found = run_tree(CFRPlus(), form, form.uniform.log()[:, None], 1000, [0, 100, 1000])
    assert float(found.gap_average[0, -1]) < 1e-3 < float(found.gap_last[0, 0])
    assert not bool(found.diverged.any())
    assert torch.equal(found.oracle_calls, torch.tensor([0, 100, 1000]))
