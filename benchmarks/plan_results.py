"""Reads a plan's folder: the plan and what its runs have left (design.md section 5)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from benchmarks.plan_folder import RESULT_SCHEMA, read_plan_file, run_folder

EXECUTIONS_FILE = "executions.json"
INITIAL = "initial"
"""Role, and variant, of the run that only evaluates the initial policy."""


class RunResult(NamedTuple):
    """One run of the plan. status is done, failed or missing; reason says why it is not done."""

    name: str
    variant: str
    task: str
    group: str
    seed: int
    role: str
    config: dict[str, Any]
    folder: Path
    status: str
    reason: str
    result: dict[str, Any]

    @property
    def metrics(self) -> dict[str, Any]:
        """The result's metrics, by name."""
        return self.result["metrics"]

    @property
    def method(self) -> dict[str, Any]:
        """The method section of the run's config."""
        return self.config["method"]

    @property
    def magnet_never_moves(self) -> bool:
        """True when the method has a magnet that is the initial policy throughout."""
        return self.method.get("magnet_interval", 1) in (None, "never")

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """What was measured at the end of each round, in order; empty for a run of one round."""
        return list(self.metrics.get("rounds") or [])

    def curves(self) -> pd.DataFrame:
        """curves.csv: a row an evaluation, first column iteration."""
        return pd.read_csv(self.folder / "curves.csv")

    def samples(self, file: str = "samples.jsonl") -> pd.DataFrame:
        """samples.jsonl, or another file of samples: a row a response."""
        lines = (self.folder / file).read_text(encoding="utf-8").splitlines()
        return pd.DataFrame([json.loads(line) for line in lines if line])


class PlanResults(NamedTuple):
    """A plan with the state of each of its runs, in the plan's order."""

    folder: Path
    plan: dict[str, Any]
    runs: tuple[RunResult, ...]

    @property
    def kind(self) -> str:
        """ablation | experiment | method | tune."""
        return str(self.plan["kind"])

    def done(self, task: str | None = None, role: str = "train") -> list[RunResult]:
        """The runs of a role that have a result, of one task or of all."""
        return [
            run
            for run in self.runs
            if run.status == "done" and run.role == role and task in (None, run.task)
        ]

    def variants(self) -> list[str]:
        """The names of the trained variants in the plan's order."""
        return list(dict.fromkeys(run.variant for run in self.runs if run.role == "train"))

    def groups(self, task: str) -> list[str]:
        """The groups of a task (games, or the language task's name) in the plan's order."""
        return list(dict.fromkeys(run.group for run in self.runs if run.task == task))

    def executions(self) -> list[dict[str, Any]]:
        """What executions.json says of each time that the plan was executed, if it is there."""
        file = self.folder / EXECUTIONS_FILE
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []

    def tasks(self) -> list[str]:
        """The tasks in the plan's order."""
        return list(dict.fromkeys(run.task for run in self.runs))

    def pairs(self, group: str | None = None) -> list[tuple[str, str]]:
        """The pairs of variants to compare, of a group those that both have runs there.

        Differences are first - second.
        """
        pairs = [(str(first), str(second)) for first, second in self.plan.get("compare") or []]
        there = {run.variant for run in self.runs if group in (None, run.group)}
        return [pair for pair in pairs if group is None or there.issuperset(pair)]


def read_plan(folder: Path) -> PlanResults:
    """Read plan.yaml and each run's result.json or error.json.

    Raises PlanError when the folder holds no plan, or one that was changed after it was written.
    """
    plan = read_plan_file(folder)
    return PlanResults(folder, plan, tuple(_read_run(folder, entry) for entry in plan["runs"]))


def _read_run(folder: Path, entry: dict[str, Any]) -> RunResult:
    place = run_folder(folder, entry)
    status, reason, result = _read_result(place, entry["config_hash"])
    return RunResult(
        name=entry["name"],
        variant=entry["variant"],
        task=entry["task"],
        group=entry["group"] or entry["task"],
        seed=int(entry["seed"]),
        role=entry["role"],
        config=entry["config"],
        folder=place,
        status=status,
        reason=reason,
        result=result,
    )


def _read_result(place: Path, config_hash: str) -> tuple[str, str, dict[str, Any]]:
    """The run's status, the reason why it is not done, and its result."""
    file = place / "result.json"
    if file.is_file():
        try:
            result = json.loads(file.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            return "missing", f"result.json is not JSON ({error})", {}
        if result.get("schema") != RESULT_SCHEMA:
            given = result.get("schema")
            return "missing", f"result.json has schema {given}, allowed is {RESULT_SCHEMA}", {}
        if result.get("config_hash") != config_hash:
            return "missing", "result.json is of another config than the plan's", {}
        return "done", "", result
    if (place / "error.json").is_file():
        return "failed", _error_line(place / "error.json"), {}
    return "missing", "not run yet", {}


def _error_line(file: Path) -> str:
    """The error's message, with the iteration where it is known."""
    try:
        error = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        return "error.json is not JSON"
    iteration = error.get("iteration")
    return error["message"] if iteration is None else f"{error['message']} (iteration {iteration})"
