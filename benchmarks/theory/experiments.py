"""The experiments on games, and how one is added.

`python benchmarks/run.py experiment=NAME key=value …` runs it. An experiment NAME is

1. a file conf/experiment/NAME.yaml with `kind: games`, `title`, `question`, a value for every
   setting (`methods` and `seeds` too, where it has them) and, if wanted, `sizes: {quick: {…}}`;
2. a line in EXPERIMENTS below: the dataclasses of its settings, and where its work is;
3. a value `Work(run=…)` in a module of its own, imported only when the experiment runs.

What `run` gets, and what it leaves to the command:

- `config` is nested, typed and checked: `config["game"]["actions"]`, `config["seeds"]`. Settings
  of a chosen method stand under its name, whole: `config["mpo"]["alpha"]`
  (`method_values.chosen_methods` makes the methods from them).
- `out` exists and holds config.yaml. It may hold what an interrupted run of the *same* config left:
  use it or write over it. Files are written with benchmarks.atomic; figures go to out/figures/.
- torch already uses `config["threads"]` threads.
- The command writes config.yaml before and result.json (metrics, notes, commit, versions, seconds)
  and report.md (title, question, the report's parts, notes, command, commit) after, prints the
  summary, refuses a folder with another config, and does nothing when result.json is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.theory.annotators.settings import Annotators, Sample, SampledModel
from benchmarks.theory.choosing.settings import Choosing, Grid
from benchmarks.theory.poker.settings import Figure1, LearningRates, NeuralTraining
from benchmarks.theory.schema import Dynamics, Figure3, Game, WeightedGame
from benchmarks.theory.theorems.settings import Theorems

Config = dict[str, Any]
"""A resolved config."""


class Outcome(NamedTuple):
    """What a run has found, beside the files that it has written."""

    metrics: dict[str, Any]
    """For result.json: no NaN or infinity (None instead)."""
    report: list[str]
    """Paragraphs, tables and figures (`![…](figures/x.png)`) of report.md, in markdown."""
    notes: list[str]
    """What a reader of the numbers must know, a sentence each: result.json, report.md, console."""
    summary: str
    """Printed at the end: the table as plain text."""


def nothing_wrong(config: Config) -> list[str]:
    """An experiment whose settings can be wrong only one by one."""
    return []


def no_files(config: Config) -> dict[str, str]:
    """An experiment that reads no file."""
    return {}


class Work(NamedTuple):
    """The functions of an experiment."""

    run: Callable[[Config, Path], Outcome]
    """Does the work and writes tables and figures into a folder."""
    problems: Callable[[Config], list[str]] = nothing_wrong
    """Mistakes that one setting alone does not show, as 'field: got …, allowed is …': settings that
    do not fit each other, a file that cannot be read. Called before anything is written. All
    settings are there with the right type, but some may break the rules of their own section: look
    only at what can be looked at, raise nothing."""
    inputs: Callable[[Config], dict[str, str]] = no_files
    """sha256 of each file that the config names, by that name: a changed file is another config."""
    methods: Callable[[Config], Mapping[str, Any]] | None = None
    """All methods by name, each a frozen dataclass with `problems()`: then `methods=[…]` chooses
    some of them and `NAME.FIELD=…` changes one. The config is as for `problems`. None: the
    experiment has no `methods`."""


class Experiment(NamedTuple):
    """An experiment's line in the table; nothing here imports torch."""

    settings: dict[str, type[Any]]
    """Section to a frozen dataclass whose fields are annotated, each with a docstring below it, and
    which has `problems() -> list[str]` (benchmarks.rules.broken); "" is the top of the config.
    `threads` and `out` come from the command."""
    work: str
    """`module:NAME` of its Work."""


EXPERIMENTS: dict[str, Experiment] = {
    "annotators": Experiment(
        {"": Annotators, "model": SampledModel, "sample": Sample},
        "benchmarks.theory.annotators.experiment:WORK",
    ),
    "choosing": Experiment(
        {"": Choosing, "grid": Grid},
        "benchmarks.theory.choosing.experiment:WORK",
    ),
    "dynamics": Experiment(
        {"": Dynamics, "game": Game},
        "benchmarks.theory.dynamics.experiment:WORK",
    ),
    "figure1": Experiment(
        {"": Figure1, "training": NeuralTraining, "lr": LearningRates},
        "benchmarks.theory.poker.experiment:WORK",
    ),
    "figure1_leduc": Experiment(
        {"": Figure1, "training": NeuralTraining, "lr": LearningRates},
        "benchmarks.theory.poker.experiment:WORK",
    ),
    "figure3": Experiment(
        {"": Figure3, "game": WeightedGame},
        "benchmarks.theory.simplex.experiment:WORK",
    ),
    "theorems": Experiment(
        {"": Theorems},
        "benchmarks.theory.theorems.experiment:WORK",
    ),
}
"""Name of an experiment (a file in conf/experiment/ with `kind: games`) to what it is."""
