"""The settings of a plan in words, for --dry-run: what is shared and what differs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.compose import flatten
from benchmarks.plan import Plan

_PLACE = ("seed", "variant", "task.kind", "task.game_seed", "method.name")
"""Keys that say which run it is."""


def budget_words(plan: Plan) -> str:
    """The budget of each task's runs."""
    budget = plan["budget"]
    if budget is None:
        return "none"
    return ", ".join(
        f"{amount:,} {budget['unit']} ({task})" for task, amount in budget["amounts"].items()
    )


def trial_lines(plan: Plan) -> list[str]:
    """What each trial of a tune sets."""
    lines = []
    for variant, trial in plan.get("trials", {}).items():
        words = (f"{key}={_plain(value)}" for key, value in trial["values"].items())
        lines.append(f"  {variant}: {' '.join(words)}")
    return lines


def config_lines(plan: Plan, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys in which the variants differ, then the config that all runs share by section.

    Of a tune, whose trials have lines of their own, the keys in which the methods differ.
    """
    trials = plan.get("trials", {})
    tried = {key for trial in trials.values() for key in trial["values"]}
    labels = {variant: trial["method"] for variant, trial in trials.items()}
    configs = [flatten(run["config"]) for run in runs]
    keys = dict.fromkeys(key for config in configs for key in config)
    varied = []
    single: dict[str, list[str]] = {}
    sections: dict[str, list[str]] = {}
    for key in keys:
        # Methods have settings of their own: a key that one lacks differs as well.
        values = [_plain(config[key]) if key in config else None for config in configs]
        if len(set(values)) == 1:
            sections.setdefault(key.rpartition(".")[0], []).append(f"{key}={values[0]}")
        elif key not in _PLACE and key not in tried:
            by_label = {
                labels.get(config["variant"], config["variant"]): value
                for config, value in zip(configs, values, strict=True)
                if value is not None
            }
            if len(by_label) == 1:
                (label,) = by_label
                single.setdefault(label, []).append(f"{key}={by_label[label]}")
            else:
                words = ", ".join(f"{label} {value}" for label, value in by_label.items())
                varied.append(f"  {key}: {words}")
    varied += [f"  {label} alone: {' '.join(words)}" for label, words in single.items()]
    return varied + [f"  {' '.join(words)}" for words in sections.values()]


def _plain(value: object) -> str:
    """A value as it may be given on the command line, but for the shell's quotes."""
    return value if isinstance(value, str) else json.dumps(value)
