"""Executes a stage: load, train, measure, keep the model, write result.json."""

from __future__ import annotations

import logging
import math
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from benchmarks.atomic import write_csv, write_json, written_aside
from benchmarks.config_folder import CONFIG, RESULT
from benchmarks.elapsed import Elapsed
from benchmarks.environment import environment
from benchmarks.plan import PlanError
from benchmarks.progress import INTERVAL, numbers_words
from benchmarks.stages.figure import draw_curve
from benchmarks.stages.folder import MODEL, PAIRS, STAGE_FOLDER
from benchmarks.stages.kinds import STAGES, held_out_summary
from benchmarks.stages.schema import SCHEMA
from benchmarks.stages.sources import Config
from mpo.bundled import load_causal_model
from mpo.chat import ChatFormat
from mpo.clock import PhaseClock
from mpo.optimization import OptimizerSettings
from mpo.policy import Policy
from mpo.training.data import Parts
from mpo.training.fit import Machine, Row, fit_stage
from mpo.training.module import StageInputError, StageSettings


def execute_stage(
    config: Config, inputs: dict[str, str], folder: Path, parts: Parts[Any] | None
) -> dict[str, Any]:
    """Run a stage in its folder from the start; returns what it writes to result.json.

    Args:
        config: as `resolve` gives it.
        inputs: sha256 of the files that the config names.
        folder: new, or left by a stage with the same config that did not end.
        parts: the records, or None when they are sampled from the model.

    Raises PlanError for a config that does not fit the model or the records, StageLossError for a
    loss that is not finite.
    """
    elapsed, clock = Elapsed(), PhaseClock()
    torch.set_num_threads(config["threads"])
    # Its tips and its list of devices say nothing about the stage.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    stage = STAGES[config["stage"]]
    with refusing(folder, ValueError):
        with clock.phase("loading"):
            policy, chat = _load(config)
            trainable = stage.build(config, policy, chat)
        clear(folder)
        folder.mkdir(parents=True, exist_ok=True)
        STAGE_FOLDER.write(folder, config, inputs)
        if parts is None:
            print(f"sampling and labelling {config['data']['source']} pairs", flush=True)
            with clock.phase("sampling"):
                parts = stage.sample(config, policy, chat, folder)
    strategy = config["strategy"]
    with refusing(folder, StageInputError):
        fitted = fit_stage(
            trainable,
            parts.training,
            parts.held_out,
            stage_settings(config, len(parts.training)),
            folder,
            Watch(folder),
            Machine(strategy["name"], strategy["zero_stage"], config["device"].split(":")[0]),
        )
    write_csv(folder / "curves.csv", fitted.curve)
    with written_aside(folder / "curve.png") as aside:
        title = f"stage {config['stage']}, {config['data']['source']}"
        draw_curve(fitted.curve, title).savefig(aside)
    trainable.requires_grad_(False)
    with clock.phase("measuring"):
        measured = stage.measure(trainable, parts, config)
    metrics = {**held_out_summary(fitted.curve), **measured}
    about = {"model": config["model"]["path"], "stage": config, "metrics": metrics}
    with clock.phase("saving"):
        stage.save(trainable, folder / MODEL, about)
    result = {
        "schema": SCHEMA,
        "stage": config["stage"],
        "metrics": metrics,
        "counts": fitted.counts,
        "seconds": {
            **elapsed.seconds(),
            **{name: round(s, 3) for name, s in {**clock.seconds, **fitted.seconds}.items()},
        },
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "environment": environment(config["device"]),
        "inputs": inputs,
        "notes": _notes(fitted.counts),
    }
    write_json(folder / RESULT, result)
    return result


def stage_settings(config: Config, records: int) -> StageSettings:
    """The engine's settings; a warm-up given as a share becomes steps of `records` records."""
    train = config["train"]
    steps = train["epochs"] * -(-records // train["batch_size"])
    warmup = train["warmup"]
    optimizer = OptimizerSettings(
        lr=train["lr"],
        critic_lr=train["head_lr"],
        betas=(train["betas"][0], train["betas"][1]),
        weight_decay=train["weight_decay"],
        schedule=train["schedule"],
        warmup_steps=math.ceil(warmup * steps) if warmup < 1 else int(warmup),
        clip_norm=train["clip_norm"],
    )
    return StageSettings(
        epochs=train["epochs"],
        batch_size=train["batch_size"],
        width=train["width"],
        optimizer=optimizer,
        packing=train["packing"],
        micro_rows=train["micro_rows"],
        eval_every=train["eval_every"],
        seed=config["seed"],
    )


@contextmanager
def refusing(folder: Path, kind: type[ValueError]) -> Iterator[None]:
    """Turn an error of a kind into a PlanError, and leave nothing in the folder for it."""
    try:
        yield
    except kind as error:
        clear(folder)
        raise PlanError([str(error)]) from error


def clear(folder: Path) -> None:
    """Remove what an unfinished stage wrote, and the folder when nothing else is in it."""
    for name in (MODEL, "tensorboard"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (CONFIG, PAIRS, "curves.csv", "curve.png"):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _load(config: Config) -> tuple[Policy, ChatFormat]:
    """The model to start from, and its chat format. Raises ValueError."""
    model, tokenizer = load_causal_model(config["model"]["path"])
    most, width = getattr(model.config, "max_position_embeddings", None), config["train"]["width"]
    if most is not None and width > most:
        raise ValueError(
            f"train.width: got {width}, allowed is at most the model's {most} positions"
        )
    policy = Policy(model.to(config["device"]), config["model"]["train_blocks"])
    if config["train"]["gradient_checkpointing"]:
        policy.enable_gradient_checkpointing()
    return policy, ChatFormat(tokenizer, config["data"]["system_prompt"])


def _notes(counts: dict[str, int]) -> list[str]:
    """What a reader of the numbers must know."""
    return [
        f"{counts[key]} {words} were longer than train.width and are left out"
        for key, words in (
            ("too_long", "training records"),
            ("held_out_too_long", "held-out records"),
        )
        if counts[key]
    ]


class Watch:
    """Prints a line now and then, and keeps curves.csv up to date where it does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rows = folder, list[Row]()
        self.shown = -math.inf

    def __call__(self, row: Row, total: int) -> None:
        """After a step: its row of the curve, and the number of steps."""
        self.rows.append(row)
        now = time.monotonic()
        if "held_out_loss" in row or now - self.shown >= INTERVAL:
            self.shown = now
            numbers = {
                name: value for name, value in row.items() if name in ("loss", "held_out_loss")
            }
            words = ", ".join(filter(None, [f"step {row['step']}/{total}", numbers_words(numbers)]))
            print(f"  {words}", flush=True)
            write_csv(self.folder / "curves.csv", self.rows)
