"""`python benchmarks/run.py experiment=NAME …` for an experiment on games."""

from __future__ import annotations

import resource
import shlex
from collections.abc import Sequence
from pathlib import Path

from benchmarks.compose import FLAGS, ConfError, read_conf
from benchmarks.config_folder import RESULT, ConfigFolder, read_result
from benchmarks.plan import PlanError
from benchmarks.progress import duration
from benchmarks.theory.experiments import Config, Work
from benchmarks.theory.schema import SCHEMA

OK = 0
HELP, _, DRY_RUN = FLAGS
FOLDER = ConfigFolder("an experiment", SCHEMA)


def run_experiment(name: str, arguments: Sequence[str]) -> int:
    """Do what the words of a command with `experiment=name` say; returns the exit status.

    Raises PlanError with every mistake that can be found without running.
    """
    if HELP in arguments or "-h" in arguments:
        from benchmarks.theory.describe import help_text

        print(help_text(name))
        return OK
    from benchmarks.theory.resolve import resolve

    words = [word for word in arguments if word != DRY_RUN]
    try:
        config, work, out, problems = resolve(name, words)
    except ConfError as error:
        raise PlanError([f"experiment: {error}"]) from error
    if problems:
        raise PlanError(problems)
    inputs = work.inputs(config)
    if problems := FOLDER.problems(out, config, inputs):
        raise PlanError(problems)
    if DRY_RUN in arguments:
        from benchmarks.theory.describe import config_text

        print(config_text(config, out))
        return OK
    if read_result(out) is not None:
        print(f"experiment {name} is finished: {out / RESULT}; nothing was done")
        return OK
    command = shlex.join(["python", "benchmarks/run.py", *arguments])
    print(_execute(name, config, work, inputs, out, command))
    return OK


def _execute(
    name: str, config: Config, work: Work, inputs: dict[str, str], out: Path, command: str
) -> str:
    """Run an experiment in its folder; returns what to print at the end."""
    import torch

    from benchmarks.atomic import write_json, write_text
    from benchmarks.elapsed import Elapsed
    from benchmarks.environment import environment
    from benchmarks.theory.report import report_markdown

    elapsed = Elapsed()
    torch.set_num_threads(config["threads"])
    (out / "figures").mkdir(parents=True, exist_ok=True)
    FOLDER.write(out, config, inputs)
    outcome = work.run(config, out)
    result = {
        "schema": SCHEMA,
        "experiment": name,
        "command": command,
        "metrics": outcome.metrics,
        "notes": outcome.notes,
        "seconds": elapsed.seconds(),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "environment": environment("cpu"),
        "inputs": inputs,
        "config_hash": FOLDER.hash(config, inputs),
    }
    about = read_conf(f"experiment/{name}").about
    write_text(out / "report.md", report_markdown(about, result, outcome.report))
    # Last: it says that all the rest is there.
    write_json(out / RESULT, result)
    notes = [f"- {note}" for note in outcome.notes]
    taken = duration(result["seconds"]["wall"])
    parts = [outcome.summary, "\n".join(notes)]
    return "\n\n".join([*filter(None, parts), f"took {taken}; report: {out / 'report.md'}"])
