"""Footnotes under every table: the settings a number depends on, and what is missing."""

from __future__ import annotations

import pandas as pd

from benchmarks.best_alpha import is_sweep
from benchmarks.exact_rows import TASK as EXACT
from benchmarks.exact_rows import stays_regularised
from benchmarks.plan_results import PlanResults
from benchmarks.verdicts import MINIMUM_SEEDS
from benchmarks.wording import listed

SETTINGS = {"opponent": "opponent", "kl_gradient": "kl_gradient", "gamma": "γ", "alpha": "α"}


def footnotes(table: pd.DataFrame, results: PlanResults) -> list[str]:
    """All footnotes, in order; a line each."""
    notes = [settings_note(results, task) for task in results.tasks()]
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
    exact = results.done(EXACT)
    if exact:
        notes.append(
            "gap = Σ_x ρ(x) 2 (max_y P(y ≻ π | x) − ½) of the enumerated policy; gap_average: of "
            "the uniform average of the iterates' response distributions; gap_regularised: of the "
            "regularised equilibrium of the run's initial policy as magnet at its α and "
            "kl_gradient, from an independent solver: where a magnet that never moves must stay."
        )
    if any(stays_regularised(run) for run in exact) and not is_sweep(results):
        hit = table[table["metric"] == "gap_deviation"]
        deviations = [
            f"{group} {variant}: {str(note).partition('; ')[2]}"
            for group, variant, note in zip(
                hit["group"], hit["variant"], hit["footnote"], strict=True
            )
        ]
        notes.append(f"gap_last − gap_regularised, magnet never moves: {'; '.join(deviations)}.")
    if any(run.task != EXACT for run in results.runs):
        notes.append(
            "win_rate: mean over evaluation prompts and all cross pairs of responses of the share "
            "of annotators that prefer the trained policy's, ties ½; each policy's responses are "
            "sampled independently."
        )
    return notes + state_notes(results)


def settings_note(results: PlanResults, task: str) -> str:
    """The settings that every table footnotes, with each variant's own where they differ."""
    runs = [run for run in results.runs if run.task == task and run.role == "train"]
    parts = []
    for field, label in SETTINGS.items():
        values = {run.variant: str(run.method[field]) for run in runs}
        if field == "alpha" and is_sweep(results):
            parts.append(f"{label} as in the table")
        elif len(set(values.values())) == 1:
            parts.append(f"{label} = {next(iter(values.values()))}")
        elif values:
            parts.append(f"{label}: {listed([f'{v} ({name})' for name, v in values.items()])}")
    return f"{task}: {', '.join(parts)}."


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
