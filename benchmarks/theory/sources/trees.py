"""Extensive-form games for `experiment=dynamics`: the shipped ones, and any of OpenSpiel's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from benchmarks.theory.experiments import Config
from benchmarks.theory.sources.source import Measured, Opened, Source
from mpo.games.extensive.registry import GAMES, OPENSPIEL, TREE_DYNAMICS, load_game
from mpo.games.extensive.sequence_form import SequenceForm, random_log_policies, sequence_form
from mpo.games.extensive.trajectory import run_tree

TREES = {name.replace("_poker", ""): name for name in GAMES}
"""Name of a game here to its name there."""


@cache
def _form(name: str) -> SequenceForm:
    """Raises what `load_game` does."""
    return sequence_form(load_game(TREES.get(name, name)))


def _problems(name: str, config: Config) -> list[str]:
    try:
        _form(name)
    except (ValueError, ModuleNotFoundError) as error:
        return [f"game.names: {name}: {error}"]
    return []


def _open(name: str, config: Config) -> Opened:
    """The same game for every seed, each of which starts elsewhere."""
    form, seeds = _form(name), config["seeds"]
    log_policy = random_log_policies(form, seeds)

    def play(method: Any, record: Sequence[int]) -> Measured:
        return run_tree(
            method, form, log_policy, config["calls"], record, noise=config["noise"], seed=seeds
        )

    sets = sum(block.infosets for block in form.blocks)
    return Opened(play, f"{sets} information sets, {len(seeds)} starts")


TREE = Source("extensive-form", TREE_DYNAMICS, _problems, _open)
PREFIX = OPENSPIEL
"""What the name of an OpenSpiel game begins with."""
