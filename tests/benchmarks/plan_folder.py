"""Writes a made-up plan folder for tests of aggregation; its numbers mean nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import OmegaConf

from benchmarks.plan import plan_hash

SUPPORTS = {"smooth-0": [3, 5, 2], "first_token-0": [4, 4, 1], "bradley_terry-0": [1, 1, 1]}
FLOORS = {"smooth-0": 0.36, "first_token-0": 0.2, "bradley_terry-0": 0.02}
LAST = {
    "moving": {"smooth-0": 0.03, "first_token-0": 0.015, "bradley_terry-0": 0.018},
    "fixed": {"smooth-0": 0.365, "first_token-0": 0.205, "bradley_terry-0": 0.019},
}
COMPARE = (("moving", "fixed"),)
WORDS = (
    "yes",
    "no",
    "maybe",
    "think",
    "the",
    "green",
    "garden",
    "grows",
    "quietly",
    "beside",
    "us",
)


class LetterPanel:
    """Three annotators: more words, fewer words (brevity), more of the letter e."""

    names = ("length", "brevity", "letter")

    def scores(self, prompts: Sequence[str], responses: Sequence[str]) -> torch.Tensor:
        rows = [(len(r.split()), -len(r.split()), r.count("e")) for r in responses]
        return torch.tensor(rows, dtype=torch.float64)

    def votes(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> torch.Tensor:
        left, right = self.scores(prompts, a), self.scores(prompts, b)
        return ((left > right).double() - (left < right).double() + 1) / 2


def exact_entry(
    group: str, variant: str, seed: int, alpha: float = 0.1, never: bool | None = None
) -> dict[str, Any]:
    """A run of the exact task as plan.yaml holds it."""
    still = variant.startswith("fixed") if never is None else never
    config = {
        "seed": seed,
        "variant": variant,
        "task": {"name": "exact", "kind": group.rpartition("-")[0], "game_seed": 0},
        "method": _method(alpha, None if still else 25),
        "train": {"iterations": 300, "prompts": 3, "lr": 0.005},
        "judge": {"name": "matrix"},
    }
    return entry_of(f"exact-{group}-{variant}-s{seed}", "exact", group, config)


def language_entry(variant: str, seed: int, eval_responses: int = 2) -> dict[str, Any]:
    """A run of the language task as plan.yaml holds it; variant initial is the initial policy."""
    initial = variant == "initial"
    config = {
        "seed": seed,
        "variant": variant,
        "task": {"name": "smollm2", "eval_responses": eval_responses},
        "method": _method(0.05, None if variant == "fixed" else 4),
        "train": {"iterations": 0 if initial else 12, "prompts": 8, "lr": 0.0001},
        "judge": {"name": "annotators"},
    }
    name = "smollm2-initial" if initial else f"smollm2-{variant}-s{seed}"
    return entry_of(name, "smollm2", "smollm2", config, "initial" if initial else "train")


def _method(alpha: float, interval: int | None) -> dict[str, Any]:
    return {
        "name": "mpo", "alpha": alpha, "eta": 1.0, "gamma": 1.0, "magnet_interval": interval,
        "opponent": "policy", "kl_gradient": "sequence", "responses": 86, "inner_steps": 4,
    }  # fmt: skip


def entry_of(
    name: str, task: str, group: str, config: dict[str, Any], role: str = "train"
) -> dict[str, Any]:
    """A run of the plan with this config."""
    return {
        "name": name, "variant": config["variant"], "task": task, "group": group,
        "seed": config["seed"], "role": role, "config_hash": f"hash of {name}", "config": config,
    }  # fmt: skip


def write_plan(folder: Path, entries: Sequence[Mapping[str, Any]], **fields: Any) -> None:
    """Write plan.yaml with the entries as its runs; fields override the plan's own."""
    plan = {
        "schema": 1, "kind": "ablation", "name": "fixed_ref", "title": "Made-up plan",
        "question": "Is this a test?", "command": "python benchmarks/run.py ablation=fixed_ref",
        "commit": "0123abc", "dirty": False, "versions": {}, "inputs": {}, "hash": "",
        "compare": [list(pair) for pair in COMPARE], "runs": [dict(entry) for entry in entries],
    } | fields  # fmt: skip
    plan["hash"] = plan_hash(plan)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(plan)), "utf-8")


def write_exact_run(folder: Path, entry: Mapping[str, Any], last: float | None = None) -> None:
    """Write the result and curves of a run; last is its gap_last."""
    group, seed, variant = entry["group"], entry["seed"], entry["variant"]
    noise = np.random.default_rng([seed, len(variant), len(group)])
    floor = FLOORS[group] * (1 + 0.02 * noise.standard_normal())
    if last is None:
        last = LAST[variant][group] * float(np.exp(0.1 * noise.standard_normal()))
    iterations = np.arange(0, 301, 10)
    start = FLOORS[group] * 1.8 + 0.05
    wobble = np.exp(0.08 * noise.standard_normal(iterations.size))
    curve = last + (start - last) * np.exp(-iterations / 60) * wobble
    curve[-1] = last
    average = np.cumsum(curve) / np.arange(1, curve.size + 1)
    place = write_result(folder, entry, {
        "gap_initial": start, "gap_last": last, "gap_average": float(average[-1]),
        "gap_regularised": floor, "gap_regularised_sequence": floor,
        "gap_regularised_per_token": floor * 0.88, "equilibrium_support": SUPPORTS[group],
        "kl_reference": 1.5, "response_length": 2.6, "iterations": 300,
    })  # fmt: skip
    frame = pd.DataFrame({"iteration": iterations, "gap_last": curve, "gap_average": average})
    frame.to_csv(place / "curves.csv", index=False)
    sample = {
        "prompt": "1 2",
        "response": "0 3",
        "prob_initial": 0.01,
        "prob": 0.2,
        "prob_magnet": 0.1,
    }
    (place / "samples.jsonl").write_text(json.dumps(sample) + "\n", "utf-8")


def write_language_run(
    folder: Path, entry: Mapping[str, Any], mean_words: float = 8.0, prompts: int = 20
) -> None:
    """Write the result and samples of a run whose responses have about mean_words words."""
    draws = np.random.default_rng([entry["seed"], len(entry["name"]), 7])
    place = write_result(folder, entry, {
        "kl_reference": 0.4, "response_length": mean_words, "truncated": 0.1, "empty": 0.0,
        "one_word": 0.0, "repeated_ngram": 0.0, "magnet_moves": 3, "iterations": 12,
    })  # fmt: skip
    lines = []
    for number in range(prompts):
        for index in range(entry["config"]["task"]["eval_responses"]):
            size = max(1, int(draws.poisson(mean_words)))
            lines.append({
                "prompt_id": 2**62 + number, "prompt": f"Question {number}?", "index": index,
                "response": " ".join(draws.choice(WORDS, size)), "tokens": size + 1,
                "ended": bool(draws.random() < 0.9),
            })  # fmt: skip
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (place / "samples.jsonl").write_text(text, "utf-8")
    pd.DataFrame({"iteration": [0, 12], "loss": [0.0, -0.1]}).to_csv(
        place / "curves.csv", index=False
    )


def write_failure(folder: Path, entry: Mapping[str, Any], message: str) -> None:
    """Write the error.json of a run that failed in iteration 7."""
    place = folder / "runs" / entry["name"]
    place.mkdir(parents=True)
    error = {"message": message, "traceback": "Traceback …", "iteration": 7}
    (place / "error.json").write_text(json.dumps(error), "utf-8")


COUNTS = {"samples": 77_400, "judge_calls": 77_000, "tokens": 200_000}


def write_result(
    folder: Path,
    entry: Mapping[str, Any],
    metrics: dict[str, Any],
    counts: Mapping[str, int] = MappingProxyType(COUNTS),
) -> Path:
    """Write a run's result.json; returns the run's folder."""
    place = folder / "runs" / entry["name"]
    place.mkdir(parents=True)
    result = {
        "schema": 1, **{k: v for k, v in entry.items() if k != "config"}, "metrics": metrics,
        "counts": dict(counts),
        "seconds": {"wall": 21.5, "cpu": 20.0, "sampling": 5.0, "scoring": 3.0, "update": 9.0},
        "peak_memory_mib": 640.0, "environment": {"commit": "0123abc", "dirty": False}, "notes": [],
    }  # fmt: skip
    (place / "result.json").write_text(json.dumps(result), "utf-8")
    return place


def exact_plan(folder: Path, groups: Sequence[str] = tuple(SUPPORTS), seeds: int = 5) -> None:
    """A whole exact plan: moving and fixed on the groups, all runs done."""
    entries = [
        exact_entry(group, variant, seed)
        for group in groups
        for seed in range(seeds)
        for variant in ("moving", "fixed")
    ]
    write_plan(folder, entries)
    for entry in entries:
        write_exact_run(folder, entry)


def language_plan(
    folder: Path, seeds: int = 2, words: Mapping[str, float] | None = None, **fields: Any
) -> None:
    """A whole language plan: the initial policy, and moving and fixed on the seeds."""
    mean_words = {"initial": 10.0, "moving": 6.0, "fixed": 6.0} | dict(words or {})
    trained = [language_entry(name, s) for s in range(seeds) for name in ("moving", "fixed")]
    entries = [language_entry("initial", 0), *trained]
    write_plan(folder, entries, **fields)
    for entry in entries:
        write_language_run(folder, entry, mean_words[entry["variant"]])
