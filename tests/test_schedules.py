from __future__ import annotations

import itertools
import math

import pytest

from mpo.objectives.mpo import MPO
from mpo.schedules import eta_at, learning_rate_factor


def test_warm_up_is_linear_and_ends_at_one() -> None:
    got = [learning_rate_factor(step, 20, 4, "constant") for step in range(6)]
    assert got == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_cosine_after_the_warm_up() -> None:
    total, warmup = 24, 4
    got = [learning_rate_factor(step, total, warmup, "cosine") for step in range(total + 1)]
    assert got[:4] == [0.25, 0.5, 0.75, 1.0]
    for step in range(warmup, total + 1):
        # cos² of half the angle, the same curve by another identity.
        wanted = math.cos(math.pi / 2 * (step - warmup) / (total - warmup)) ** 2
        assert got[step] == pytest.approx(wanted, rel=1e-12, abs=1e-15)
    assert got[4] == 1.0
    assert got[14] == pytest.approx(0.5)
    assert all(a > b for a, b in itertools.pairwise(got[4:]))


@pytest.mark.parametrize("kind, last", [("cosine", 0.0), ("constant", 1.0)])
def test_past_the_end_the_factor_stays(kind: str, last: float) -> None:
    assert learning_rate_factor(25, 20, 4, kind) == pytest.approx(last, abs=1e-15)


@pytest.mark.parametrize("kind", ["cosine", "constant"])
def test_no_warm_up_starts_at_one(kind: str) -> None:
    assert learning_rate_factor(0, 10, 0, kind) == 1.0


def test_a_run_of_warm_up_alone() -> None:
    assert [learning_rate_factor(step, 2, 4, "cosine") for step in range(2)] == [0.25, 0.5]


def test_constant_eta() -> None:
    assert [eta_at(k, 0.7, "constant", 10, 0.05) for k in (0, 5, 50)] == [0.7] * 3


def test_linear_eta_falls_to_its_floor() -> None:
    got = [eta_at(k, 2.0, "linear", 4, 0.1) for k in range(7)]
    assert got == pytest.approx([2.0, 1.5, 1.0, 0.5, 0.2, 0.2, 0.2], rel=1e-12)


def test_every_eta_of_a_valid_method_can_be_divided_by() -> None:
    method = MPO(eta_schedule="linear", eta_floor=1e-3)
    assert method.problems() == []
    assert all(eta_at(k, method.eta, "linear", 3, method.eta_floor) > 0 for k in range(10))
