"""Executes a plan: a process a run, several at a time, each run independent of the others' fate."""

from __future__ import annotations

import json
import time
from collections import deque
from datetime import UTC, datetime
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from benchmarks import provenance
from benchmarks.atomic import write_json
from benchmarks.plan import Plan, available_cores, default_jobs
from benchmarks.plan_folder import owned, read_result, run_folder
from benchmarks.processes import Active, interruptible, start, start_server, stop
from benchmarks.progress import Clock, Display, duration, make_display, metric_words
from benchmarks.worker import write_error

RUNNER = "benchmarks.single_run:execute_run"
PRELOAD = "benchmarks.preload"

SHOWN_METRICS = (
    "gap_initial",
    "gap_last",
    "gap_average",
    "gap_regularised",
    "kl_reference",
    "response_length",
    "truncated",
    "empty",
)
"""Metrics in the line that a finished run prints, as far as it has them."""

OK, FAILED, INTERRUPTED = 0, 1, 130
"""Exit statuses: all runs have results; some failed; Ctrl-C or SIGTERM."""

EXECUTIONS_FILE = "executions.json"
"""What each execution of the folder took: the plan's wall time is the sum."""


def execute(
    plan: Plan,
    folder: Path,
    *,
    jobs: int | None = None,
    progress: str = "auto",
    runner: str = RUNNER,
    preload: str = PRELOAD,
) -> int:
    """Execute the plan's runs that have no result yet, in its folder, which is made if need be.

    Args:
        plan: from benchmarks.plan.make_plan or benchmarks.plan_folder.read_plan_file.
        folder: the plan's folder; nobody else executes it meanwhile.
        jobs: runs at a time; None: cores / threads.
        progress: auto | rich | plain.
        runner: `module:function`, called as function(run, folder, report) in the run's process; it
            writes result.json into the run's folder or raises.
        preload: module that is imported once, before runs are forked.

    Returns the exit status. Raises PlanError when the folder belongs to another plan or process.
    """
    with owned(folder, plan), interruptible():
        jobs = jobs or default_jobs(plan)
        unfinished = [run for run in plan["runs"] if read_result(folder, run) is None]
        clock = Clock(unfinished, jobs)
        done = len(plan["runs"]) - len(unfinished)
        display = make_display(progress, clock, len(plan["runs"]), done)
        execution = _Execution(folder, runner, clock, display)
        began, since = datetime.now(UTC), time.monotonic()
        try:
            display.say(_opening(plan, folder, done, jobs, clock))
            if unfinished:
                threads = max(run["config"]["threads"] for run in unfinished)
                start_server(threads, preload)
            return execution.run(unfinished, jobs)
        except KeyboardInterrupt:
            display.say(
                f"interrupted; finished runs are kept. Go on with: "
                f"python benchmarks/run.py resume {folder}"
            )
            return INTERRUPTED
        finally:
            display.close()
            if unfinished:
                _record(folder, began, time.monotonic() - since, jobs, len(unfinished))


class _Execution:
    """The loop: start, listen, collect."""

    def __init__(self, folder: Path, runner: str, clock: Clock, display: Display) -> None:
        self._folder, self._runner = folder, runner
        self._clock, self._display = clock, display
        self._pending: dict[str, dict[str, Any]] = {}
        self._told: dict[str, str] = {}
        self._failed: list[str] = []
        self._shown = False

    def run(self, runs: list[dict[str, Any]], jobs: int) -> int:
        """Run until all runs have ended; the processes never outlive this call."""
        waiting, active = deque(runs), list[Active]()
        self._pending = {run["name"]: run for run in runs}
        try:
            while waiting or active:
                while waiting and len(active) < jobs:
                    run = waiting.popleft()
                    self._display.started(run["name"], run["config"]["train"]["iterations"])
                    active.append(start(self._runner, run, run_folder(self._folder, run)))
                wait([a.channel for a in active] + [a.process.sentinel for a in active], 1.0)
                for one in list(active):
                    # Before the messages are read: a process may end right after the last one.
                    ended = not one.process.is_alive()
                    self._listen(one)
                    if ended:
                        active.remove(one)
                        self._collect(one)
        finally:
            stop(active)
        for line in self._failed:
            self._display.say(line)
        return FAILED if self._failed else OK

    def _listen(self, active: Active) -> None:
        """Pass on what a run reports; keep what it tells of its failure."""
        for message in active.messages():
            if failure := message.get("failed"):
                self._told[active.run["name"]] = failure
            if report := message.get("report"):
                share = report.get("iteration", 0) / max(1, report.get("iterations", 1))
                seconds = time.monotonic() - active.since
                self._clock.advance(active.run["name"], share, seconds)
                self._display.advanced(active.run["name"], report)

    def _collect(self, active: Active) -> None:
        """Turn an ended process into a result or a failure."""
        run, seconds = active.run, time.monotonic() - active.since
        active.process.join()
        active.channel.close()
        del self._pending[run["name"]]
        failure = self._told.get(run["name"])
        result = read_result(self._folder, run)
        self._clock.advance(run["name"], 1.0, seconds)
        if result is not None and failure is None:
            shown = metric_words(result.get("metrics", {}), SHOWN_METRICS)
            self._display.ended(run["name"], f"{shown} ({duration(seconds)})")
        else:
            self._fail(run, failure, active)
        self._show_table_of(run)

    def _fail(self, run: dict[str, Any], failure: str | None, active: Active) -> None:
        """Name the failure; a process that could not do so itself gets its error.json here."""
        place = run_folder(self._folder, run)
        if failure is None:
            failure = active.death()
            write_error(place, run, failure, f"{_last_lines(place / 'log.txt')}\n{failure}")
        self._failed.append(f"failed: {run['name']}: {failure}; see {place / 'error.json'}")
        self._display.ended(run["name"], f"FAILED: {failure}")

    def _show_table_of(self, run: dict[str, Any]) -> None:
        """The table so far: once after the first seed, then whenever a game's runs have ended.

        Not when nothing is left to come: the whole table follows.
        """
        pending = list(self._pending.values())
        if run["task"] != "exact" or not pending:
            return
        same_game = [other for other in pending if other["group"] == run["group"]]
        same_seed = [other for other in same_game if other["seed"] == run["seed"]]
        if same_seed or (same_game and self._shown):
            return
        self._shown = True
        try:
            from benchmarks.aggregate import table_so_far

            table = table_so_far(self._folder)
        except Exception as error:  # a table that cannot be made must not stop the runs
            table = f"the table so far cannot be shown: {type(error).__name__}: {error}"
        self._display.say(f"\n{table}\n")


def _record(folder: Path, began: datetime, seconds: float, jobs: int, runs: int) -> None:
    """Add this execution to the folder's list of them."""
    file = folder / EXECUTIONS_FILE
    try:
        earlier = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        earlier = []
    entry = {
        "began": began.isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "jobs": jobs,
        "cores": available_cores(),
        "runs": runs,
        "commit": provenance.commit(),
        "dirty": provenance.dirty(),
    }
    write_json(file, [*earlier, entry])


def _opening(plan: Plan, folder: Path, done: int, jobs: int, clock: Clock) -> str:
    kept = f", {done} of them done already" if done else ""
    words = (
        f"{plan['title']}: {len(plan['runs'])} run{'s' if len(plan['runs']) > 1 else ''}{kept}, "
        f"{jobs} at a time, about {duration(clock.left())}; {folder}"
    )
    if done and (now := provenance.commit()) != plan["commit"]:
        words += f"\nnote: the plan was made at commit {plan['commit']}, the code is at {now}"
    return words


def _last_lines(file: Path, count: int = 20) -> str:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-count:])
