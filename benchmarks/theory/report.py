"""report.md of an experiment on games: the question, what was run, and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.wording import duration


def report_markdown(
    about: Mapping[str, Any], result: Mapping[str, Any], found: Sequence[str]
) -> str:
    """The whole report.

    Args:
        about: title and question of the experiment's file.
        result: the content of result.json.
        found: markdown parts of the experiment's own.
    """
    parts = [f"# {about['title']}", f"*{about['question']}*", "## What was run", _run_words(result)]
    parts += ["## Results", *found]
    if result["notes"]:
        parts += ["## Notes", "\n".join(f"- {note}" for note in result["notes"])]
    return "\n\n".join(parts) + "\n"


def _run_words(result: Mapping[str, Any]) -> str:
    environment, seconds = result["environment"], result["seconds"]
    changed = " with uncommitted changes" if environment["dirty"] else ""
    threads = environment["threads"]
    return (
        f"```\n{result['command']}\n```\n\n"
        f"Commit {environment['commit']}{changed}, config {result['config_hash'][:12]} "
        f"(config.yaml). It took {duration(seconds['wall'])}, {duration(seconds['cpu'])} of CPU "
        f"time, on {threads} thread{'s' if threads > 1 else ''}, and {result['peak_memory_mib']} "
        "MiB of memory."
    )
