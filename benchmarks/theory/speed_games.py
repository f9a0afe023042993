"""`python benchmarks/speed.py games`: what an iteration costs, against OpenSpiel and the machine.

Kuhn poker: the same step (MMD with dilated entropy and OpenSpiel's magnet, α = η = 0.1) by both,
in turn, in CPU seconds of one thread: for one run, and a batch of runs with other α and η each.
Matrix games: MPO on 1,000 random 100-action games, with the floating-point operations of P π alone
set against a large matrix product by the same threads, a CPU second for a CPU second.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from tabulate import tabulate
from torch import Tensor

from mpo.games.dynamics.magnetic import MPO
from mpo.games.dynamics.trajectory import run
from mpo.games.extensive.dilated import DilatedMMD, entropy_magnet
from mpo.games.extensive.kuhn import kuhn_poker
from mpo.games.extensive.passes import Passes
from mpo.games.extensive.payoffs import exact_payoffs
from mpo.games.extensive.sequence_form import sequence_form
from mpo.games.matrix_families import initial_policies, matrix_game

STEP = 0.1
"""α and η of the single run."""
RUNS = 1_000
"""Of the batch on Kuhn poker."""
REPEATS = 7
GAMES, ACTIONS, ITERATIONS = 1_000, 100, 1_000
CORES = 2
PRODUCT = 1_500
"""Rows of the square matrices whose product is the machine's peak."""


def games_table() -> str:
    """Both tables."""
    return f"{_kuhn_table()}\n\n{_matrix_table()}"


def _kuhn_table() -> str:
    singles, batches, theirs = [], [], []
    single, batch, other = _our_steps(1), _our_steps(RUNS), _their_steps()
    for _ in range(REPEATS):
        theirs.append(_cpu_seconds(other, 20))
        singles.append(_cpu_seconds(single, 500))
        batches.append(_cpu_seconds(batch, 50) / RUNS)
    spent = {"one run": singles, f"each of {RUNS:,} runs at once": batches}
    reference = statistics.median(theirs)
    rows = [["OpenSpiel's mmd_dilated", f"{reference * 1e6:,.0f}", f"{1 / reference:,.0f}", "1"]]
    for label, seconds in spent.items():
        ours = statistics.median(seconds)
        ratio = f"{reference / ours:,.0f}"
        rows.append([label, f"{ours * 1e6:,.2f}", f"{1 / ours:,.0f}", ratio])
    headers = ["Kuhn poker, MMD", "µs an iteration", "iterations a second", "times OpenSpiel's"]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


def _our_steps(runs: int) -> Callable[[int], object]:
    """Iterations from the start, as many as are asked for."""
    form = sequence_form(kuhn_poker())
    spread = torch.linspace(STEP, 2 * STEP, runs, dtype=torch.float64)[:, None]
    dynamic = DilatedMMD(STEP, STEP) if runs == 1 else DilatedMMD(spread, spread)
    start = form.uniform.log()[:, None].repeat(1, runs)
    begun = dynamic.initial(start)._replace(log_magnet=entropy_magnet(form).repeat(1, runs))
    passes, payoffs = Passes(form, runs), exact_payoffs(form)

    def steps(count: int) -> Tensor:
        state = begun
        with torch.inference_mode():
            for _ in range(count):
                state = dynamic.step(state, passes, payoffs)
        return state.log_policy

    return steps


def _their_steps() -> Callable[[int], object]:
    import pyspiel
    from open_spiel.python.algorithms.mmd_dilated import MMDDilatedEnt

    solver = MMDDilatedEnt(pyspiel.load_game("kuhn_poker"), alpha=STEP, stepsize=STEP)

    def steps(count: int) -> None:
        for _ in range(count):
            solver.update_sequences()

    return steps


def _matrix_table() -> str:
    """A thread a core, each with its share of the games; the peak with a product a thread."""
    cores = min(CORES, os.cpu_count() or 1)
    preferences = torch.stack(
        [matrix_game("random_logistic", seed, ACTIONS) for seed in range(GAMES)]
    )
    start = initial_policies(range(GAMES), ACTIONS).log()
    shares = [slice(core, None, cores) for core in range(cores)]
    square = torch.rand(PRODUCT, PRODUCT, dtype=torch.float64)
    with ThreadPoolExecutor(cores) as pool:
        product = min(
            _seconds(lambda: list(pool.map(lambda _: square @ square, shares))).cpu
            for _ in range(REPEATS)
        )
        seconds = _seconds(
            lambda: list(
                pool.map(
                    lambda share: run(MPO(), preferences[share], start[share], ITERATIONS), shares
                )
            )
        )
    peak = 2 * PRODUCT**3 * cores / product
    rate = 2 * GAMES * ACTIONS**2 * ITERATIONS / seconds.cpu
    rows = [
        [f"MPO, {GAMES:,} games × {ITERATIONS:,} iterations, seconds", f"{seconds.wall:.1f}"],
        ["CPU seconds a core, without waiting", f"{seconds.cpu / cores:.1f}"],
        ["P π alone, GFLOP a CPU second", f"{rate / 1e9:.2f}"],
        [f"product of {PRODUCT:,} × {PRODUCT:,}, GFLOP a CPU second", f"{peak / 1e9:.2f}"],
        ["share of that peak", f"{rate / peak:.1%}"],
    ]
    headers = [f"matrix games of {ACTIONS} actions, {cores} cores", ""]
    return tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)


class _Spent(NamedTuple):
    """Seconds of one call."""

    wall: float
    cpu: float


def _cpu_seconds(steps: Callable[[int], object], count: int) -> float:
    """CPU seconds of an iteration."""
    steps(2)
    start = time.process_time()
    steps(count)
    return (time.process_time() - start) / count


def _seconds(way: Callable[[], object]) -> _Spent:
    wall, cpu = time.perf_counter(), time.process_time()
    way()
    return _Spent(time.perf_counter() - wall, time.process_time() - cpu)
