"""Writes a made-up comparison of methods for tests of aggregation; its numbers mean nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.aggregate import collect
from benchmarks.plan_results import PlanResults, read_plan
from tests.benchmarks.plan_folder import (
    SUPPORTS,
    LetterPanel,
    entry_of,
    language_entry,
    write_language_run,
    write_plan,
    write_result,
)

METHODS: dict[str, dict[str, Any]] = {
    "mpo": {"name": "mpo", "alpha": 0.1, "eta": 2.0, "gamma": 1.0, "magnet_interval": 15,
            "opponent": "policy", "kl_gradient": "sequence", "responses": 16, "inner_steps": 4,
            "proximal": "kl", "self_play": True},
    "mpo_clip": {"name": "mpo_clip", "alpha": 0.1, "eta": 2.0, "gamma": 1.0, "magnet_interval": 15,
                 "opponent": "policy", "kl_gradient": "sequence", "responses": 16,
                 "inner_steps": 4, "proximal": "clip", "self_play": True},
    "ppo": {"name": "ppo", "responses": 16, "inner_steps": 4, "beta": 0.1, "gamma": 1.0},
    "iterative_dpo_8": {"name": "iterative_dpo_8", "responses": 8, "beta": 0.1,
                        "selection": "reward", "inner_steps": 2},
    "free": {"name": "free"},
}  # fmt: skip
"""Method sections that have little in common; `free` has no setting at all."""

TARGETS = {
    "mpo": ("Nash equilibrium", None),
    "mpo_clip": ("Nash equilibrium", None),
    "ppo": ("tilted reference", 0.03),
    "iterative_dpo_8": ("iterated population DPO", 0.3),
}
"""Own target and distance to it; `free` has none."""

GAPS = {"mpo": 0.01, "mpo_clip": 0.02, "ppo": 0.3, "iterative_dpo_8": 0.4, "free": 0.25}
BRADLEY_TERRY_GAPS = {"mpo": 0.004, "mpo_clip": 0.006, "ppo": 0.02, "iterative_dpo_8": 0.01}

BUDGET = {"unit": "samples", "amount": 48_000, "amounts": {"exact": 48_000}}


def method_entry(
    group: str, variant: str, seed: int, rounds: int = 1, task: str = "exact"
) -> dict[str, Any]:
    """A run of a method on a game as plan.yaml holds it."""
    kind, _, game_seed = group.rpartition("-")
    config = {
        "seed": seed,
        "variant": variant,
        "task": {"name": task, "kind": kind, "game_seed": int(game_seed)},
        "method": dict(METHODS[variant]),
        "train": {"iterations": 100, "prompts": 3, "lr": 0.003, "rounds": rounds},
        "judge": {"name": "matrix"},
    }
    return entry_of(f"exact-{group}-{variant}-s{seed}", task, group, config)


def write_method_run(
    folder: Path, entry: Mapping[str, Any], last: float | None = None, target: bool = True
) -> None:
    """Write the result, curves and samples of a run; last is its gap_last."""
    group, variant, seed = entry["group"], entry["variant"], entry["seed"]
    gaps = BRADLEY_TERRY_GAPS if group.startswith("bradley_terry") else {}
    goal = gaps.get(variant, GAPS[variant])
    noise = np.random.default_rng([seed, len(variant)])
    last = goal * float(np.exp(0.03 * noise.standard_normal())) if last is None else last
    responses = entry["config"]["method"].get("responses", 4)
    iterations = np.arange(0, 101, 5)
    curve = last + (0.5 - last) * np.exp(-iterations / 20)
    curve[-1] = last
    average = np.cumsum(curve) / np.arange(1, curve.size + 1)
    metrics: dict[str, Any] = {
        "gap_initial": 0.5, "gap_last": last, "gap_average": float(average[-1]),
        "equilibrium_support": SUPPORTS[group], "kl_reference": 1.5, "response_length": 2.6,
        "iterations": 100, "target": "",
        "rounds": [
            {"round": r, "iteration": 100 * r // rounds, "gap_last": last / r + 0.1 / r,
             "gap_average": last, "kl_reference": 1.0, "response_length": 2.0}
            for rounds in [entry["config"]["train"]["rounds"]] if rounds > 1
            for r in range(1, rounds + 1)
        ],
    }  # fmt: skip
    name, distance = TARGETS.get(variant, ("", None)) if target else ("", None)
    if name:
        solved = 0.0 if name.startswith("Nash") else goal
        metrics |= {"target": name, "gap_target": solved}
        metrics |= {} if distance is None else {"tv_target": distance}
    place = write_result(folder, entry, metrics, counts={
        "prompts": 300, "samples": 300 * responses, "judge_calls": 300, "tokens": 900 * responses,
        "optimizer_steps": 400,
    })  # fmt: skip
    pd.DataFrame({
        "iteration": iterations, "gap_last": curve, "gap_average": average,
        "samples": 3 * iterations * responses,
    }).to_csv(place / "curves.csv", index=False)  # fmt: skip
    rows = [
        {"prompt": prompt, "response": response, "prob_initial": 0.01, "prob": 0.5 - 0.1 * rank,
         "prob_magnet": 0.1, **({"prob_target": 0.4 - 0.1 * rank} if distance else {})}
        for prompt in ("1 2", "0 1") for rank, response in enumerate(("0 3", "2", "1 1"))
    ]  # fmt: skip
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (place / "samples.jsonl").write_text(text, "utf-8")


def comparison_plan(
    folder: Path,
    variants: Sequence[str] = tuple(METHODS),
    groups: Sequence[str] = tuple(SUPPORTS),
    seeds: int = 5,
    rounds: int = 1,
    **fields: Any,
) -> None:
    """A whole comparison on the exact task: every variant on every game, all runs done."""
    entries = [
        method_entry(group, variant, seed, rounds)
        for group in groups
        for seed in range(seeds)
        for variant in variants
    ]
    write_plan(folder, entries, **(experiment(variants) | fields))
    for entry in entries:
        write_method_run(folder, entry)


def experiment(variants: Sequence[str]) -> dict[str, Any]:
    """The fields of plan.yaml that make a plan a comparison of the variants."""
    return {
        "kind": "experiment", "name": "compare", "title": "Made-up comparison", "size": "full",
        "command": "python benchmarks/run.py experiment=compare", "budget": BUDGET,
        "compare": [[variants[0], other] for other in variants[1:]],
    }  # fmt: skip


def language_comparison(folder: Path, rounds: int = 1, seeds: int = 2) -> None:
    """A comparison of mpo and ppo on the language task; rounds before the last have samples too."""
    names = ("mpo", "ppo")
    entries = [language_entry("initial", 0)]
    for seed in range(seeds):
        for name in names:
            entry = language_entry(name, seed)
            entry["config"]["method"] = dict(METHODS[name])
            entry["config"]["train"]["rounds"] = rounds
            entries.append(entry)
    budget = {"unit": "tokens", "amount": 9_000, "amounts": {"smollm2": 9_000}}
    write_plan(folder, entries, **(experiment(names) | {"budget": budget}))
    for entry in entries:
        words = 10.0 if entry["role"] == "initial" else 5.0
        write_language_run(folder, entry, words)
        if entry["role"] == "train" and rounds > 1:
            write_rounds(folder, entry, rounds)


def write_rounds(folder: Path, entry: Mapping[str, Any], rounds: int) -> None:
    """Give a run's result its rounds; those before the last answer with the initial policy's."""
    place = folder / "runs" / entry["name"]
    result = json.loads((place / "result.json").read_text("utf-8"))
    result["metrics"]["rounds"] = [{"round": r, "iteration": 4 * r} for r in range(1, rounds + 1)]
    (place / "result.json").write_text(json.dumps(result), "utf-8")
    for r in range(1, rounds):
        initial = (folder / "runs" / "smollm2-initial" / "samples.jsonl").read_text("utf-8")
        (place / f"samples_round{r}.jsonl").write_text(initial, "utf-8")


Read = tuple[pd.DataFrame, PlanResults]


def read(folder: Path) -> Read:
    """The folder's table, made anew, and its runs."""
    results = read_plan(folder)
    return collect(results, LetterPanel), results
