from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from mpo.games.dynamics.protocol import Payoffs
from mpo.games.extensive.cfr_plus import CFRPlus
from mpo.games.extensive.dilated import DilatedMD, DilatedMMD, DilatedMPO
from mpo.games.extensive.passes import Passes
from mpo.games.extensive.payoffs import exact_payoffs
from mpo.games.extensive.registry import load_game
from mpo.games.extensive.sequence_form import plan_of, random_log_policies, sequence_form
from mpo.games.extensive.trajectory import run_tree
from mpo.games.extensive.values import nash_conv
from tests.games.extensive.openspiel_side import random_policy

FORM = sequence_form(load_game("kuhn_poker"))


def test_gaps_are_those_of_the_iterates_and_of_their_average_plan() -> None:
    dynamic, start = DilatedMPO(0.1, 1.0, 5), random_log_policies(FORM, [0, 1])
    found = run_tree(dynamic, FORM, start, 12, record=[0, 3, 12], tolerances=[0.4, 1e-9])
    state, plans, gaps = dynamic.initial(start), [], []
    for step in range(13):
        plans.append(plan_of(FORM, state.log_policy.exp()))
        gaps.append(nash_conv(FORM, plans[-1]))
        if step < 12:
            state = dynamic.step(state, Passes(FORM, 2), exact_payoffs(FORM))
    for column, calls in enumerate([0, 3, 12]):
        torch.testing.assert_close(found.gap_last[:, column], gaps[calls])
        average = torch.stack(plans[: calls + 1]).mean(0)
        torch.testing.assert_close(found.gap_average[:, column], nash_conv(FORM, average))
    torch.testing.assert_close(found.average_plan, torch.stack(plans).mean(0))
    torch.testing.assert_close(found.log_policy, state.log_policy)
    for row in range(2):
        above = [k for k, gap in enumerate(gaps) if gap[row] > 0.4]
        assert found.calls_to[row].tolist() == [above[-1] + 1, math.inf]
        assert 0 <= above[-1] < 12


def test_a_run_that_overflows_stops_and_the_others_go_on() -> None:
    etas = torch.tensor([[1.0], [1e308], [0.5]], dtype=torch.float64)
    start = random_log_policies(FORM, [0, 0, 0])
    found = run_tree(DilatedMD(etas), FORM, start, 40, record=[1, 40])
    assert found.diverged.tolist() == [False, True, False]
    assert bool(found.gap_last.isfinite().all()) and bool(found.gap_average.isfinite().all())
    assert not bool(found.log_policy.isnan().any())
    for column, eta in ((0, 1.0), (2, 0.5)):
        alone = run_tree(DilatedMD(eta), FORM, start[:, :1], 40).log_policy[:, 0]
        torch.testing.assert_close(found.log_policy[:, column], alone)


class Count(NamedTuple):
    log_policy: Tensor
    steps: int


@dataclass(frozen=True)
class Breaks:
    """Goes to the uniform policy; in its second step run 0 plays a pure one and run 1 breaks."""

    plays_zero: bool
    broken: float

    calls_a_step = 1

    def problems(self) -> list[str]:
        return []

    def weight(self, iterate: int) -> int:
        return 1

    def initial(self, log_policy: Tensor) -> Count:
        return Count(log_policy, 0)

    def step(self, state: Count, passes: Passes, payoffs: Payoffs) -> Count:
        log_policy = FORM.uniform.log()[:, None].repeat(1, 2)
        if state.steps == 1:
            if self.plays_zero:
                log_policy[:, 0] = random_policy(FORM, 0, pure_share=1.0).log()
            log_policy[5, 1] = self.broken
        return Count(log_policy, state.steps + 1)


@pytest.mark.parametrize(
    ("plays_zero", "broken"), [(True, math.nan), (False, math.nan), (False, -math.inf)]
)
def test_a_broken_run_stands_still_at_its_last_good_iterate(
    plays_zero: bool, broken: float
) -> None:
    start = random_log_policies(FORM, [0, 1])
    found = run_tree(Breaks(plays_zero, broken), FORM, start, 4, record=[1, 4])
    assert found.diverged.tolist() == [False, True]
    assert torch.equal(found.log_policy[:, 1], FORM.uniform.log())
    # The average of what came before, too: two iterates, not five.
    before = plan_of(FORM, torch.stack([start[:, 1].exp(), FORM.uniform], 1))
    torch.testing.assert_close(found.average_plan[:, 1], before.mean(1))


def test_a_probability_of_zero_is_no_overflow_in_cfr_plus_and_no_start_of_the_others() -> None:
    start = random_policy(FORM, 1, pure_share=1.0).log()[:, None]
    found = run_tree(CFRPlus(), FORM, start, 30)
    assert not bool(found.diverged.any()) and float(found.gap_average) < 0.2
    with pytest.raises(ValueError, match="got a probability of 0"):
        run_tree(DilatedMD(), FORM, start, 30)


def test_noise_is_repeatable_and_is_no_part_of_the_gap() -> None:
    start = random_log_policies(FORM, [0])
    dynamic = DilatedMMD(0.1, 0.5)
    runs = [run_tree(dynamic, FORM, start, 300, noise=0.05, seed=seed) for seed in (1, 1, 2)]
    exact = run_tree(dynamic, FORM, start, 300)
    assert torch.equal(runs[0].log_policy, runs[1].log_policy)
    assert not torch.equal(runs[0].log_policy, runs[2].log_policy)
    assert not torch.equal(runs[0].log_policy, exact.log_policy)
    gap = nash_conv(FORM, plan_of(FORM, runs[0].log_policy.exp()))
    torch.testing.assert_close(runs[0].gap_last[:, 0], gap)


def test_all_mistakes_come_together() -> None:
    with pytest.raises(ValueError) as error:
        run_tree(
            DilatedMPO(alpha=-1.0),
            FORM,
            torch.zeros(FORM.sequences, 2, dtype=torch.float64),
            -1,
            record=[3, 2],
            noise=-1.0,
            seed=-4,
            tolerances=[0.0],
        )
    named = [line.split(":")[0] for line in str(error.value).split("\n")]
    assert named == ["alpha", "log_policy", "calls", "record", "noise", "seed", "tolerances"]


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"log_policy: got torch.float64 \(5, 2\)"):
        run_tree(DilatedMD(), FORM, torch.zeros(5, 2, dtype=torch.float64), 1)
    three = torch.full((3, 1), 0.5, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"eta: got 3 rows, allowed: 2(.|\n)*seed: got 1 seeds"):
        run_tree(DilatedMD(three), FORM, random_log_policies(FORM, [0, 1]), 1, seed=[1])


def test_starts_are_policies_of_their_seed() -> None:
    both = random_log_policies(FORM, [4, 5])
    assert torch.equal(both[:, 1:], random_log_policies(FORM, [5]))
    for block in FORM.blocks:
        torch.testing.assert_close(
            block.of(both).exp().sum(1), torch.ones(block.infosets, 2, dtype=torch.float64)
        )
