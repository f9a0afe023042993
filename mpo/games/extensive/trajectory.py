"""Runs a dynamic on an extensive-form game and measures its last and its average iterate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from mpo.games.dynamics.protocol import Payoffs, StateT
from mpo.games.dynamics.solved import SolvedSince
from mpo.games.dynamics.trajectory import TOLERANCES
from mpo.games.extensive.passes import Passes
from mpo.games.extensive.payoffs import exact_payoffs, noisy_payoffs
from mpo.games.extensive.protocol import TreeDynamic
from mpo.games.extensive.sequence_form import SequenceForm
from mpo.games.extensive.trajectory_checks import run_problems
from mpo.games.extensive.values import best_response_values


class TreeTrajectory(NamedTuple):
    """N runs at K numbers of oracle calls: the names of `mpo.games.dynamics.trajectory`.

    ``oracle_calls`` (K,) int64. ``gap_last`` (N, K), NashConv of the last iterate that so many
    calls pay for; ``gap_average`` (N, K), of the average plan of all iterates up to it, the start
    among them, with the dynamic's weights. ``calls_to`` (N, tolerances), the calls after which
    ``gap_last`` was at or below each tolerance and stayed there to the end, ``inf`` where it is
    above at the end; all steps are looked at. ``diverged`` (N,) bool: the run has overflowed and
    stands still at its last iterate that was none. ``log_policy`` (S, N), the last iterate;
    ``average_plan`` (S, N).
    """

    oracle_calls: Tensor
    gap_last: Tensor
    gap_average: Tensor
    calls_to: Tensor
    diverged: Tensor
    log_policy: Tensor
    average_plan: Tensor


def run_tree(
    dynamic: TreeDynamic[StateT],
    form: SequenceForm,
    log_policy: Tensor,
    calls: int,
    record: Sequence[int] | None = None,
    noise: float = 0.0,
    seed: int | Sequence[int] = 0,
    tolerances: Sequence[float] = TOLERANCES,
) -> TreeTrajectory:
    """The dynamic's steps, as many as ``calls`` oracle calls pay for.

    Gaps are exact whatever the noise, and cost no oracle calls.

    Args:
        dynamic: its tensors among the hyper-parameters are (N, 1).
        log_policy: (S, N) float64, where each run starts.
        calls: 0 or more.
        record: numbers of calls at which to measure, rising, from 0 to ``calls``; None: the end.
        noise: standard deviation of each payoff's error, 0 or more.
        seed: of the noise, for all runs or one a run.
        tolerances: gaps, above 0.

    Raises:
        ValueError: all mistakes at once, a line each.
    """
    recorded = [calls] if record is None else list(record)
    problems = dynamic.problems() + run_problems(
        dynamic, form, log_policy, calls, recorded, noise, seed, tolerances
    )
    if problems:
        raise ValueError("\n".join(problems))
    exact = exact_payoffs(form)
    payoffs = noisy_payoffs(form, noise, seed) if noise > 0 else exact
    runs, price = log_policy.shape[1], dynamic.calls_a_step
    passes = Passes(form, runs)
    gap_last = torch.empty(runs, len(recorded), dtype=torch.float64)
    gap_average = torch.empty_like(gap_last)
    solved = SolvedSince(runs, tolerances)
    alive = torch.ones(runs, dtype=torch.bool)
    summed = torch.zeros_like(log_policy)
    weights = torch.zeros(runs, dtype=torch.float64)
    state, column, last_step = dynamic.initial(log_policy), 0, calls // price
    for step in range(last_step + 1):
        plan = passes.plan(state.log_policy)
        # Of a run that has diverged nothing is counted any more.
        weight = alive * float(dynamic.weight(step))
        summed.addcmul_(plan, weight)
        weights += weight
        gap = _gaps(form, exact, plan)
        solved.look(gap, step * price, alive)
        while column < len(recorded) and recorded[column] // price == step:
            gap_last[:, column] = gap
            gap_average[:, column] = _gaps(form, exact, summed / weights)
            column += 1
        if step < last_step:
            new = dynamic.step(state, passes, payoffs)
            state, alive = _next(state, new, alive, dynamic.plays_zero)
    return TreeTrajectory(
        torch.tensor(recorded, dtype=torch.int64),
        gap_last,
        gap_average,
        solved.calls,
        ~alive,
        state.log_policy,
        summed / weights,
    )


def _gaps(form: SequenceForm, exact: Payoffs, plan: Tensor) -> Tensor:
    """NashConv of (S, N) plans: (N,)."""
    return best_response_values(form, exact(plan)).sum(0)


def _next(old: StateT, new: StateT, alive: Tensor, plays_zero: bool) -> tuple[StateT, Tensor]:
    """The next state, where runs that have overflowed keep the last one, and which have not."""
    total = float(new.log_policy.sum())
    if math.isnan(total) or (math.isinf(total) and not plays_zero):
        lost = new.log_policy.isnan() if plays_zero else ~new.log_policy.isfinite()
        alive = alive & ~lost.any(0)
    if bool(alive.all()):
        return new, alive
    both = zip(cast("tuple[Any, ...]", new), cast("tuple[Any, ...]", old), strict=True)
    mixed = [torch.where(alive, a, b) if isinstance(a, Tensor) else a for a, b in both]
    return type(new)(*mixed), alive
