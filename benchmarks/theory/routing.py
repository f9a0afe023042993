"""Which experiments of conf/experiment/ are on games: those make no plan. Light to import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.compose import FLAGS, ConfError, available, read_conf
from benchmarks.plan import PlanError

GAMES = "games"
"""The `kind` in an experiment's file that says so."""

_, LIST, _ = FLAGS


def is_on_games(about: Mapping[str, Any]) -> bool:
    """Whether a file of conf/experiment/ says that it is an experiment on games."""
    return about.get("kind") == GAMES


def experiments_on_games() -> list[str]:
    """Their names. Raises ConfError for a file that cannot be read."""
    names = available("experiment")
    return [name for name in names if is_on_games(read_conf(f"experiment/{name}").about)]


def experiment_on_games(arguments: Sequence[str]) -> str | None:
    """The experiment on games that the words of a command ask to run or to explain, or None.

    Raises PlanError when the experiment's file cannot be read.
    """
    # `tune experiment=…` and other commands that begin with a word of their own are not this.
    if LIST in arguments or (arguments[:1] and _is_word(arguments[0])):
        return None
    names = [word.partition("=")[2] for word in arguments if word.startswith("experiment=")]
    for name in names:
        if name in available("experiment"):
            try:
                about = read_conf(f"experiment/{name}").about
            except ConfError as error:
                raise PlanError([f"experiment: {error}"]) from error
            if is_on_games(about):
                return name
    return None


def _is_word(argument: str) -> bool:
    return "=" not in argument and not argument.startswith("-")
