"""A run that is killed at any moment and started again gives the same numbers, bit for bit."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks import single_run
from benchmarks.single_run import execute_run
from mpo import checkpoint
from tests.benchmarks.tiny_command import EXACT, finish, outcome, planned_runs, popen

LONG = {**EXACT, "train.iterations": 100, "train.eval_every": 5, "train.checkpoint_every": 10}
RUNS = ("exact-smooth-0-moving-s0", "exact-smooth-0-fixed-s0")


class Killed(BaseException):
    """Stands for SIGKILL where the process must live on to be looked at."""


def saved_iteration(folder: Path) -> int:
    """The iteration of a run's newest checkpoint; 0 without one."""
    kept = checkpoint.saved(folder / "checkpoints")
    return int(kept[-1].name.split("-")[1]) if kept else 0


def kill_when(out: Path, ready: Callable[[], bool]) -> None:
    """Start the command and kill all its processes at once when `ready`."""
    process = popen(out, LONG)
    try:
        deadline = time.monotonic() + 120
        while not ready():
            assert process.poll() is None, f"ended before it was killed: {process.stdout.read()}"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


@pytest.mark.slow
def test_a_killed_command_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "killed"
    uninterrupted = popen(whole, LONG)
    begun, first = time.monotonic(), out / "runs" / RUNS[0]
    kill_when(out, lambda: time.monotonic() > begun + 1.0)
    kill_when(out, lambda: saved_iteration(first) >= 10)
    reached = saved_iteration(first)
    kill_when(out, lambda: saved_iteration(first) >= max(50, reached + 10))
    before = {name: saved_iteration(out / "runs" / name) for name in RUNS}
    assert 50 <= before[RUNS[0]] < 100 and not (first / "result.json").exists()
    finish(popen(out, LONG))
    finish(uninterrupted)
    for name in RUNS:
        assert outcome(out / "runs" / name) == outcome(whole / "runs" / name)
    # It went on from where it was: the last process began after its checkpoint.
    events = sorted(first.glob("tensorboard/events*"), key=lambda file: file.stat().st_mtime)
    newest = EventAccumulator(str(events[-1])).Reload()
    assert newest.Scalars("train/grad_norm")[0].step == before[RUNS[0]] + 1


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The moving run of the tiny plan."""
    return planned_runs(tmp_path_factory.mktemp("plan") / "out", EXACT)["moving"]


@pytest.fixture(scope="module")
def expected(run: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the run gives when nothing stops it."""
    folder = tmp_path_factory.mktemp("whole")
    execute_run(run, folder, lambda report: None)
    return outcome(folder)


def killed_at(iteration: int) -> Callable[[dict[str, Any]], None]:
    """A report that stops the run after an iteration, its checkpoint included."""

    def report(measures: dict[str, Any]) -> None:
        if measures["iteration"] == iteration:
            raise Killed

    return report


@pytest.mark.parametrize("iteration", [1, 2, 3, 6, 7])
def test_stopped_after_an_iteration(
    iteration: int, run: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(Killed):
        execute_run(run, tmp_path, killed_at(iteration))
    assert saved_iteration(tmp_path) == iteration - iteration % 2
    assert not (tmp_path / "result.json").exists()
    seen: list[int] = []
    execute_run(run, tmp_path, lambda report: seen.append(report["iteration"]))
    assert seen == list(range(iteration - iteration % 2 + 1, 9))
    assert outcome(tmp_path) == expected


def test_stopped_after_every_iteration(
    run: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    every = {**run, "config": {**run["config"], "train": {**run["config"]["train"]}}}
    every["config"]["train"]["checkpoint_every"] = 1
    for iteration in range(1, 8):
        with pytest.raises(Killed):
            execute_run(every, tmp_path, killed_at(iteration))
    execute_run(every, tmp_path, lambda report: None)
    assert outcome(tmp_path) == expected


def kill_on_call(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, number: int) -> None:
    """The `number`-th call of owner.name ends the run instead."""
    calls, original = [], getattr(owner, name)

    def replaced(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == number:
            raise Killed
        return original(*arguments, **named)

    monkeypatch.setattr(owner, name, replaced)


@pytest.mark.parametrize(
    ("owner", "name", "number", "kept"),
    [
        (checkpoint, "save_file", 1, 0),
        (checkpoint, "save_file", 2, 2),
        (checkpoint.torch, "save", 2, 2),
        (checkpoint.os, "fsync", 1, 0),
        (Path, "rename", 2, 2),
    ],
)
def test_stopped_while_a_checkpoint_is_written(
    owner: Any,
    name: str,
    number: int,
    kept: int,
    run: dict[str, Any],
    expected: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kill_on_call(monkeypatch, owner, name, number)
    with pytest.raises(Killed):
        execute_run(run, tmp_path, lambda report: None)
    monkeypatch.undo()
    assert saved_iteration(tmp_path) == kept
    execute_run(run, tmp_path, lambda report: None)
    assert outcome(tmp_path) == expected


def test_stopped_before_the_older_checkpoint_is_removed(
    run: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoints"
    with pytest.raises(Killed):
        execute_run(run, tmp_path, killed_at(2))
    shutil.copytree(folder / "iteration-000002", tmp_path / "older")
    with pytest.raises(Killed):
        execute_run(run, tmp_path, killed_at(4))
    (tmp_path / "older").rename(folder / "iteration-000002")
    execute_run(run, tmp_path, lambda report: None)
    assert outcome(tmp_path) == expected
    assert checkpoint.saved(folder) == []


def test_stopped_before_the_result_is_written(
    run: dict[str, Any], expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_on_call(monkeypatch, single_run, "write_json", 1)
    with pytest.raises(Killed):
        execute_run(run, tmp_path, lambda report: None)
    monkeypatch.undo()
    execute_run(run, tmp_path, lambda report: None)
    assert outcome(tmp_path) == expected
