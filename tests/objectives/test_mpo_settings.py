from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mpo.objectives.mpo import MPO
from mpo.objectives.protocol import BEHAVIOUR, MAGNET, Needs, compared_pairs
from mpo.returns import leave_one_out

SEPARATE = {"opponent": "snapshot", "symmetric": False}


def fields_of(problems: list[str]) -> list[str]:
    return [problem.split(":")[0] for problem in problems]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"alpha": 0.0, "eta": 1e-3, "eta_floor": 1.0, "gamma": 1.0},
        {"magnet_interval": None, "eta_schedule": "linear", "eta_horizon": 1},
        {"magnet_interval": 1, "inner_steps": 1, "opponent_interval": 1},
        {**SEPARATE, "responses": 1, "pairs": "disjoint", "reward": "every_token"},
        {**SEPARATE, "responses": 2, "baseline": "rloo"},
        {"responses": 2, "pairs": "disjoint"},
        {"responses": 3, "pairs": "all", "baseline": "rloo"},
        {"responses": 4, "pairs": "disjoint", "baseline": "rloo"},
        {"responses": 2, "pairs": "all", "baseline": "remax", "kl_gradient": "per_token"},
        {"proximal": "clip", "clip_range": 0.01},
        {"self_play": False, "symmetric": False, "opponent": "policy"},
        {"self_play": False, **SEPARATE, "opponent_interval": 3},
    ],
    ids=str,
)
def test_valid_values(fields: dict[str, object]) -> None:
    assert MPO(**fields).problems() == []


@pytest.mark.parametrize(
    "field, value",
    [
        ("alpha", -0.1),
        ("alpha", float("nan")),
        ("alpha", float("inf")),
        ("eta", 0.0),
        ("eta", -1.0),
        ("eta", float("nan")),
        ("eta", float("inf")),
        ("eta_schedule", "cosine"),
        ("eta_horizon", 0),
        ("eta_floor", 0.0),
        ("eta_floor", 1.1),
        ("gamma", 0.0),
        ("gamma", 1.01),
        ("magnet_interval", 0),
        ("magnet_interval", -3),
        ("opponent", "magnet"),
        ("opponent_interval", 0),
        ("inner_steps", 0),
        ("reward", "last"),
        ("baseline", "mean"),
        ("pairs", "some"),
        ("kl_gradient", "k3"),
        ("proximal", "trust"),
        ("clip_range", 0.0),
        ("clip_range", 1.0),
        ("clip_range", float("nan")),
        ("responses", 1),
        ("responses", 0),
    ],
)
def test_a_bad_value_is_named_with_what_was_given(field: str, value: object) -> None:
    (problem,) = MPO(**{field: value}).problems()
    assert problem.startswith(f"{field}: got {value!r}, allowed is ")


@pytest.mark.parametrize(
    "fields, named",
    [
        ({"opponent": "snapshot"}, "symmetric"),
        ({"self_play": False}, "symmetric"),
        ({"pairs": "disjoint", "responses": 3}, "responses"),
        ({**SEPARATE, "responses": 0}, "responses"),
        ({"pairs": "all", "responses": 2, "baseline": "rloo"}, "baseline"),
        ({"pairs": "disjoint", "responses": 2, "baseline": "rloo"}, "baseline"),
        ({**SEPARATE, "responses": 1, "baseline": "rloo"}, "baseline"),
    ],
    ids=str,
)
def test_values_that_do_not_go_together(fields: dict[str, object], named: str) -> None:
    assert fields_of(MPO(**fields).problems()) == [named]


def test_all_problems_come_at_once() -> None:
    bad = {
        "alpha": -1.0,
        "eta": 0.0,
        "eta_schedule": "x",
        "eta_horizon": 0,
        "eta_floor": 0.0,
        "gamma": 2.0,
        "magnet_interval": 0,
        "opponent": "x",
        "opponent_interval": 0,
        "inner_steps": 0,
        "baseline": "x",
        "pairs": "x",
        "responses": 0,
        "proximal": "x",
        "clip_range": 0.0,
        "reward": "x",
        "kl_gradient": "x",
        "self_play": False,
    }
    named = ["symmetric" if name == "self_play" else name for name in bad]
    assert fields_of(MPO(**bad).problems()) == named


def test_the_smallest_rloo_has_a_baseline_and_a_smaller_one_has_not() -> None:
    # What `problems` refuses is what would be a mean of nothing.
    for fields, smallest in (
        ({"pairs": "all"}, 3),
        ({"pairs": "disjoint"}, 4),
        ({**SEPARATE, "pairs": "all"}, 2),
        ({**SEPARATE, "pairs": "disjoint"}, 2),
    ):
        for responses in (smallest - 1, smallest):
            method = MPO(responses=responses, baseline="rloo", **fields)
            if responses % 2 and method.symmetric and method.pairs == "disjoint":
                method = MPO(responses=responses - 1, baseline="rloo", **fields)
            compared = compared_pairs(method.needs(), 1)
            wins = torch.full(compared.shape, 0.5, dtype=torch.float64)
            made = leave_one_out(wins, compared, own_pairs=method.symmetric)
            assert bool(made.isfinite().all()) == (method.problems() == [])


def test_needs_of_the_policy_as_its_own_opponent() -> None:
    assert MPO(responses=6, magnet_interval=7, inner_steps=3).needs() == Needs(
        responses=6,
        opponent_responses=0,
        opponent_is_snapshot=False,
        all_pairs=True,
        greedy=False,
        kl_to=(BEHAVIOUR, MAGNET),
        inner_steps=3,
        magnet_interval=7,
        opponent_interval=7,
    )


def test_needs_of_the_paper() -> None:
    method = MPO(**SEPARATE, responses=2, pairs="disjoint", baseline="remax", magnet_interval=5)
    needs = method.needs()
    assert (needs.responses, needs.opponent_responses) == (2, 2)
    assert needs.opponent_is_snapshot
    assert needs.greedy
    assert not needs.all_pairs
    # Algorithm 1: the opponent moves with the magnet.
    assert needs.opponent_interval == needs.magnet_interval == 5


@pytest.mark.parametrize(
    "fields, opponents, snapshot, interval",
    [
        ({"symmetric": False}, 4, False, 25),
        ({**SEPARATE, "opponent_interval": 3}, 4, True, 3),
        ({**SEPARATE, "magnet_interval": None}, 4, True, None),
        ({**SEPARATE, "magnet_interval": None, "opponent_interval": 2}, 4, True, 2),
        ({"self_play": False, "symmetric": False}, 4, True, None),
        ({"self_play": False, **SEPARATE, "opponent_interval": 2}, 4, True, None),
    ],
    ids=str,
)
def test_needs_of_the_opponent(
    fields: dict[str, object], opponents: int, snapshot: bool, interval: int | None
) -> None:
    needs = MPO(**fields).needs()
    assert needs.opponent_responses == opponents
    assert needs.opponent_is_snapshot is snapshot
    assert needs.opponent_interval == interval


def test_needs_without_self_play_differ_in_who_moves_and_in_nothing_else() -> None:
    method = MPO(symmetric=False, opponent_interval=3, baseline="remax", pairs="disjoint")
    alone = replace(method, self_play=False).needs()
    assert alone.magnet_interval is None
    still = {"opponent_is_snapshot": True, "magnet_interval": None, "opponent_interval": None}
    assert alone == method.needs()._replace(**still) != method.needs()


def test_clipping_needs_the_same_as_the_kl() -> None:
    assert MPO(proximal="clip").needs() == MPO().needs()


@pytest.mark.parametrize(
    "fields, wanted",
    [
        ({"pairs": "all"}, {(i, j) for i in range(4) for j in range(4) if i != j}),
        ({"pairs": "disjoint"}, {(0, 1), (1, 0), (2, 3), (3, 2)}),
        ({"pairs": "all", "symmetric": False}, {(i, j) for i in range(4) for j in range(4)}),
        ({"pairs": "disjoint", "symmetric": False}, {(i, i) for i in range(4)}),
    ],
    ids=str,
)
def test_compared_pairs(fields: dict[str, object], wanted: set[tuple[int, int]]) -> None:
    compared = compared_pairs(MPO(responses=4, **fields).needs(), 3)
    assert tuple(compared.shape) == (3, 4, 4)
    assert compared.dtype == torch.bool
    for table in compared:
        assert {tuple(pair) for pair in table.nonzero().tolist()} == wanted


def test_compared_pairs_with_another_number_of_opponents() -> None:
    needs = Needs(responses=2, opponent_responses=3, all_pairs=True)
    assert compared_pairs(needs, 2).all()
    assert tuple(compared_pairs(needs, 2).shape) == (2, 2, 3)
