"""From a run's resolved config to the objects that the engine runs."""

from __future__ import annotations

from typing import Any

from benchmarks.build_exact import build_exact
from benchmarks.build_language import build_language
from benchmarks.built import Built
from mpo.judges.protocol import Judge

TASKS = {"exact": build_exact, "smollm2": build_language}
"""Name of a task to its builder."""


def build(run: dict[str, Any], judge: Judge | None = None) -> Built:
    """The run of an entry of the plan, under its config's judge or one of the caller's own."""
    return TASKS[run["task"]](run, judge)
