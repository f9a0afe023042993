"""The texts of --help, --list and --dry-run. Needs no torch for the first two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.compose import (
    CHOICE_KEYS,
    EXECUTION_KEYS,
    GROUPS,
    PLAN_KEYS,
    available,
    read_conf,
)
from benchmarks.cost import plan_cost
from benchmarks.plan import Execution, Plan, default_jobs
from benchmarks.plan_folder import read_result
from benchmarks.plan_text import budget_words, config_lines, trial_lines
from benchmarks.progress import duration
from benchmarks.schema import METHODS, SECTIONS, TASKS, Machine
from benchmarks.settings_docs import Setting, class_settings, method_settings
from benchmarks.theory.routing import is_on_games

USAGE = """\
python benchmarks/run.py ablation=NAME [task=NAME] [key=value …]   compare an ablation's variants
python benchmarks/run.py experiment=NAME [methods=[A,B,…]] [size=quick] [key=value …]
                                                  compare methods under one budget
python benchmarks/run.py experiment=NAME [game=NAME] [methods=[A,B,…]] [key=value …]
                                                  an experiment on games, such as dynamics or
                                                  figure3 (with --help: its keys)
python benchmarks/run.py method=NAME [task=NAME] [key=value …]     run one method
python benchmarks/run.py tune methods=[A,B,…] task=NAME [trials=N] try each method's settings
python benchmarks/run.py stage sft|reward|preference [key=value …] train what self-play starts from
                                                  or is judged by (stage --help lists its keys)
python benchmarks/run.py resume DIR [jobs=N]      go on with a plan that was interrupted
python benchmarks/run.py aggregate DIR…           make tables, figures and reports again
python benchmarks/run.py --list                   what can be chosen
python benchmarks/run.py … --dry-run              the plan and its cost; nothing runs

The same command again does only what is missing. Exit status: 0 all runs have results, 1 some
failed, 2 nothing was run because something is wrong, 130 interrupted."""

EXAMPLE = "python benchmarks/run.py ablation=fixed_ref task=exact seeds=3 method.alpha=0.05 out=DIR"

_CHOSEN = ("name", "kind", "game_seed")


def help_text() -> str:
    """Usage, and every key with its meaning."""
    parts = [USAGE, f"\nExample: {EXAMPLE}", "\nFiles to choose from (--list says what they are):"]
    parts += [f"  {group}={' | '.join(available(group))}" for group in GROUPS]
    parts += ["\nThe plan:", *_lines((CHOICE_KEYS | PLAN_KEYS).items())]
    parts += ["\nIts execution, which changes no number:", *_lines(EXECUTION_KEYS.items())]
    machine = [_entry("", setting) for setting in class_settings(Machine)]
    parts += ["\nThe machine:", *_lines(machine)]
    for task, schema in TASKS.items():
        entries = [_entry("task.", s) for s in class_settings(schema) if s.name not in _CHOSEN]
        parts += [f"\nThe task, task={task}:", *_lines(entries)]
    for section, schema in SECTIONS.items():
        entries = [_entry(f"{section}.", setting) for setting in class_settings(schema)]
        parts += [f"\n{section}:", *_lines(entries)]
    # Methods that share a class share its keys.
    for target in dict.fromkeys(METHODS.values()):
        names = [name for name in METHODS if METHODS[name] == target]
        entries = [_entry("method.", setting) for setting in method_settings(names[0])]
        parts += [f"\nThe method, method={' | '.join(names)}:", *_lines(entries)]
    return "\n".join(parts)


def list_text() -> str:
    """Every file of conf/ with its title, and for ablations the question and the variants."""
    parts = []
    for group in GROUPS:
        parts.append(f"{group}=")
        for name in available(group):
            about = read_conf(f"{group}/{name}").about
            parts.append(f"  {name}: {about.get('title', '')}")
            parts += [f"      {line}" for line in _about_lines(about)]
    parts.append("tune task=")
    for name in available("search"):
        about = read_conf(f"search/{name}").about
        parts.append(f"  {name}: {about['title']}")
        for method, grid in about["grids"].items():
            words = "; ".join(f"{key} {_listed(values)}" for key, values in grid.items())
            parts.append(f"      {method}: {words}")
    return "\n".join(parts)


def _about_lines(about: Mapping[str, Any]) -> list[str]:
    """What an ablation or an experiment says of itself beside its title."""
    lines = [about["question"]] if "question" in about else []
    if "variants" in about:
        lines.append(f"variants: {_listed(about['variants'])}")
    if "methods" in about:
        lines.append(f"methods: {_listed(about['methods'])}")
    if is_on_games(about):
        return lines
    for task, methods in about.get("task_methods", {}).items():
        lines.append(f"methods on {task}: {_listed(methods)}")
    if "sizes" in about:
        lines.append(f"sizes: full, {_listed(about['sizes'])}")
    return lines + ([f"tasks: {_listed(about['tasks'])}"] if lines else [])


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


def plan_text(plan: Plan, execution: Execution) -> str:
    """The resolved plan: what is compared, which runs, their configs, and what they may cost."""
    jobs = execution.jobs or default_jobs(plan)
    costs = plan_cost(plan["runs"])
    done = sum(read_result(execution.out, run) is not None for run in plan["runs"])
    parts = [
        f"{plan['title']} ({plan['kind']} {plan['name']})",
        plan["question"],
        f"hash {plan['hash'][:12]}, commit {plan['commit'][:12]}"
        f"{', with changes' if plan['dirty'] else ''}, folder {execution.out}",
        f"{len(plan['runs'])} runs, {done} of them done already, {jobs} at a time",
        f"size {plan['size']}, budget of a run: {budget_words(plan)}",
        *trial_lines(plan),
    ]
    for task, cost in costs.items():
        runs = [run for run in plan["runs"] if run["task"] == task]
        groups = list(dict.fromkeys(run["group"] for run in runs))
        variants = list(dict.fromkeys(run["variant"] for run in runs))
        seeds = sorted({run["seed"] for run in runs if run["role"] == "train"})
        parts += [
            f"\n{task}: {len(runs)} runs, about {cost:.0f} CPU-seconds, {duration(cost / jobs)} "
            f"with {jobs} at a time",
            f"  groups: {', '.join(groups)}",
            f"  variants: {', '.join(variants)}",
            f"  seeds: {', '.join(map(str, seeds))}",
            *config_lines(plan, [run for run in runs if run["role"] == "train"]),
        ]
    parts += [f"\nIn all about {sum(costs.values()):.0f} CPU-seconds. Runs in their order:"]
    parts += [f"  {run['name']}" for run in plan["runs"]]
    return "\n".join(parts)


def _entry(prefix: str, setting: Setting) -> tuple[str, str]:
    type_words = {"int": "integer", "float": "number", "bool": "true/false", "str": "text"}
    kind = type_words.get(setting.type, setting.type.replace("None", "null"))
    default = f" Default {setting.default}." if setting.default else ""
    return f"{prefix}{setting.name}", f"{setting.doc} ({kind}){default}"


def _lines(entries: Iterable[tuple[str, str]]) -> list[str]:
    return [f"  {key:<30} {words}" for key, words in entries]
