"""Footnotes under every table: the settings a number depends on, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.best_alpha import is_sweep
from benchmarks.exact_rows import TASK as EXACT
from benchmarks.plan_results import PlanResults, RunResult
from benchmarks.target_rows import DEVIATION_TOLERANCE
from benchmarks.trials import edge_notes
from benchmarks.verdicts import MINIMUM_SEEDS
from benchmarks.wording import counted, listed

SETTINGS = {
    "opponent": "opponent",
    "kl_gradient": "kl_gradient",
    "gamma": "γ",
    "alpha": "α",
    "beta": "β",
}
"""Fields of a method that every table footnotes for the methods that have them."""


def footnotes(table: pd.DataFrame, results: PlanResults) -> list[str]:
    """All footnotes, in order; a line each."""
    notes = [settings_note(results, task) for task in results.tasks()]
    notes = [note for note in notes if note] + budget_notes(results) + edge_notes(table, results)
    notes.append(
        "Intervals: 95 %, scipy.stats.bootstrap with a fixed seed, paired where seeds or prompts "
        "are shared. A difference is called resolved only when Student's paired interval excludes "
        f"0 as well, and a claim across seeds needs {MINIMUM_SEEDS} of them."
    )
    seeds = table[(table["unit_of_interval"] == "seeds") & table["low"].notna()]["n"]
    if len(seeds) and seeds.min() < MINIMUM_SEEDS:
        notes.append(
            f"Intervals over fewer than {MINIMUM_SEEDS} seeds are too narrow: read them as where "
            "these seeds lie."
        )
    if exact := results.done(EXACT):
        notes += gap_notes(table, exact, is_sweep(results))
    if any(run.task != EXACT for run in results.runs):
        notes.append(
            "win_rate: mean over evaluation prompts and all cross pairs of responses of the share "
            "of annotators that prefer the trained policy's, ties ½; each policy's responses are "
            "sampled independently. The panel of annotators judges them, whoever judged in "
            f"training ({judges_note(results)})."
        )
    return notes + state_notes(results)


def gap_notes(table: pd.DataFrame, exact: Sequence[RunResult], sweep: bool) -> list[str]:
    """What the gaps are, and how far each variant ended from its own target."""
    notes = [
        "gap = Σ_x ρ(x) 2 (max_y P(y ≻ π | x) − ½) of the enumerated policy; gap_average: of "
        "the uniform average of the iterates' response distributions."
    ]
    if (table["metric"] == "gap_target").any():
        notes.append(
            "own target: the exact solution of the variant's own objective from the run's initial "
            "policy, by enumeration; gap_target: its gap; tv_target: total variation between the "
            "last policy and it, mean over prompts (-: no solution is known, or it need not be one "
            "policy)."
        )
    elif (table["metric"] == "gap_regularised").any():
        notes.append(
            "gap_regularised: of the regularised equilibrium of the run's initial policy as "
            "magnet at its α and kl_gradient, from an independent solver: where a magnet that "
            "never moves must stay."
        )
    hit = table[table["metric"] == "gap_deviation"]
    if len(hit) and not sweep:
        largest: dict[str, list[str]] = {}
        for group, variant, note in zip(hit["group"], hit["variant"], hit["footnote"], strict=True):
            deviation = str(note).partition("largest ")[2].partition(",")[0]
            largest.setdefault(str(variant), []).append(f"{group} {deviation}")
        words = [f"{variant}: {', '.join(parts)}" for variant, parts in largest.items()]
        notes.append(
            "Largest gap_last − gap of the own target over seeds, tolerance "
            f"{DEVIATION_TOLERANCE:g}: {'; '.join(words)}."
        )
    return notes


def budget_notes(results: PlanResults) -> list[str]:
    """What a judge call is, which budget all variants share, and the plan's size."""
    notes = []
    if any(run.role == "train" for run in results.runs):
        notes.append(
            "A judge call is an unordered pair of responses that is compared, or a response that a "
            "reward model scores."
        )
    budget = results.plan.get("budget")
    if budget:
        unit = str(budget["unit"]).replace("_", " ")
        amounts = budget.get("amounts") or dict.fromkeys(results.tasks(), budget["amount"])
        shares = [f"{amount:,} {unit} on {task}" for task, amount in amounts.items()]
        notes.append(
            f"Budget: every variant may use as many {unit} as the others, {listed(shares)} a run "
            "(rounded down to whole iterations); all that a run used is in the table."
        )
    elif results.kind == "experiment":
        notes.append("Budget: none is shared; each variant has its own number of iterations.")
    size = results.plan.get("size", "full")
    if size != "full":
        seeds = len({run.seed for run in results.runs if run.role == "train"})
        notes.append(
            f"size={size}: fewer seeds than the full comparison, {counted(seeds, 'seed')} a "
            "variant."
        )
    return notes


def judges_note(results: PlanResults) -> str:
    """Who judged or rewarded each variant of the language tasks in training."""
    sources: dict[str, list[str]] = {}
    for run in results.runs:
        if run.task != EXACT and run.role == "train":
            reward = (run.config.get("reward") or {}).get("path")
            judge = str(run.config["judge"]["name"])
            named = judge if reward is None else f"{judge}, reward model {Path(reward).name}"
            if run.variant not in sources.setdefault(named, []):
                sources[named].append(run.variant)
    return "; ".join(f"{named}: {', '.join(variants)}" for named, variants in sources.items())


def settings_note(results: PlanResults, task: str) -> str:
    """The settings of the methods that have them, with each variant's own where they differ."""
    runs = [run for run in results.runs if run.task == task and run.role == "train"]
    variants = list(dict.fromkeys(run.variant for run in runs))
    parts = []
    for field, label in SETTINGS.items():
        values: dict[str, list[str]] = {}
        for variant in variants:
            own = next(run for run in runs if run.variant == variant)
            if field in own.method:
                alone = field == "opponent" and own.method.get("self_play") is False
                value = "initial policy" if alone else str(own.method[field])
                values.setdefault(value, []).append(variant)
        if not values:
            continue
        if field in _varied(results):
            parts.append(f"{label} as in the table")
        elif list(values.values()) == [variants]:
            parts.append(f"{label} = {next(iter(values))}")
        else:
            words = [f"{value} ({', '.join(names)})" for value, names in values.items()]
            parts.append(f"{label}: {listed(words)}")
    return f"{task}: {', '.join(parts)}." if parts else ""


def _varied(results: PlanResults) -> set[str]:
    """The method's fields that a sweep or trials vary, so that the table itself shows them."""
    trials = (results.plan.get("trials") or {}).values()
    tried = {key.rpartition(".")[2] for trial in trials for key in trial["values"]}
    return tried | ({"alpha"} if is_sweep(results) else set())


def state_notes(results: PlanResults) -> list[str]:
    """Runs that failed or are missing, each with its reason, and notes that runs left."""
    notes = []
    for run in results.runs:
        if run.status == "failed":
            notes.append(f"{run.name} failed: {run.reason.rstrip('.')}.")
    missing: dict[str, list[str]] = {}
    for run in results.runs:
        if run.status == "missing":
            missing.setdefault(run.reason, []).append(run.name)
    notes += [f"No result ({reason}): {listed(names)}." for reason, names in missing.items()]
    for run in results.runs:
        if run.status == "done":
            notes += [f"{run.name}: {note}" for note in run.result.get("notes") or []]
    environments = [run.result["environment"] for run in results.runs if run.status == "done"]
    commits = dict.fromkeys(str(environment["commit"])[:12] for environment in environments)
    if commits and list(commits) != [str(results.plan["commit"])[:12]]:
        notes.append(
            f"The plan was made at another commit than its runs': {listed(list(commits))}."
        )
    if any(environment["dirty"] for environment in environments):
        notes.append("Some runs' checkout had changes that are not in its commit.")
    return notes
