"""Shows how a plan is getting on: live bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from benchmarks.cost import run_cost

INTERVAL = 10.0
"""Seconds between two plain lines of one run."""


class Clock:
    """Estimates the time left from the runs' expected costs and what has been measured.

    The expected cost of a task may be off on this machine by a factor; it is measured for each
    task from its own runs, and until then taken from the other tasks' or as 1.
    """

    def __init__(self, runs: Iterable[dict[str, Any]], jobs: int) -> None:
        self._jobs = jobs
        self._task = {run["name"]: run["task"] for run in runs}
        self._cost = {run["name"]: run_cost(run["config"]) for run in runs}
        self._share = dict.fromkeys(self._cost, 0.0)
        self._seconds = dict.fromkeys(self._cost, 0.0)

    def advance(self, name: str, share: float, seconds: float) -> None:
        """A run has done this share of its work, in [0, 1], in so many seconds."""
        self._share[name] = min(1.0, max(share, self._share[name]))
        self._seconds[name] = seconds

    def share(self) -> float:
        """The share of all work that is done, in [0, 1]."""
        total = sum(self._cost.values())
        done = sum(self._cost[name] * self._share[name] for name in self._cost)
        return done / total if total else 1.0

    def left(self) -> float:
        """Seconds until all runs are done."""
        overall = self._factor(self._cost)
        left = 0.0
        for task in dict.fromkeys(self._task.values()):
            names = [name for name in self._cost if self._task[name] == task]
            factor = self._factor(names) or overall or 1.0
            left += factor * sum(self._cost[name] * (1 - self._share[name]) for name in names)
        longest = max((self._cost[n] * (1 - self._share[n]) for n in self._cost), default=0.0)
        return max(left / self._jobs, longest * (overall or 1.0) if self._jobs > 1 else 0.0)

    def _factor(self, names: Iterable[str]) -> float | None:
        """Seconds measured per second expected, once enough has been measured."""
        started = [name for name in names if self._share[name] > 0]
        expected = sum(self._cost[name] * self._share[name] for name in started)
        measured = sum(self._seconds[name] for name in started)
        return measured / expected if expected > 0 else None


class Display(Protocol):
    """What shows the progress. Every run is started once, then advanced, then ended."""

    def started(self, name: str, iterations: int) -> None:
        """A run starts."""

    def advanced(self, name: str, report: dict[str, Any]) -> None:
        """A run reports {"iteration", "iterations", and any numbers}."""

    def ended(self, name: str, line: str) -> None:
        """A run has a result or has failed; the line says it."""

    def say(self, text: str) -> None:
        """Show a text that stays."""

    def close(self) -> None:
        """Nothing more comes."""


def make_display(kind: str, clock: Clock, runs: int, done: int) -> Display:
    """The display of a kind: auto (rich on a terminal), rich, or plain."""
    if kind == "rich" or (kind == "auto" and sys.stdout.isatty()):
        return RichDisplay(clock, runs, done)
    return PlainDisplay(clock, runs, done)


class PlainDisplay:
    """A line when a run starts to report, every INTERVAL seconds, and when it ends."""

    def __init__(self, clock: Clock, runs: int, done: int) -> None:
        self._clock, self._runs, self._done = clock, runs, done
        self._shown: dict[str, float] = {}

    def started(self, name: str, iterations: int) -> None:
        """Nothing is shown before a run has something to tell."""
        self._shown[name] = time.monotonic()

    def advanced(self, name: str, report: dict[str, Any]) -> None:
        """At most one line every INTERVAL seconds."""
        now = time.monotonic()
        if now - self._shown[name] >= INTERVAL:
            self._shown[name] = now
            self.say(f"  {name}: {report_words(report)}; {self._state()}")

    def ended(self, name: str, line: str) -> None:
        """One line with the result or the failure."""
        self._done += 1
        self.say(f"{name}: {line}  [{self._state()}]")

    def say(self, text: str) -> None:
        """Print at once, also into a pipe."""
        print(text, flush=True)

    def close(self) -> None:
        """Nothing to do: every line is printed already."""

    def _state(self) -> str:
        return f"{self._done}/{self._runs} runs, {duration(self._clock.left())} left"


class RichDisplay:
    """A bar for the plan and one for each run that is being executed."""

    def __init__(self, clock: Clock, runs: int, done: int) -> None:
        self._clock, self._runs, self._done = clock, runs, done
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(),
        )
        self._total = self._progress.add_task("runs", total=runs, completed=done, note="")
        self._bars: dict[str, TaskID] = {}
        self._progress.start()

    def started(self, name: str, iterations: int) -> None:
        """Add the run's bar."""
        self._bars[name] = self._progress.add_task(name, total=iterations or None, note="starting")

    def advanced(self, name: str, report: dict[str, Any]) -> None:
        """Move the run's bar, and the time left."""
        self._progress.update(
            self._bars[name], completed=report.get("iteration", 0), note=numbers_words(report)
        )
        self._note()

    def ended(self, name: str, line: str) -> None:
        """Replace the run's bar by a line that stays."""
        self._progress.remove_task(self._bars.pop(name))
        self._done += 1
        self._progress.update(self._total, completed=self._done)
        self._note()
        self.say(f"{name}: {line}")

    def say(self, text: str) -> None:
        """Print above the bars."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Give the terminal back."""
        self._progress.stop()

    def _note(self) -> None:
        self._progress.update(self._total, note=f"{duration(self._clock.left())} left")


def report_words(report: dict[str, Any]) -> str:
    """'iteration 12/300, loss 0.1' of a run's report."""
    words = f"iteration {report.get('iteration', '?')}/{report.get('iterations', '?')}"
    return ", ".join(filter(None, [words, numbers_words(report)]))


def numbers_words(report: dict[str, Any]) -> str:
    """The numbers of a report beside its iterations, with their names."""
    return ", ".join(
        f"{key} {value:.4g}"
        for key, value in report.items()
        if key not in ("iteration", "iterations")
        and isinstance(value, (int, float))
        and math.isfinite(value)
    )


def metric_words(metrics: dict[str, Any], names: Sequence[str]) -> str:
    """Those of the named metrics that a result has, as 'gap_last 0.0312'."""
    return ", ".join(
        f"{name} {metrics[name]:.4g}"
        for name in names
        if isinstance(metrics.get(name), (int, float))
    )


def duration(seconds: float) -> str:
    """'45 s', '3 min 20 s' or '1 h 05 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
