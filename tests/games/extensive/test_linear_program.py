from __future__ import annotations

import numpy as np
import pytest
import torch
from open_spiel.python.algorithms import exploitability

from mpo.games.extensive.linear_program import tree_equilibrium
from mpo.games.extensive.registry import load_game
from mpo.games.extensive.sequence_form import plan_of, sequence_form
from mpo.games.solve import EquilibriumNotFound
from tests.games.extensive.openspiel_side import both_sides, tabular


@pytest.mark.parametrize(
    ("name", "value"), [("kuhn_poker", -1 / 18), ("leduc_poker", -0.0856064240)]
)
def test_equilibrium_has_no_nash_conv_by_openspiel(name: str, value: float) -> None:
    sides = both_sides(name)
    found = tree_equilibrium(sides.form)
    assert found.value == pytest.approx(value, abs=1e-9)
    assert abs(found.nash_conv) < 1e-9
    theirs = exploitability.nash_conv(sides.game, tabular(sides, found.policy), use_cpp_br=True)
    assert abs(theirs) < 1e-9
    torch.testing.assert_close(plan_of(sides.form, found.policy), found.plan)


def test_player_zero_of_kuhn_poker_plays_kuhns_family() -> None:
    """Kuhn 1950: bet the 0 with a in [0, 1/3], the 2 with 3 a, never the 1; call with a + 1/3."""
    tree = load_game("kuhn_poker")
    policy = tree_equilibrium(sequence_form(tree)).policy
    bet = {name: float(policy[tree.first[i] + 1]) for i, name in enumerate(tree.information)}
    share = bet["0"]
    assert -1e-9 <= share <= 1 / 3 + 1e-9
    expected = {"2": 3 * share, "1": 0.0, "0pb": 0.0, "1pb": share + 1 / 3, "2pb": 1.0}
    # Player 1: bluff with the 0 after a pass and call with the 1 after a bet, a third each.
    expected |= {"0p": 1 / 3, "0b": 0.0, "1p": 0.0, "1b": 1 / 3, "2p": 1.0, "2b": 1.0}
    for name, probability in expected.items():
        reached = not (name == "2pb" and bet["2"] > 1 - 1e-9)
        if reached:
            assert bet[name] == pytest.approx(probability, abs=1e-9), name


def test_a_failed_program_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failed:
        x = None
        message = "out of time"

    monkeypatch.setattr("mpo.games.extensive.linear_program.linprog", lambda **_: Failed())
    with pytest.raises(EquilibriumNotFound, match="kuhn_poker: linear program: out of time"):
        tree_equilibrium(sequence_form(load_game("kuhn_poker")))


def test_a_poor_solution_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver that answers with the uniform plans of both."""
    form = sequence_form(load_game("kuhn_poker"))
    plan = plan_of(form, form.uniform).numpy()
    own = [plan[(form.player == player).numpy()] for player in range(2)]

    class Poor:
        x = np.concatenate([own[0], np.zeros(7)])

        class ineqlin:
            marginals = -own[1]

    monkeypatch.setattr("mpo.games.extensive.linear_program.linprog", lambda **_: Poor())
    with pytest.raises(EquilibriumNotFound, match=r"NashConv 9\.2e-01 left"):
        tree_equilibrium(form)


def test_kernel_is_antisymmetric() -> None:
    form = sequence_form(load_game("leduc_poker_ranks"))
    kernel = form.kernel.to_dense().numpy()
    assert np.array_equal(kernel, -kernel.T) and np.abs(kernel).max() > 0
