"""`python benchmarks/run.py stage sft|reward|preference key=value …`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.compose import FLAGS, nearest
from benchmarks.plan import PlanError
from benchmarks.progress import duration
from benchmarks.stages.resolve import resolve
from benchmarks.stages.schema import SECTIONS

OK, FAILED = 0, 1
HELP, _, DRY_RUN = FLAGS


def stage(arguments: Sequence[str]) -> int:
    """Do what the words after `stage` say; returns the exit status.

    Raises PlanError with every mistake that can be found without running.
    """
    words = [word for word in arguments if word not in (*FLAGS, "-h")]
    names = [word for word in words if "=" not in word]
    known = [name for name in names if name in SECTIONS]
    if HELP in arguments or "-h" in arguments:
        from benchmarks.stages.describe import help_text

        print(help_text(known or SECTIONS))
        return OK
    problems = [
        f"stage: got {name!r}, allowed is {' | '.join(SECTIONS)}{nearest(name, SECTIONS)}"
        for name in names
        if name not in SECTIONS
    ]
    if len(names) != 1 and not problems:
        problems = [f"stage: got {len(names)} names, allowed is one of {' | '.join(SECTIONS)}"]
    if problems:
        raise PlanError(problems)
    return _run(names[0], [word for word in words if "=" in word], DRY_RUN in arguments)


def _run(name: str, words: Sequence[str], dry_run: bool) -> int:
    config, out, problems = resolve(name, words)
    records_or_none, wrong = _records(config)
    problems = [*problems, *wrong]
    if problems:
        raise PlanError(problems)
    from benchmarks.config_folder import read_result
    from benchmarks.stages.folder import STAGE_FOLDER, input_files

    inputs = input_files(config)
    if wrong := STAGE_FOLDER.problems(out, config, inputs):
        raise PlanError(wrong)
    if dry_run:
        from benchmarks.stages.describe import dry_run_text

        counts = None if records_or_none is None else tuple(map(len, records_or_none))
        print(dry_run_text(config, counts, out))
        return OK
    if read_result(out) is not None:
        print(f"stage {name} is finished: {out / 'result.json'}; nothing was done")
        return OK
    from benchmarks.stages.execute import execute_stage
    from mpo.training.module import StageLossError

    try:
        result = execute_stage(config, inputs, out, records_or_none)
    except StageLossError as error:
        print(f"stage {name} failed: {error}", file=sys.stderr)
        return FAILED
    print(_words(result))
    print(f"model: {out / 'model'}, result: {out / 'result.json'}")
    return OK


def _records(config: dict[str, Any]) -> tuple[Any, list[str]]:
    """The records of a stage whose data section is complete, and what is wrong with them."""
    from mpo.training.data import DataError

    data = config.get("data", {})
    if not {"source", "held_out", "max_records", "max_held_out"} <= data.keys():
        return None, []
    from benchmarks.stages.sources import known_records

    try:
        return known_records(config), []
    except (DataError, ValueError) as error:
        return None, [str(error)]


def _words(result: dict[str, Any]) -> str:
    numbers = [
        f"{name} {value:.4g}"
        for name, value in result["metrics"].items()
        if isinstance(value, int | float)
    ]
    taken = duration(result["seconds"]["wall"])
    return "\n".join([f"stage {result['stage']} took {taken}", *numbers, *result["notes"]])
