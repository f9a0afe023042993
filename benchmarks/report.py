"""report.md: a short results section, every sentence of it generated from the plan's numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.best_alpha import ALL_GAMES, is_sweep
from benchmarks.blocks import blocks
from benchmarks.cost_rows import counts_of
from benchmarks.exact_rows import TASK as EXACT
from benchmarks.findings import findings
from benchmarks.footnotes import footnotes
from benchmarks.paper_claims import paper_sentences
from benchmarks.plan_results import PlanResults, RunResult
from benchmarks.rows import find, read_table
from benchmarks.trials import is_tuning
from benchmarks.wording import duration, listed, number

ALPHA_TABLE = Path(__file__).resolve().parents[1] / "docs" / "results" / "alpha" / "table.csv"


BUDGET = {
    "iterations": ("train", "iterations"),
    "rounds": ("train", "rounds"),
    "prompts an iteration": ("train", "prompts"),
    "responses a prompt": ("method", "responses"),
    "inner steps": ("method", "inner_steps"),
    "learning rate": ("train", "lr"),
    "α": ("method", "alpha"),
    "β": ("method", "beta"),
    "η": ("method", "eta"),
    "magnet_interval": ("method", "magnet_interval"),
}
"""What the report says of a task's runs: label, and section and key of the config."""


def report_markdown(
    table: pd.DataFrame,
    results: PlanResults,
    figures: Sequence[str],
    alpha_table: Path = ALPHA_TABLE,
) -> str:
    """The whole report. figures are names in the plan's folder, as `figures/gap_all.png`.

    alpha_table is the table.csv of `ablation=alpha`; without it its section is left out.
    """
    parts = [f"# {results.plan['title']}", f"*{results.plan['question']}*", "## What was run"]
    parts += [what_was_run(results), "## Results"]
    for block in blocks(table, results):
        parts += [f"**{block.title}**", block.frame.to_markdown(index=False, disable_numparse=True)]
    parts += [f"![{Path(name).stem.replace('_', ' ')}]({name})" for name in figures]
    found = findings(table, results)
    parts += [
        "## What can and cannot be concluded",
        "These numbers support:",
        "\n".join(f"- {sentence}" for sentence in found.can),
        "They do not show:",
        "\n".join(f"- {sentence}" for sentence in found.cannot),
    ]
    if paper := paper_sentences(table, results):
        parts += ["## Beside the paper's ablations", "\n".join(f"- {line}" for line in paper)]
    if (swept := best_alpha_of(results, alpha_table)) is not None:
        parts += ["## At each variant's own best α", best_alpha_text(swept)]
    parts += ["## Notes", "\n".join(f"- {note}" for note in footnotes(table, results))]
    return "\n\n".join(parts) + "\n"


def best_alpha_of(results: PlanResults, alpha_table: Path) -> pd.DataFrame | None:
    """The sweep's table where it is about the variants of this plan, else None."""
    if EXACT not in results.tasks() or is_sweep(results) or not alpha_table.is_file():
        return None
    table = read_table(alpha_table)
    swept = set(table[table["metric"] == "best_alpha"]["variant"])
    return table if swept == set(results.variants()) else None


def what_was_run(results: PlanResults) -> str:
    """Command, commit, hash, runs, cost and each task's budget."""
    plan = results.plan
    done = [run for run in results.runs if run.status == "done"]
    dirty = " with uncommitted changes" if plan["dirty"] else ""
    lines = [
        f"```\n{plan['command']}\n```",
        f"Commit {plan['commit'] or 'unknown'}{dirty}, plan {str(plan['hash'])[:12]}; "
        f"{len(done)} of {len(results.runs)} runs done.",
    ]
    if done:
        cpu = sum(run.result["seconds"]["cpu"] for run in done)
        memory = max(run.result["peak_memory_mib"] for run in done)
        lines[-1] += (
            f" {_wall(results)}The runs used {duration(cpu)} of CPU time; the largest took "
            f"{memory:.0f} MiB."
        )
    lines += [_budget(results, task) for task in results.tasks()]
    return "\n\n".join(lines)


def _wall(results: PlanResults) -> str:
    """Wall time of the plan's executions; empty where none was recorded."""
    executions = results.executions()
    if not executions:
        return ""
    jobs = " or ".join(dict.fromkeys(str(execution["jobs"]) for execution in executions))
    seconds = sum(execution["seconds"] for execution in executions)
    times = "" if len(executions) == 1 else f" in {len(executions)} executions"
    return f"Wall time {duration(seconds)}{times}, {jobs} at a time. "


def _budget(results: PlanResults, task: str) -> str:
    runs = [run for run in results.runs if run.task == task and run.role == "train"]
    if not runs:
        return f"{task}: no run trains."
    names = list(dict.fromkeys(run.variant for run in runs))
    shown = [f"{len(names)} trials"] if is_tuning(results) else [f"`{name}`" for name in names]
    groups = list(dict.fromkeys(run.group for run in runs))
    places = f" on {listed(groups)}" if groups != [task] else ""
    seeds = sorted({run.seed for run in runs})
    methods = list(dict.fromkeys(str(run.method["name"]) for run in runs))
    settings = {label: _settings(runs, section, key) for label, (section, key) in BUDGET.items()}
    text = (
        f"**{task}**: {listed(shown)}{places}, seeds {', '.join(map(str, seeds))}; "
        f"{'method' if len(methods) == 1 else 'methods'} {listed(methods)}, "
        + ", ".join(f"{label} {value}" for label, value in settings.items() if value)
        + "."
    )
    done = [run for run in runs if run.status == "done"]
    if done:
        used = [
            f"{_range([counts_of(run).get(name, math.nan) for run in done])} "
            + name.replace("_", " ")
            for name in counts_of(done[0])
        ]
        text += f" A run used {listed(used)}."
    return text


def _settings(runs: Sequence[RunResult], section: str, key: str) -> str:
    """The distinct values of a setting, `0.05 or 0.1`, of the methods that have it; None: never."""
    values = [run.config[section][key] for run in runs if key in run.config[section]]
    words = [
        "never" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        for value in values
    ]
    return " or ".join(dict.fromkeys(words))


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"


def best_alpha_text(table: pd.DataFrame) -> str:
    """What each variant reaches at its own best α within the same budget, a line a game."""
    chosen = table[table["metric"] == "best_alpha"]
    lines = []
    for group in dict.fromkeys(chosen["group"]):
        parts = []
        for variant in chosen[chosen["group"] == group]["variant"]:
            alpha = find(table, group, variant, "best_alpha")
            gap = find(table, group, variant, "gap_last_best_alpha")
            if alpha and gap:
                seeds = "seed" if gap.n == 1 else "seeds"
                parts.append(f"`{variant}` {number(gap)} at α = {alpha.value:g} ({gap.n} {seeds})")
        scope = "one α for all games, their mean" if group == ALL_GAMES else group
        lines.append(f"- {scope}: {listed(parts)}")
    intro = (
        "A large α flatters a magnet that moves. `ablation=alpha`, on other games, chooses each "
        "variant's α on some seeds and reports the last iterate's gap on others, at equal budget:"
    )
    return "\n".join([intro, "", *lines])
