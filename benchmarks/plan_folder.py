"""A plan's folder on disk: who owns it, what it holds, and one process at a time."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from benchmarks.atomic import ASIDE_PREFIX, write_text
from benchmarks.plan import Plan, PlanError, plan_hash
from benchmarks.schema import SCHEMA

PLAN_FILE = "plan.yaml"
LOCK_FILE = ".lock"
RESULT_SCHEMA = 1
LARGEST_PLAN = 10_000_000
"""YAML nodes of a plan.yaml; OmegaConf's own limit of 10,000 is that of about a hundred runs."""


def read_plan_file(folder: Path) -> Plan:
    """The plan in a folder.

    Raises PlanError when there is none, it cannot be read, or it was changed since it was written.
    """
    file = folder / PLAN_FILE
    if not file.is_file():
        raise PlanError([f"{folder}: got no {PLAN_FILE}, allowed is the folder of a plan"])
    cure = f"delete {folder}, or choose another out="
    try:
        plan = OmegaConf.to_container(OmegaConf.load(file, max_yaml_expanded_nodes=LARGEST_PLAN))
    except Exception as error:  # OmegaConf passes on whatever its YAML reader raises
        first = str(error).strip().splitlines()[0]
        raise PlanError([f"{file}: cannot be read ({first}); {cure}"]) from error
    if not isinstance(plan, dict) or not {"schema", "hash", "runs", "inputs"} <= set(plan):
        raise PlanError([f"{file}: is only half a plan; {cure}"])
    if plan["schema"] != SCHEMA:
        raise PlanError([f"{file}: got schema {plan['schema']!r}, allowed is {SCHEMA}; {cure}"])
    read: Plan = {str(key): value for key, value in plan.items()}
    if not _has_own_hash(read):
        raise PlanError([f"{file}: was changed after it was written, its hash differs; {cure}"])
    return read


def folder_problems(folder: Path, plan: Plan | None) -> list[str]:
    """Why a plan cannot be executed in a folder; empty when it can. Writes nothing.

    With no plan (its config is wrong) only what holds for any plan is checked.
    """
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        return [f"out: got {folder}, allowed is a folder; {place} is not one"]
    if not os.access(place, os.W_OK | os.X_OK):
        return [f"out: got {folder}, allowed is a folder that can be written; {place} cannot"]
    if not folder.exists() or _is_unused(folder):
        return []
    if not (folder / PLAN_FILE).exists():
        return [
            f"out: got {folder}, which holds files but no {PLAN_FILE}; allowed is a new folder or "
            "that of the same plan: choose another out=, or delete it"
        ]
    try:
        existing = read_plan_file(folder)
    except PlanError as error:
        return [f"out: {problem}" for problem in error.problems]
    if plan is not None and existing["hash"] != plan["hash"]:
        return [
            f"out: got {folder}, which belongs to another plan ({existing.get('command')}); "
            f"choose another out=, delete {folder} to start anew, or continue that plan with "
            f"`python benchmarks/run.py resume {folder}`"
        ]
    return []


@contextmanager
def owned(folder: Path, plan: Plan) -> Iterator[None]:
    """Own a plan's folder: make it, lock it, and write plan.yaml unless it is there.

    Raises PlanError when another process owns it, it turned out to belong to another plan, or it
    cannot be written.
    """
    try:
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        (folder / LOCK_FILE).touch()
    except OSError as error:
        raise PlanError([f"out: got {folder}, which cannot be written ({error})"]) from error
    with open(folder / LOCK_FILE, "r+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = lock.read().strip() or "unknown"
            raise PlanError(
                [f"out: got {folder}, which process {owner} is executing; wait until it has ended"]
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        if problems := folder_problems(folder, plan):
            raise PlanError(problems)
        try:
            if not (folder / PLAN_FILE).exists():
                write_text(folder / PLAN_FILE, OmegaConf.to_yaml(OmegaConf.create(plan)))
            yield
        finally:
            lock.truncate(0)


def run_folder(folder: Path, run: dict[str, Any]) -> Path:
    """The folder of a run in its plan's folder."""
    return folder / "runs" / str(run["name"])


def read_result(folder: Path, run: dict[str, Any]) -> dict[str, Any] | None:
    """A run's result.json; None when it is absent, unreadable, or of another config."""
    try:
        text = (run_folder(folder, run) / "result.json").read_text(encoding="utf-8")
        result = json.loads(text)
    except (OSError, ValueError):
        return None
    valid = (
        isinstance(result, dict)
        and result.get("schema") == RESULT_SCHEMA
        and result.get("config_hash") == run["config_hash"]
    )
    return result if valid else None


def _has_own_hash(plan: Plan) -> bool:
    try:
        return plan["hash"] == plan_hash(plan)
    except (KeyError, TypeError):
        return False


def _is_unused(folder: Path) -> bool:
    """Empty but for what a start that was interrupted before plan.yaml leaves behind."""
    for entry in folder.iterdir():
        empty_runs = entry.name == "runs" and entry.is_dir() and not any(entry.iterdir())
        if not (empty_runs or entry.name == LOCK_FILE or entry.name.startswith(ASIDE_PREFIX)):
            return False
    return True
