"""The plan: the list of runs, each with its whole config, checked before anything starts."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import provenance
from benchmarks.budgets import Budget
from benchmarks.choose import FULL, INITIAL, Chosen, choose
from benchmarks.compose import (
    EXECUTION_KEYS,
    PLAN_KEYS,
    ConfError,
    Given,
    Request,
    nest,
)
from benchmarks.inputs import input_hashes, input_problems
from benchmarks.resolve import Case, resolve
from benchmarks.schema import SCHEMA
from benchmarks.tuning import choose_trials

Plan = dict[str, Any]
"""plan.yaml: schema, kind, name, title, question, command, commit, dirty, versions, inputs, hash,
size, budget, compare, select and trials (where there are some), and runs, each with name, variant,
task, group, seed, role, config_hash and config."""


class Execution(NamedTuple):
    """How to execute a plan; nothing here changes a number."""

    out: Path
    jobs: int | None
    """Runs at a time; None: cores / threads."""
    progress: str
    """auto | rich | plain."""


class PlanError(Exception):
    """The command line, a config or an input is wrong. `problems` holds all mistakes."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(dict.fromkeys(problems))


def make_plan(request: Request, arguments: Sequence[str]) -> tuple[Plan, Execution]:
    """The plan of a command line, and how to execute it. Reads files, writes none, loads no model.

    Raises PlanError with every mistake that can be found without running.
    """
    problems = list(request.problems)
    execution, wrong = split_execution(request)
    problems += wrong
    settings = {key: entry for key, entry in request.values.items() if key not in EXECUTION_KEYS}
    request = request._replace(values=settings)
    try:
        chosen, wrong = choose_trials(request) if request.tune else choose(request)
        problems += wrong
        resolved = resolve(request, chosen)
    except ConfError as error:
        raise PlanError([*problems, f"conf: {error}"]) from error
    problems += resolved.problems
    problems += input_problems([case.values for case in resolved.cases])
    if problems:
        raise PlanError(problems)
    runs = [run for task in chosen.tasks for run in _runs(task, resolved.cases)]
    plan = _plan(chosen, runs, resolved.budgets, arguments)
    return plan, execution._replace(out=_out(execution, chosen))


def split_execution(request: Request) -> tuple[Execution, list[str]]:
    """The settings of a command line that say how to execute, with what is wrong with them."""
    values = {key: request.values.get(key, Given(None, "")).value for key in EXECUTION_KEYS}
    out, jobs, progress = values["out"], values["jobs"], values["progress"]
    problems = []
    if "out" in request.values and not (isinstance(out, str) and out.strip()):
        problems.append(f"out: got {out!r}, allowed is the path of a folder")
        out = None
    if jobs is not None and (not isinstance(jobs, int) or isinstance(jobs, bool) or jobs < 1):
        problems.append(f"jobs: got {jobs!r}, allowed is an integer ≥ 1")
        jobs = None
    if progress not in (None, "auto", "rich", "plain"):
        problems.append(f"progress: got {progress!r}, allowed is auto | rich | plain")
    return Execution(Path(out or ""), jobs, progress or "auto"), problems


def default_jobs(plan: Plan) -> int:
    """Cores that this process may use, divided by the threads of the plan's runs.

    One where a run needs a GPU: several at a time would share its memory.
    """
    if any(run["config"]["device"] != "cpu" for run in plan["runs"]):
        return 1
    threads = max((run["config"]["threads"] for run in plan["runs"]), default=1)
    return max(1, available_cores() // threads)


def available_cores() -> int:
    """Cores that this process may use; fewer than the machine's where it is confined to some."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def plan_hash(plan: Plan) -> str:
    """sha256 over the canonical JSON of schema, runs' configs (in any order) and input files."""
    configs = sorted(_canonical(run["config"]) for run in plan["runs"])
    return _digest([plan["schema"], configs, plan["inputs"]])


def config_hash(config: dict[str, Any]) -> str:
    """sha256 over the canonical JSON of one run's config and the schema's version."""
    return _digest([SCHEMA, config])


def _plan(
    chosen: Chosen,
    runs: list[dict[str, Any]],
    budgets: dict[str, Budget],
    arguments: Sequence[str],
) -> Plan:
    about = chosen.about
    plan: Plan = {
        "schema": SCHEMA,
        "kind": chosen.kind,
        "name": chosen.name,
        "title": about.get("title", f"{chosen.method} on {', '.join(chosen.tasks)}"),
        "question": about.get("question", f"What does {chosen.method} reach?"),
        "command": shlex.join(["python", "benchmarks/run.py", *arguments]),
        "commit": provenance.commit(),
        "dirty": provenance.dirty(),
        "versions": provenance.versions(),
        "inputs": input_hashes([run["config"] for run in runs]),
        "hash": "",
        "size": chosen.size,
        "budget": _budget_entry(budgets),
        "compare": chosen.compare,
    }
    if chosen.size != FULL:
        plan["title"] += f" ({chosen.size})"
    if "select" in about:
        plan["select"] = about["select"]
    if chosen.trials:
        plan["trials"] = chosen.trials
    plan["runs"] = runs
    plan["hash"] = plan_hash(plan)
    return plan


def _budget_entry(budgets: dict[str, Budget]) -> dict[str, Any] | None:
    """The unit and the amount, which may differ from task to task; None for no budget."""
    if not budgets:
        return None
    amounts = {task: budget.amount for task, budget in budgets.items()}
    same = set(amounts.values())
    unit = next(iter(budgets.values())).unit
    return {"unit": unit, "amount": same.pop() if len(same) == 1 else None, "amounts": amounts}


def _runs(task: str, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """A task's runs, the variants of one game and seed side by side.

    So the first pair, and then the first game, is complete as early as possible.
    """
    mine = [case for case in cases if case.task == task]
    variants = [case for case in mine if case.variant]
    runs = []
    if task != "exact":
        # One for all variants: what is compared starts from the same policy.
        (base,) = (case for case in mine if not case.variant)
        evaluate_only = base.values | {"train.iterations": 0}
        runs.append(_run(task, INITIAL, evaluate_only, 0, role=INITIAL))
    places = dict.fromkeys(
        (game, seed)
        for case in variants
        for game in _games(case.values)
        for seed in case.values["seeds"]
    )
    for game, seed in places:
        for case in variants:
            if game in _games(case.values) and seed in case.values["seeds"]:
                runs.append(_run(task, case.variant, case.values, seed, game=game))
    return runs


def _games(values: dict[str, Any]) -> list[tuple[str, int] | None]:
    if values["task.name"] != "exact":
        return [None]
    return [(kind, seed) for kind in values["task.kinds"] for seed in values["task.game_seeds"]]


def _run(
    task: str,
    variant: str,
    values: dict[str, Any],
    seed: int,
    *,
    game: tuple[str, int] | None = None,
    role: str = "train",
) -> dict[str, Any]:
    settings = {key: value for key, value in values.items() if key not in PLAN_KEYS}
    group = task
    if game:
        group = f"{game[0]}-{game[1]}"
        settings |= {"task.kind": game[0], "task.game_seed": game[1]}
    place = task if group == task else f"{task}-{group}"
    config = {"seed": seed, "variant": variant, **nest(dict(sorted(settings.items())))}
    return {
        "name": f"{place}-{variant}" if role == INITIAL else f"{place}-{variant}-s{seed}",
        "variant": variant,
        "task": task,
        "group": group,
        "seed": seed,
        "role": role,
        "config_hash": config_hash(config),
        "config": config,
    }


def _out(execution: Execution, chosen: Chosen) -> Path:
    return execution.out if execution.out != Path() else Path("results") / chosen.name


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical(value).encode("utf-8")).hexdigest()
