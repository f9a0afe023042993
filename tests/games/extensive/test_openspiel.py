from __future__ import annotations

import sys

import pytest
from open_spiel.python.algorithms import exploitability

from mpo.games.extensive.openspiel import load_openspiel
from mpo.games.extensive.sequence_form import plan_of
from mpo.games.extensive.values import nash_conv
from tests.games.extensive.openspiel_side import both_sides, random_policy, tabular


@pytest.mark.parametrize(
    "name",
    [
        "turn_based_simultaneous_game(game=goofspiel(num_cards=3,imp_info=True))",
        "liars_dice(dice_sides=2)",
        "turn_based_simultaneous_game(game=matrix_rps())",
    ],
)
def test_other_games_have_openspiels_nash_conv(name: str) -> None:
    sides = both_sides(name)
    policy = random_policy(sides.form, 1)
    expected = exploitability.nash_conv(sides.game, tabular(sides, policy))
    got = float(nash_conv(sides.form, plan_of(sides.form, policy)))
    assert got == pytest.approx(expected, abs=1e-10)


def test_the_names_nearest() -> None:
    with pytest.raises(ValueError, match=r"got 'kuhn_pokr'.*did you mean kuhn_poker"):
        load_openspiel("kuhn_pokr")


def test_bad_parameters() -> None:
    with pytest.raises(ValueError, match=r"game: got 'kuhn_poker\(cards=5\)'"):
        load_openspiel("kuhn_poker(cards=5)")


@pytest.mark.parametrize(
    ("name", "problems"),
    [
        ("kuhn_poker(players=3)", ["players: got 3, allowed: 2"]),
        ("tiny_hanabi", ["utility: got IDENTICAL, allowed: ZERO_SUM"]),
        ("matrix_rps", ["dynamics: got SIMULTANEOUS", "turn_based_simultaneous_game"]),
        (
            "matrix_pd",
            ["utility: got GENERAL_SUM, allowed: ZERO_SUM", "dynamics: got SIMULTANEOUS"],
        ),
    ],
)
def test_games_of_another_kind_are_refused_with_all_reasons(name: str, problems: list[str]) -> None:
    with pytest.raises(ValueError) as error:
        load_openspiel(name)
    for problem in problems:
        assert problem in str(error.value)


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspiel", None)
    with pytest.raises(ModuleNotFoundError, match=r"magnetic-preference-optimization\[openspiel\]"):
        load_openspiel("kuhn_poker")
