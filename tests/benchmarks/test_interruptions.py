"""Ctrl-C, SIGTERM and SIGKILL: no run outlives the plan's process, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.compose import read_command_line
from benchmarks.execute import INTERRUPTED, OK, execute
from benchmarks.plan import Plan, make_plan
from benchmarks.provenance import ROOT

STAND_INS = "tests.benchmarks.stand_in_runs"
ARGUMENTS = ("ablation=fixed_ref", "task=exact", "task.kinds=[smooth,bradley_terry]", "seeds=[0,1]")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(read_command_line(ARGUMENTS), ARGUMENTS)[0]


def run(plan: Plan, folder: Path, runner: str, jobs: int = 2) -> int:
    return execute(
        plan,
        folder,
        jobs=jobs,
        progress="plain",
        runner=f"{STAND_INS}:{runner}",
        preload="benchmarks.worker",
    )


SCRIPT = """
import sys
from pathlib import Path
from benchmarks.execute import execute
from benchmarks.compose import read_command_line
from benchmarks.plan import make_plan
arguments = {arguments!r}
plan = make_plan(read_command_line(arguments), arguments)[0]
sys.exit(execute(plan, Path({folder!r}), jobs=2, progress="plain",
                 runner="{module}:{runner}", preload="benchmarks.worker"))
"""


def started(folder: Path, runner: str) -> subprocess.Popen[str]:
    """An execution in a process group of its own, as a terminal gives it."""
    script = SCRIPT.format(arguments=ARGUMENTS, folder=str(folder), module=STAND_INS, runner=runner)
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def slow_processes(folder: Path, count: int) -> list[int]:
    """The process ids of runs that are under way, once there are so many of them."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        files = [file for file in folder.glob("runs/*/process.txt") if file.read_text()]
        if len(files) >= count:
            return [int(file.read_text()) for file in files]
        time.sleep(0.05)
    raise AssertionError(f"{count} runs did not start within a minute")


def is_gone(process: int, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        # A process that has ended but that nobody has waited for is a zombie.
        if Path(f"/proc/{process}/stat").exists():
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
            if state == "Z":
                return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_the_runs_and_says_how_to_go_on(
    plan: Plan, tmp_path: Path, kind: signal.Signals
) -> None:
    execution = started(tmp_path, "slow")
    processes = slow_processes(tmp_path, 2)
    # Ctrl-C reaches the whole group, SIGTERM only the one process that it is sent to.
    if kind is signal.SIGINT:
        os.killpg(execution.pid, kind)
    else:
        execution.send_signal(kind)
    shown, _ = execution.communicate(timeout=30)
    assert execution.returncode == INTERRUPTED
    assert f"run.py resume {tmp_path}" in shown and "Traceback" not in shown
    assert all(is_gone(process) for process in processes)
    assert not list(tmp_path.glob("runs/*/error.json"))
    kept = list(tmp_path.glob("runs/*/result.json"))
    assert len(kept) == 2  # the two quick runs of the first game
    assert run(plan, tmp_path, "succeed") == OK
    assert all((file.parent / "started.txt").read_text() == "started\n" for file in kept)


def test_a_killed_execution_takes_its_runs_with_it_and_frees_the_folder(
    plan: Plan, tmp_path: Path
) -> None:
    execution = started(tmp_path, "slow")
    processes = slow_processes(tmp_path, 2)
    execution.kill()
    execution.communicate(timeout=30)
    assert all(is_gone(process) for process in processes)
    assert run(plan, tmp_path, "succeed") == OK


def test_runs_get_their_threads_and_sleep_while_waiting(tmp_path: Path) -> None:
    execution = started(tmp_path, "environment")
    shown, _ = execution.communicate(timeout=60)
    assert execution.returncode == OK, shown
    result = json.loads(next(tmp_path.glob("runs/*/result.json")).read_text())
    assert result["environment"] == {
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "0",
    }
