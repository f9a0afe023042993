"""Runs a dynamic on a batch of games and measures its last and its average iterate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from mpo.games.dynamics.oracle import exact_payoffs, row_seeds, with_noise
from mpo.games.dynamics.protocol import Dynamic, Payoffs, StateT
from mpo.games.dynamics.solved import SolvedSince
from mpo.games.dynamics.trajectory_checks import trajectory_problems

CHUNK_BYTES = 2**21
"""Rows go through the steps in chunks whose matrices stay in the cache: P π is memory-bound."""

TOLERANCES = (1e-2, 1e-3, 1e-6)


class Trajectory(NamedTuple):
    """N rows at K numbers of oracle calls.

    ``oracle_calls`` (K,) int64. ``gap_last`` (N, K), duality gap of the last iterate that so many
    calls pay for; ``gap_average`` (N, K), of the uniform average of all iterates up to it, the
    initial policy among them. ``calls_to`` (N, tolerances), the oracle calls after which the last
    iterate's gap was at or below each tolerance and stayed there to the end, ``inf`` where it is
    above at the end; all steps are looked at, recorded or not.
    ``diverged`` (N,) bool: the row became infinite or NaN and stands still at its last finite
    iterate. ``log_policy`` (N, R), the last iterate. ``path`` (N, K, R), the last iterates as
    distributions, or None.
    """

    oracle_calls: Tensor
    gap_last: Tensor
    gap_average: Tensor
    calls_to: Tensor
    diverged: Tensor
    log_policy: Tensor
    path: Tensor | None


def run(
    dynamic: Dynamic[StateT],
    preferences: Tensor,
    log_policy: Tensor,
    calls: int,
    record: Sequence[int] | None = None,
    noise: float = 0.0,
    seed: int | Sequence[int] = 0,
    tolerances: Sequence[float] = TOLERANCES,
    keep_path: bool = False,
    chunk_rows: int | None = None,
) -> Trajectory:
    """The dynamic's steps on each row, as many as ``calls`` oracle calls pay for.

    Rows don't know of each other: neither the batch nor the chunks change a row's result but in
    its last bits (noise: see ``noisy_payoffs``). Gaps are exact whatever the noise, and cost no
    oracle calls.

    Args:
        dynamic: its tensors among the hyper-parameters have N rows.
        preferences: (N, R, R) float64 with P + Pᵀ = 1, or (1, R, R), one game for all rows.
        log_policy: (N, R) float64, the start, normalised and finite.
        calls: oracle calls a row, 0 or more.
        record: numbers of calls at which to measure, rising, from 0 to ``calls``; None: the end.
        noise: standard deviation of each payoff's error, 0 or more.
        seed: of the noise, for all rows or a seed a row.
        tolerances: gaps, above 0.
        keep_path: also return the iterates.
        chunk_rows: rows worked on at a time; None: as many as fit ``CHUNK_BYTES``.

    Raises:
        ValueError: all mistakes at once, a line each.
    """
    rows, actions = log_policy.shape if log_policy.ndim == 2 else (0, 0)
    recorded = [calls] if record is None else list(record)
    problems = dynamic.problems() + trajectory_problems(
        preferences, log_policy, calls, recorded, noise, seed, tolerances, _row_values(dynamic)
    )
    if chunk_rows is not None and chunk_rows < 1:
        problems.append(f"chunk_rows: got {chunk_rows}, allowed: 1 or more")
    if problems:
        raise ValueError("\n".join(problems))
    own_game = len(preferences) == rows
    seeds = row_seeds(seed, rows) if isinstance(seed, int) else list(seed)
    if chunk_rows is None:
        # A row that shares its game brings its policy and about as many states of that size.
        row_bytes = 8 * actions * (actions if own_game else 8)
        chunk_rows = max(1, CHUNK_BYTES // row_bytes)
    parts = []
    for start in range(0, rows, chunk_rows):
        part = slice(start, min(start + chunk_rows, rows))
        exact = exact_payoffs(preferences[part] if own_game else preferences)
        parts.append(
            _run_chunk(
                _rows_of(dynamic, part),
                exact,
                with_noise(exact, noise, seeds[part]) if noise > 0 else exact,
                log_policy[part],
                calls,
                recorded,
                tolerances,
                keep_path,
            )
        )
    joined = [torch.cat(column) for column in zip(*parts, strict=True)]
    gap_last, gap_average, calls_to, diverged, last, path = joined
    return Trajectory(
        oracle_calls=torch.tensor(recorded, dtype=torch.int64),
        gap_last=gap_last,
        gap_average=gap_average,
        calls_to=calls_to,
        diverged=diverged,
        log_policy=last,
        path=path if keep_path else None,
    )


def _run_chunk(
    dynamic: Dynamic[StateT],
    exact: Payoffs,
    payoffs: Payoffs,
    log_policy: Tensor,
    calls: int,
    recorded: list[int],
    tolerances: Sequence[float],
    keep_path: bool,
) -> tuple[Tensor, ...]:
    """Trajectory's fields after ``oracle_calls``, for the rows of a chunk."""
    rows, actions = log_policy.shape
    measured = len(recorded)
    gap_last = log_policy.new_empty(rows, measured)
    gap_average = log_policy.new_empty(rows, measured)
    path = log_policy.new_empty(rows, measured if keep_path else 0, actions)
    solved = SolvedSince(rows, tolerances)
    alive = torch.ones(rows, dtype=torch.bool)
    summed = torch.zeros_like(log_policy)
    iterates = torch.zeros(rows, 1, dtype=torch.float64)
    state = dynamic.initial(log_policy)
    price = dynamic.calls_a_step
    last_step = calls // price
    column = 0
    for step in range(last_step + 1):
        policy = state.log_policy.exp()
        # Of a row that has diverged nothing is counted any more.
        all_alive = bool(alive.all())
        summed += policy if all_alive else policy * alive[:, None]
        iterates += 1 if all_alive else alive[:, None]
        gap = _gaps(exact(policy))
        solved.look(gap, step * price, alive)
        while column < measured and recorded[column] // price == step:
            gap_last[:, column] = gap
            gap_average[:, column] = _gaps(exact(summed / iterates))
            if keep_path:
                path[:, column] = policy
            column += 1
        if step < last_step:
            state, alive = _next(dynamic, state, payoffs, alive)
    return gap_last, gap_average, solved.calls, ~alive, state.log_policy, path


def _next(
    dynamic: Dynamic[StateT], state: StateT, payoffs: Payoffs, alive: Tensor
) -> tuple[StateT, Tensor]:
    """The next state, where rows that have diverged keep the last one, and which have not."""
    new = dynamic.step(state, payoffs)
    if bool(alive.all()) and math.isfinite(float(new.log_policy.sum())):
        return new, alive
    alive = alive & new.log_policy.isfinite().all(1)
    return _chosen(alive, new, state), alive


def _chosen(alive: Tensor, new: StateT, old: StateT) -> StateT:
    """Row by row ``new`` where ``alive``, else ``old``; the fields that rows share are new."""
    both = zip(cast("tuple[Any, ...]", new), cast("tuple[Any, ...]", old), strict=True)
    mixed = [
        torch.where(alive.view(-1, *[1] * (a.ndim - 1)), a, b) if isinstance(a, Tensor) else a
        for a, b in both
    ]
    return type(new)(*mixed)


def _gaps(payoffs: Tensor) -> Tensor:
    """2 (max_y P(y ≻ π) − ½), (N,), from P π (N, R): the duality gap (design.md section 2)."""
    return 2 * (payoffs.amax(1) - 0.5)


def _row_values(dynamic: Dynamic[Any]) -> dict[str, Tensor]:
    """The hyper-parameters that are tensors, a number a row."""
    named = {field.name: getattr(dynamic, field.name) for field in fields(cast("Any", dynamic))}
    return {name: value for name, value in named.items() if isinstance(value, Tensor)}


def _rows_of(dynamic: Dynamic[StateT], part: slice) -> Dynamic[StateT]:
    """The dynamic with the hyper-parameters of these rows."""
    values = {name: value[part] for name, value in _row_values(dynamic).items()}
    changed: Dynamic[StateT] = replace(cast("Any", dynamic), **values)
    return changed
