"""Runs that stand in for training: each does one thing that execution must cope with."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.atomic import write_json

Report = Callable[[dict[str, Any]], None]


class BadLoss(RuntimeError):
    """A failure that knows its iteration and batch, as the engine's do."""

    iteration = 3
    batch = (1.0, float("nan"))


def succeed(run: dict[str, Any], folder: Path, report: Report) -> None:
    """Report two iterations and leave a result."""
    for iteration in (1, 2):
        report({"iteration": iteration, "iterations": 2, "loss": 0.5})
    with open(folder / "started.txt", "a", encoding="utf-8") as file:
        file.write("started\n")
    write_json(folder / "result.json", result(run))


def fail_on_fixed(run: dict[str, Any], folder: Path, report: Report) -> None:
    """The variant `fixed` raises, the others succeed."""
    if run["variant"] == "fixed":
        raise BadLoss("loss: got nan, allowed is a finite number")
    succeed(run, folder, report)


def die_on_fixed(run: dict[str, Any], folder: Path, report: Report) -> None:
    """The variant `fixed` is killed, as by a machine out of memory."""
    if run["variant"] == "fixed":
        print("the last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    succeed(run, folder, report)


def forget_result(run: dict[str, Any], folder: Path, report: Report) -> None:
    """Return without a result."""


def slow(run: dict[str, Any], folder: Path, report: Report) -> None:
    """Leave the process id and stay, unless the game's seed says that the run is quick."""
    if run["seed"] == 0:
        return succeed(run, folder, report)
    signal.signal(signal.SIGTERM, _raise)  # as Lightning does
    (folder / "process.txt").write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(120)


def _raise(number: int, frame: object) -> None:
    raise RuntimeError("asked to end")


def environment(run: dict[str, Any], folder: Path, report: Report) -> None:
    """Leave what the process was given as its result's metrics."""
    names = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    values = {name: os.environ.get(name) for name in names}
    write_json(folder / "result.json", result(run) | {"environment": values})


def result(run: dict[str, Any]) -> dict[str, Any]:
    """The smallest valid result."""
    keys = ("name", "variant", "task", "group", "seed", "role", "config_hash")
    metrics = {"gap_last": 0.25 if run["variant"] == "fixed" else 0.125}
    return {"schema": 1, **{key: run[key] for key in keys}, "metrics": metrics}
