"""What a run is expected to cost, for --dry-run and for the time left before anything is measured.

CPU-seconds of one thread of a 2-core AVX2 machine; another machine is faster or slower by a factor,
which the progress display measures as it goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.schema import make_objective

PER_RESPONSE = {"exact": 1.5e-4, "smollm2": 0.48}
"""CPU-seconds a trained response and iteration, at the task's default model and lengths.

exact: 360 iterations of 3 × 128 responses in 21 CPU-seconds, four inner steps. smollm2: 16
iterations of 4 × 8 responses of at most 24 tokens, two inner steps, last 2 of 30 blocks.
"""

CRITIC = 1.7
"""Factor for a method with a critic, a second model of the policy's size that trains beside it:
PPO against MPO on the exact task."""

START = {"exact": 2.0, "smollm2": 10.0}
"""CPU-seconds to build a run's models and games."""

EVALUATION = {"exact": 0.0, "smollm2": 0.29}
"""CPU-seconds a response of the final evaluation (language task only)."""


def run_cost(config: Mapping[str, Any]) -> float:
    """Expected CPU-seconds of a run from its config."""
    task, train = config["task"], config["train"]
    name = task["name"]
    needs = make_objective(config["method"]).needs()
    responses = train["iterations"] * train["prompts"] * needs.responses
    each = PER_RESPONSE[name] * (CRITIC if needs.values else 1.0)
    evaluated = task.get("eval_prompts", 0) * task.get("eval_responses", 0)
    return START[name] + each * responses + EVALUATION[name] * evaluated


def plan_cost(runs: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Expected CPU-seconds of a plan's runs by task."""
    costs: dict[str, float] = {}
    for run in runs:
        costs[run["task"]] = costs.get(run["task"], 0.0) + run_cost(run["config"])
    return costs
