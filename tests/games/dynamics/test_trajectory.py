from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from mpo.games.dynamics.magnetic import MMD, MPO
from mpo.games.dynamics.mirror import MWU, ExtragradientMWU
from mpo.games.dynamics.oracle import row_seeds
from mpo.games.dynamics.protocol import Dynamic, Payoffs
from mpo.games.dynamics.trajectory import Trajectory, run
from tests.games.dynamics.small_games import after, gaps, random_games
from tests.oracles import duality_gap_by_lp


def column(*values: float) -> Tensor:
    """(N, 1) float64."""
    return torch.tensor(values, dtype=torch.float64)[:, None]


def same(one: Trajectory, two: Trajectory, rtol: float = 1e-9) -> None:
    """All fields agree."""
    for name, left, right in zip(Trajectory._fields, one, two, strict=True):
        assert (left is None) == (right is None), name
        if left is not None and right is not None:
            np.testing.assert_allclose(left.numpy(), right.numpy(), rtol, 1e-13, err_msg=name)


def rows_of(found: Trajectory, part: slice) -> Trajectory:
    """The trajectory of these rows."""
    path = None if found.path is None else found.path[part]
    return Trajectory(found.oracle_calls, *(field[part] for field in found[1:-1]), path)


def test_gaps_of_last_and_average_iterates() -> None:
    preferences, log_policy = random_games(2, 4)
    dynamic = MPO(0.1, 1.0, 3)
    found = run(dynamic, preferences, log_policy, 9, record=[0, 1, 5, 9], keep_path=True)
    assert found.oracle_calls.tolist() == [0, 1, 5, 9]
    assert found.path is not None
    assert not bool(found.diverged.any())
    for row in range(2):
        wins = preferences[row].numpy()
        iterates = [
            after(dynamic, preferences, log_policy, k).log_policy[row].exp().numpy()
            for k in range(10)
        ]
        for k, calls in enumerate([0, 1, 5, 9]):
            last, average = iterates[calls], np.mean(iterates[: calls + 1], axis=0)
            np.testing.assert_allclose(found.path[row, k].numpy(), last, rtol=1e-12)
            for policy, gap in ((last, found.gap_last), (average, found.gap_average)):
                expected = duality_gap_by_lp(wins, policy)
                assert float(gap[row, k]) == pytest.approx(expected, rel=1e-9)
        np.testing.assert_allclose(found.log_policy[row].exp().numpy(), iterates[9], rtol=1e-12)


def test_only_the_end_is_recorded_by_default() -> None:
    preferences, log_policy = random_games(2, 4)
    found = run(MWU(), preferences, log_policy, 9)
    assert found.oracle_calls.tolist() == [9]
    assert found.path is None
    np.testing.assert_allclose(
        found.gap_last[:, 0].numpy(), gaps(preferences, found.log_policy).numpy(), rtol=1e-12
    )


def test_a_step_that_the_calls_do_not_pay_for_is_not_taken() -> None:
    preferences, log_policy = random_games(2, 4)
    found = run(ExtragradientMWU(1.0), preferences, log_policy, 7, record=range(8), keep_path=True)
    assert found.path is not None
    for calls in range(8):
        state = after(ExtragradientMWU(1.0), preferences, log_policy, calls // 2)
        np.testing.assert_allclose(
            found.path[:, calls].numpy(), state.log_policy.exp().numpy(), rtol=1e-12
        )
    assert torch.equal(found.log_policy.exp(), found.path[:, -1])


@pytest.mark.parametrize("dynamic", [ExtragradientMWU(8.0), MWU(2.0)])
def test_calls_to_a_tolerance_are_those_after_which_it_is_kept(dynamic: Dynamic[Any]) -> None:
    preferences, log_policy = random_games(40, 6)
    calls, tolerances = 120, [0.3, 0.1, 1e-12]
    found = run(
        dynamic, preferences, log_policy, calls, record=range(calls + 1), tolerances=tolerances
    )
    left_again = 0
    for row in range(40):
        for k, tolerance in enumerate(tolerances):
            within = [gap <= tolerance for gap in found.gap_last[row].tolist()]
            first = within.index(True) if any(within) else math.inf
            stays: float = math.inf
            for now in range(calls, -1, -1):
                if not within[now]:
                    break
                stays = now
            assert float(found.calls_to[row, k]) == stays
            left_again += first < stays
    assert left_again > 5
    assert bool(found.calls_to[:, 2].isinf().any())
    sparse = run(dynamic, preferences, log_policy, calls, tolerances=tolerances)
    assert torch.equal(sparse.calls_to, found.calls_to)


def test_rows_do_not_know_of_each_other() -> None:
    preferences, log_policy = random_games(5, 6)
    eta = column(0.3, 0.5, 0.8, 1.0, 2.0)

    def found(part: slice, chunk_rows: int | None = None) -> Trajectory:
        return run(
            MPO(0.1, eta[part], 10),
            preferences[part],
            log_policy[part],
            150,
            record=[10, 149],
            noise=0.05,
            seed=row_seeds(4, 5)[part],
            keep_path=True,
            chunk_rows=chunk_rows,
        )

    together = found(slice(None))
    same(together, found(slice(None), chunk_rows=2))
    for row in range(5):
        same(rows_of(together, slice(row, row + 1)), found(slice(row, row + 1)))


def test_a_large_batch_is_worked_on_in_chunks() -> None:
    preferences, log_policy = random_games(300, 30)
    whole = run(MWU(), preferences, log_policy, 20, chunk_rows=300)
    same(whole, run(MWU(), preferences, log_policy, 20))


def test_one_game_may_serve_all_rows() -> None:
    preferences, log_policy = random_games(4, 6)
    eta = column(0.3, 0.5, 0.8, 1.0)
    shared = run(MMD(0.1, eta), preferences[:1], log_policy, 50)
    same(shared, run(MMD(0.1, eta), preferences[:1].expand(4, 6, 6), log_policy, 50))


def test_noise_is_a_function_of_the_seed() -> None:
    preferences, log_policy = random_games(3, 6)

    def found(seed: int, noise: float = 0.1) -> Trajectory:
        return run(MMD(0.1), preferences, log_policy, 100, noise=noise, seed=seed)

    one = found(3)
    same(one, found(3), rtol=0)
    assert not torch.isclose(one.log_policy, found(4).log_policy).any()
    exact = found(3, noise=0.0)
    assert not torch.isclose(one.log_policy, exact.log_policy).any()
    # The gap is exact, whatever the noise.
    np.testing.assert_allclose(
        one.gap_last[:, 0].numpy(), gaps(preferences, one.log_policy).numpy(), rtol=1e-12
    )


def test_a_row_that_overflows_stands_still_and_the_others_go_on() -> None:
    preferences, log_policy = random_games(3, 5)
    eta = column(0.5, 1.7e308, 0.3)
    record = [0, 1, 2, 40, 50]
    found = run(MWU(eta), preferences, log_policy, 50, record=record, keep_path=True)
    assert found.diverged.tolist() == [False, True, False]
    for row in (0, 2):
        alone = run(
            MWU(float(eta[row])),
            preferences[row : row + 1],
            log_policy[row : row + 1],
            50,
            record=record,
            keep_path=True,
        )
        same(rows_of(found, slice(row, row + 1)), alone)
    for field in found[1:3]:
        assert bool(field.isfinite().all())
    assert bool(found.log_policy.isfinite().all())
    assert found.path is not None
    end = found.path[1, -1]
    np.testing.assert_allclose(end.numpy(), found.log_policy[1].exp().numpy())
    assert torch.equal(found.path[1, 3], end)
    assert float(found.gap_average[1, 3]) == float(found.gap_average[1, 4])


class CountedState(NamedTuple):
    """A policy and how many steps led to it."""

    log_policy: Tensor
    steps: int


@dataclass(frozen=True)
class FailsOnce:
    """Leaves the policy as it is, but in its third step row 1 is NaN."""

    calls_a_step: int = 1

    def problems(self) -> list[str]:
        return []

    def initial(self, log_policy: Tensor) -> CountedState:
        return CountedState(log_policy, 0)

    def step(self, state: CountedState, payoffs: Payoffs) -> CountedState:
        log_policy = torch.log_softmax(state.log_policy + payoffs(state.log_policy.exp()), dim=1)
        if state.steps == 2:
            log_policy[1] = math.nan
        return CountedState(log_policy, state.steps + 1)


def test_a_row_that_has_diverged_does_not_come_back() -> None:
    preferences, log_policy = random_games(3, 5)
    found = run(FailsOnce(), preferences, log_policy, 9)
    assert found.diverged.tolist() == [False, True, False]
    steps = [after(FailsOnce(), preferences, log_policy, k).log_policy for k in (2, 9)]
    np.testing.assert_allclose(found.log_policy[1].numpy(), steps[0][1].numpy(), rtol=1e-12)
    np.testing.assert_allclose(found.log_policy[::2].numpy(), steps[1][::2].numpy(), rtol=1e-12)


def test_a_row_that_overflows_is_not_solved_whatever_it_reached_before() -> None:
    """The only good action wins at once; the next step overflows."""
    preferences = torch.tensor([[[0.5, 0.9], [0.1, 0.5]]], dtype=torch.float64)
    start = torch.log(torch.tensor([[0.5, 0.5]], dtype=torch.float64))
    found = run(MWU(1.7e308), preferences, start, 20, tolerances=[1e-2])
    assert found.diverged.tolist() == [True]
    assert float(found.gap_last[0, 0]) <= 1e-2
    assert math.isinf(float(found.calls_to[0, 0]))


def test_no_calls_measure_the_start() -> None:
    preferences, log_policy = random_games(2, 4)
    found = run(MWU(), preferences, log_policy, 0)
    assert torch.equal(found.log_policy, log_policy)
    np.testing.assert_allclose(found.gap_last.numpy(), found.gap_average.numpy(), rtol=1e-12)


def test_mistakes_are_named_together() -> None:
    preferences, log_policy = random_games(2, 4)
    with pytest.raises(ValueError, match="eta: got -1") as caught:
        run(
            MWU(-1.0),
            preferences[:, :3],
            log_policy,
            5,
            record=[3, 2],
            noise=-1.0,
            tolerances=[0.0],
            chunk_rows=0,
        )
    names = [line.split(":")[0] for line in str(caught.value).splitlines()]
    assert names == ["eta", "preferences", "record", "noise", "tolerances", "chunk_rows"]
