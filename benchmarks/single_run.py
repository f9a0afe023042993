"""Executes one run of a plan: train, evaluate, write result.json."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path
from typing import Any

import torch

from benchmarks.atomic import write_json
from benchmarks.build import build
from benchmarks.built import Built
from benchmarks.elapsed import Elapsed
from benchmarks.environment import environment
from benchmarks.recorder import Recorder, Report
from mpo import checkpoint
from mpo.data import PromptDataModule
from mpo.judges.protocol import Judge
from mpo.trainer import fit_once

RESULT_SCHEMA = 1


def execute_run(
    run: dict[str, Any], folder: Path, report: Report, judge: Judge | None = None
) -> None:
    """Train and evaluate the run into its folder, from its last checkpoint if there is one.

    Args:
        run: an entry of the plan's `runs`.
        folder: the run's folder, which exists.
        report: called after each iteration with its number and measures.
        judge: who compares responses in training; None: the config's judge.

    Raises NonFiniteLossError, CheckpointError, and what building the run raises.
    """
    elapsed = Elapsed()
    torch.set_num_threads(run["config"]["threads"])
    built = build(run, judge)
    if built.iterations is None:
        built.evaluation.start(built.module)
    else:
        _fit(run, built, folder, report, elapsed)
    module = built.module
    with module.clock.phase("evaluation"), torch.no_grad():
        metrics = built.evaluation.finish(module, folder)
    if module.logger is not None:
        module.logger.finalize("success")
    if module.iterations_done:
        checkpoint.save_policy(module.policy, folder / "policy.safetensors")
    write_json(
        folder / "result.json",
        {
            "schema": RESULT_SCHEMA,
            **{key: run[key] for key in ("name", "variant", "task", "group", "seed", "role")},
            "config_hash": run["config_hash"],
            "metrics": {**metrics, "iterations": module.iterations_done},
            "counts": {
                "prompts": module.iterations_done * run["config"]["train"]["prompts"],
                **module.counts,
                "optimizer_steps": module.iterations_done * module.needs.inner_steps,
            },
            "seconds": {
                **elapsed.seconds(),
                **{name: round(value, 3) for name, value in module.clock.seconds.items()},
            },
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "environment": environment(run["config"]["device"]),
            "notes": [],
        },
    )
    # A finished run is never resumed; its weights are in policy.safetensors.
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _fit(run: dict[str, Any], built: Built, folder: Path, report: Report, elapsed: Elapsed) -> None:
    config = run["config"]
    kept = checkpoint.saved(folder / "checkpoints")
    resumed = (kept[-1], checkpoint.read(kept[-1])) if kept else None
    start = resumed[1]["iterations_done"] if resumed else 0
    assert built.iterations is not None
    train, strategy = config["train"], config["strategy"]
    recorder = Recorder(
        built.evaluation,
        folder,
        train["eval_every"],
        train["checkpoint_every"],
        resumed,
        report,
        elapsed,
    )
    fit_once(
        built.module,
        PromptDataModule(built.iterations, start),
        folder,
        strategy=strategy["name"],
        zero_stage=strategy["zero_stage"],
        clip_norm=train["clip_norm"],
        device=config["device"].split(":")[0],
        callbacks=[recorder],
        purge_step=start + 1 if resumed else None,
    )
