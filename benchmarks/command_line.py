"""What `python benchmarks/run.py` does with its arguments (design.md section 5, command line)."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from benchmarks.compose import EXECUTION_KEYS, FLAGS, flatten, read_command_line
from benchmarks.plan import Plan, PlanError, make_plan, split_execution
from benchmarks.plan_folder import folder_problems, read_plan_file
from benchmarks.theory.routing import experiment_on_games

OK, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit statuses: all runs have results; some failed; nothing was run; Ctrl-C or SIGTERM."""

RESUME, AGGREGATE, STAGE = "resume", "aggregate", "stage"
"""First words of a command that makes no plan."""

HELP, LIST, DRY_RUN = FLAGS


def main(arguments: Sequence[str]) -> int:
    """Do what the arguments say; returns the exit status. Imports only what that needs."""
    try:
        return _act(arguments)
    except PlanError as error:
        count = len(error.problems)
        print(f"{count} problem{'s' if count > 1 else ''}, nothing was run:", file=sys.stderr)
        for problem in error.problems:
            print("  - " + problem.replace("\n", "\n    "), file=sys.stderr)
        print("`python benchmarks/run.py --help` lists all keys.", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever reads the output, such as `head`, has seen enough
        sys.stdout = None
        return OK if {HELP, LIST, DRY_RUN} & set(arguments) else INTERRUPTED


def _act(arguments: Sequence[str]) -> int:
    if arguments[:1] and arguments[0] == STAGE:
        from benchmarks.stages.command import stage

        return stage(arguments[1:])
    if name := experiment_on_games(arguments):
        from benchmarks.theory.command import run_experiment

        return run_experiment(name, arguments)
    if HELP in arguments or "-h" in arguments:
        return _print_help()
    if LIST in arguments:
        return _print_list()
    if not arguments:
        _print_help()
        return REFUSED
    if arguments[0] == RESUME:
        return _resume(arguments[1:])
    if arguments[0] == AGGREGATE:
        return _aggregate(arguments[1:])
    return _run(arguments)


def _print_help() -> int:
    from benchmarks.describe import help_text

    print(help_text())
    return OK


def _print_list() -> int:
    from benchmarks.describe import list_text

    print(list_text())
    return OK


def show(folder: Path) -> None:
    """Make the table, figures and report of a plan's folder; print the table and where it lies."""
    from benchmarks.aggregate import aggregate
    from benchmarks.render import console_table

    print("making the table, the figures and the report", flush=True)
    aggregate(folder)
    print(f"\n{console_table(folder)}\n")
    print(f"table: {folder / 'table.md'} (and .csv), report: {folder / 'report.md'}", flush=True)


def _run(arguments: Sequence[str]) -> int:
    request = read_command_line([word for word in arguments if word != DRY_RUN])
    try:
        plan, execution = make_plan(request, arguments)
    except PlanError as error:
        # The folder is looked at also when the config is wrong, so that all mistakes come at once.
        out = split_execution(request)[0].out
        folder = folder_problems(out, None) if out != Path() else []
        raise PlanError([*error.problems, *folder]) from error
    if problems := folder_problems(execution.out, plan):
        raise PlanError(problems)
    if DRY_RUN in arguments:
        from benchmarks.describe import plan_text

        print(plan_text(plan, execution))
        return OK
    from benchmarks.execute import execute

    status = execute(plan, execution.out, jobs=execution.jobs, progress=execution.progress)
    return _conclude(execution.out, status)


def _resume(words: Sequence[str]) -> int:
    from benchmarks.execute import execute

    folders = [word for word in words if "=" not in word]
    request = read_command_line([word for word in words if "=" in word])
    allowed = [key for key in EXECUTION_KEYS if key != "out"]
    given = [*request.choices, *request.values]
    problems = [*request.problems, *split_execution(request)[1]]
    problems += [
        f"{key}: got a value, allowed after resume is {', '.join(allowed)}: the plan is fixed"
        for key in given
        if key not in allowed
    ]
    if len(folders) != 1:
        problems.append(f"{RESUME}: got {len(folders)} folders, allowed is one")
        raise PlanError(problems)
    folder = Path(folders[0])
    try:
        plan = read_plan_file(folder)
    except PlanError as error:
        raise PlanError([*problems, *error.problems]) from error
    problems += _changed_inputs(plan)
    if problems:
        raise PlanError(problems)
    execution = split_execution(request)[0]
    status = execute(plan, folder, jobs=execution.jobs, progress=execution.progress)
    return _conclude(folder, status)


def _changed_inputs(plan: Plan) -> list[str]:
    """What is wrong with the inputs of a plan that was made before."""
    from benchmarks.inputs import input_hashes, input_problems

    configs = [run["config"] for run in plan["runs"]]
    if problems := input_problems([flatten(config) for config in configs]):
        return problems
    return [
        f"inputs: got {name!r}, whose content is not that of the plan any more; allowed is what "
        "it was, or a new plan in another folder"
        for name, digest in input_hashes(configs).items()
        if digest != plan["inputs"].get(name)
    ]


def _aggregate(words: Sequence[str]) -> int:
    problems = []
    if not words:
        problems.append(f"{AGGREGATE}: got no folder, allowed is one or more")
    for word in words:
        try:
            read_plan_file(Path(word))
        except PlanError as error:
            problems += error.problems
    if problems:
        raise PlanError(problems)
    return max(_show_or_say_why(Path(word)) for word in words)


def _conclude(folder: Path, status: int) -> int:
    """The table of what has finished; an exit status that also tells of a table that failed."""
    if status == INTERRUPTED or not any(folder.glob("runs/*/result.json")):
        return status
    return max(status, _show_or_say_why(folder))


def _show_or_say_why(folder: Path) -> int:
    try:
        show(folder)
    except Exception:  # the results are safe: say what failed and how to try again
        traceback.print_exc()
        print(
            f"the results are in {folder}, but their table could not be made; after mending: "
            f"python benchmarks/run.py {AGGREGATE} {folder}",
            file=sys.stderr,
        )
        return FAILED
    return OK
