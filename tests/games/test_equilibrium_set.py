from __future__ import annotations

import numpy as np
import pytest
import torch

from mpo.games.equilibrium_set import distance_to_equilibria, equilibrium_set
from mpo.games.matrix_families import matrix_game, rock_paper_scissors
from mpo.games.solve import nash_equilibrium
from tests.oracles import duality_gap_by_lp, random_policy

TIED = torch.tensor([[0.5, 0.5, 0.9], [0.5, 0.5, 0.8], [0.1, 0.2, 0.5]], dtype=torch.float64)
"""The first two tie and beat the third: their mixtures are the equilibria."""


@pytest.mark.parametrize("seed", range(4))
def test_a_unique_equilibrium_is_that_of_the_other_program(seed: int) -> None:
    wins = matrix_game("random_logistic", seed, 8)
    found, nash = equilibrium_set(wins), nash_equilibrium(wins)
    assert found.unique and found.played == nash.support
    for ends in (found.lowest, found.highest):
        np.testing.assert_allclose(ends.numpy(), nash.policy.numpy(), atol=1e-7)
    policy = random_policy(8, seed)
    expected = 0.5 * np.abs(policy - nash.policy.numpy()).sum()
    got = distance_to_equilibria(wins, torch.from_numpy(policy))
    assert got == pytest.approx(expected, rel=1e-6)


def test_ties_make_a_set() -> None:
    found = equilibrium_set(TIED)
    assert not found.unique and found.played == 2
    np.testing.assert_allclose(found.lowest.numpy(), 0, atol=1e-9)
    np.testing.assert_allclose(found.highest.numpy(), [1, 1, 0], atol=1e-9)
    for policy, distance in (([0.2, 0.8, 0.0], 0.0), ([0.2, 0.5, 0.3], 0.3), ([0, 0, 1], 1.0)):
        got = distance_to_equilibria(TIED, torch.tensor(policy, dtype=torch.float64))
        assert got == pytest.approx(distance, abs=1e-9)


def test_a_game_that_is_all_ties() -> None:
    found = equilibrium_set(torch.full((4, 4), 0.5, dtype=torch.float64))
    assert found.played == 4 and not found.unique
    np.testing.assert_allclose(found.lowest.numpy(), 0, atol=1e-9)
    np.testing.assert_allclose(found.highest.numpy(), 1, atol=1e-9)


def test_a_policy_without_a_gap_is_at_no_distance() -> None:
    third = torch.full((3,), 1 / 3, dtype=torch.float64)
    wins = rock_paper_scissors([1, 1, 1])
    assert abs(duality_gap_by_lp(wins.numpy(), third.numpy())) < 1e-12
    assert distance_to_equilibria(wins, third) < 1e-9
    rock = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    assert distance_to_equilibria(wins, rock) == pytest.approx(2 / 3, rel=1e-9)
