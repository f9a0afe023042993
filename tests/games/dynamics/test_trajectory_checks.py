from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from mpo.games.dynamics.trajectory_checks import trajectory_problems
from tests.games.dynamics.small_games import random_games

PREFERENCES, LOG_POLICY = random_games(2, 4)
GOOD: dict[str, Any] = {
    "preferences": PREFERENCES,
    "log_policy": LOG_POLICY,
    "calls": 10,
    "recorded": [0, 10],
    "noise": 0.0,
    "seed": 0,
    "tolerances": [1e-3],
    "row_values": {"eta": torch.ones(2, 1, dtype=torch.float64)},
}
LOST = LOG_POLICY.clone()
LOST[1, 0] = -math.inf
SKEWED = PREFERENCES.clone()
SKEWED[1, 0, 1] += 1e-3


def test_good_arguments_pass() -> None:
    assert trajectory_problems(**GOOD) == []
    assert trajectory_problems(**GOOD | {"preferences": PREFERENCES[:1], "seed": [1, 2]}) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preferences": PREFERENCES[0]}, "preferences: got torch.float64 (4, 4)"),
        ({"preferences": PREFERENCES.float()}, "preferences: got torch.float32 (2, 4, 4)"),
        ({"preferences": SKEWED}, "preferences: got a matrix with P + Pᵀ not 1"),
        ({"log_policy": LOG_POLICY[0]}, "log_policy: got torch.float64 (4,)"),
        ({"log_policy": LOG_POLICY.float()}, "log_policy: got torch.float32 (2, 4)"),
        ({"log_policy": LOG_POLICY[:0]}, "log_policy: got torch.float64 (0, 4)"),
        ({"log_policy": LOG_POLICY[:, :1]}, "log_policy: got 1 action"),
        ({"log_policy": LOST}, "log_policy: got [-inf"),
        ({"log_policy": LOG_POLICY + 0.1}, "log_policy: got ["),
        ({"calls": -1, "recorded": [0]}, "calls: got -1"),
        ({"recorded": []}, "record: got []"),
        ({"recorded": [3, 3]}, "record: got [3, 3]"),
        ({"recorded": [-1]}, "record: got [-1]"),
        ({"recorded": [11]}, "record: got [11], allowed: rising numbers from 0 to 10"),
        ({"noise": math.nan}, "noise: got nan"),
        ({"noise": math.inf}, "noise: got inf"),
        ({"seed": -1}, "seed: got -1"),
        ({"seed": [1]}, "seed: got 1 seeds, allowed: one, or 2, a row each"),
        ({"tolerances": [math.inf]}, "tolerances: got [inf]"),
        (
            {"row_values": {"eta": torch.ones(3, 1, dtype=torch.float64)}},
            "eta: got 3 rows, allowed: 2",
        ),
    ],
)
def test_a_mistake_is_named(change: dict[str, Any], message: str) -> None:
    problems = trajectory_problems(**GOOD | change)
    assert len(problems) == 1
    assert problems[0].startswith(message)
