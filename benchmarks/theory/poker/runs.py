"""The runs of `experiment=figure1`: a curve for each method and seed, kept in a file of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.atomic import write_json
from benchmarks.theory.dynamics.experiment import recorded
from benchmarks.theory.experiments import Config
from mpo.games.extensive.passes import Passes
from mpo.games.extensive.payoffs import exact_payoffs
from mpo.games.extensive.protocol import TreeDynamic
from mpo.games.extensive.sequence_form import plan_of, random_log_policies
from mpo.games.extensive.trajectory import run_tree
from mpo.games.extensive.values import nash_conv
from mpo.objectives import Objective
from mpo.seats.seating import Seating, sequence_policy
from mpo.seats.training import SeatTrainer, SeatTraining

TIMED_STEPS = 200
"""Steps of a tabular dynamic of which the time of one is the mean."""


class Curve(NamedTuple):
    """One run, measured K times; the first is before anything was done."""

    method: str
    seed: int
    iterations: list[int]
    oracle_calls: list[int] | None
    """Passes over the whole tree; None for a neural method."""
    episodes: list[int] | None
    """None for a tabular method."""
    seconds: list[float]
    """Of CPU time, without measuring."""
    gap_last: list[float]
    """NashConv of the last iterate, the duality gap."""
    gap_average: list[float] | None
    """Of the average plan; None for a neural method."""


def curves(name: str, method: Any, seats: Seating, config: Config, out: Path) -> list[Curve]:
    """A method's curves, one a seed: those that are kept in `out`, and the others run now."""
    kept = {seed: out / f"{name}-{seed}.json" for seed in config["seeds"]}
    missing = [seed for seed, file in kept.items() if not file.is_file()]
    if missing:
        many = f"{len(missing)} seeds" if len(missing) > 1 else "1 seed"
        print(f"{name} on {seats.tree.name}: {many}", flush=True)
    if isinstance(method, TreeDynamic):
        for curve in tabular(name, method, seats, missing, config["calls"]) if missing else []:
            write_json(kept[curve.seed], curve._asdict())
    else:
        for seed in missing:
            write_json(kept[seed], neural(name, method, seats, seed, config)._asdict())
    return [Curve(**json.loads(file.read_text(encoding="utf-8"))) for file in kept.values()]


def tabular(
    name: str, dynamic: TreeDynamic[Any], seats: Seating, seeds: Sequence[int], calls: int
) -> list[Curve]:
    """Each seed starts at a policy of its own; all of them are stepped at once."""
    form = seats.form
    steps = recorded(max(1, calls // dynamic.calls_a_step))
    counted = [step * dynamic.calls_a_step for step in steps]
    starts = random_log_policies(form, seeds)
    found = run_tree(dynamic, form, starts, counted[-1], counted)
    each = seconds_a_step(dynamic, seats)
    return [
        Curve(
            name,
            seed,
            steps,
            counted,
            None,
            [step * each for step in steps],
            found.gap_last[place].tolist(),
            found.gap_average[place].tolist(),
        )
        for place, seed in enumerate(seeds)
    ]


def seconds_a_step(dynamic: TreeDynamic[Any], seats: Seating) -> float:
    """CPU seconds of a step of one run by itself."""
    form = seats.form
    state = dynamic.initial(random_log_policies(form, [0]))
    passes, payoffs = Passes(form, 1), exact_payoffs(form)
    state = dynamic.step(state, passes, payoffs)
    before = time.process_time()
    for _ in range(TIMED_STEPS):
        state = dynamic.step(state, passes, payoffs)
    return (time.process_time() - before) / TIMED_STEPS


def settings_of(name: str, config: Config) -> SeatTraining:
    """The training of a neural method; iterations are what the episodes pay for."""
    training = dict(config["training"])
    rollout = training.pop("rollout")
    return SeatTraining(
        iterations=max(1, config["episodes"] // rollout),
        episodes=rollout,
        lr=config["lr"][name],
        **training,
    )


def neural(
    name: str, objective: Objective[Any], seats: Seating, seed: int, config: Config
) -> Curve:
    """Train a network; the gap is exact, of the policy that it is on all information sets."""
    settings = settings_of(name, config)
    trainer = SeatTrainer(objective, seats, settings, seed)
    seconds, gaps, spent = [], [], 0.0
    measured = recorded(settings.iterations)
    for iteration in measured:
        before = time.process_time()
        while trainer.iterations_done < iteration:
            trainer.iteration()
        spent += time.process_time() - before
        seconds.append(spent)
        with torch.no_grad():
            policy = sequence_policy(seats, trainer.log_policy())
        gaps.append(float(nash_conv(seats.form, plan_of(seats.form, policy))))
    episodes = [iteration * settings.episodes for iteration in measured]
    return Curve(name, seed, measured, None, episodes, seconds, gaps, None)
