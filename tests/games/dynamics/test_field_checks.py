from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch

from mpo.games.dynamics.field_checks import FieldChecks


@dataclass(frozen=True)
class Fields:
    """Stands for a dynamic's hyper-parameters."""

    eta: object = 1.0
    interval: object = 3
    opponent: str = "policy"


def column(*values: float) -> torch.Tensor:
    """(N, 1) float64."""
    return torch.tensor(values, dtype=torch.float64)[:, None]


@pytest.mark.parametrize("eta", [1e-300, 1, 1e300, column(1.0, 2.0)])
def test_good_numbers_pass(eta: object) -> None:
    checks = FieldChecks(Fields(eta))
    checks.positive("eta")
    assert checks.found == []


@pytest.mark.parametrize(
    ("eta", "message"),
    [
        (0.0, "eta: got 0.0, allowed: a finite number above 0"),
        (math.nan, "eta: got nan, allowed: a finite number above 0"),
        (math.inf, "eta: got inf, allowed: a finite number above 0"),
        (True, "eta: got True, allowed: a finite number above 0"),
        ("1", "eta: got '1', allowed: a finite number above 0"),
        (column(1.0, -2.0, -3.0), "eta: got -2.0 in row 1, allowed: a finite number above 0"),
        (
            torch.ones(2, dtype=torch.float64),
            "eta: got a torch.float64 tensor of shape (2,), "
            "allowed: float64 (N, 1), one number a row",
        ),
        (
            torch.ones(2, 1),
            "eta: got a torch.float32 tensor of shape (2, 1), "
            "allowed: float64 (N, 1), one number a row",
        ),
    ],
)
def test_bad_numbers_are_named(eta: object, message: str) -> None:
    checks = FieldChecks(Fields(eta))
    checks.positive("eta")
    assert checks.found == [message]


def test_the_borders_of_the_ranges() -> None:
    checks = FieldChecks(Fields(0.0))
    checks.not_negative("eta")
    checks.share("eta")
    assert checks.found == []
    for eta in (-0.1, 1.1):
        checks = FieldChecks(Fields(eta))
        checks.share("eta")
        assert checks.found == [f"eta: got {eta}, allowed: a number from 0 to 1"]
    checks = FieldChecks(Fields(-0.1))
    checks.not_negative("eta")
    assert checks.found == ["eta: got -0.1, allowed: a finite number of 0 or more"]


def test_all_mistakes_come_out_together() -> None:
    checks = FieldChecks(Fields(-1.0, 2.0, "magnet"))
    checks.positive("eta")
    checks.count("interval")
    checks.choice("opponent", "policy", "snapshot")
    assert checks.found == [
        "eta: got -1.0, allowed: a finite number above 0",
        "interval: got 2.0, allowed: an integer of 1 or more",
        "opponent: got 'magnet', allowed: policy | snapshot",
    ]
