"""Matrix games for `experiment=dynamics`: the seeded families, and a user's own file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.theory.experiments import Config
from benchmarks.theory.sources.source import Measured, Opened, Player, Source
from mpo.games.dynamics.registry import DYNAMICS
from mpo.games.dynamics.trajectory import run
from mpo.games.matrix_families import initial_policies, matrix_game
from mpo.games.matrix_file import MatrixFileError, read_matrix

OWN_ACTIONS = {"rock_paper_scissors": 3}
"""Families whose number of actions is not free."""


def _family_actions(name: str, config: Config) -> int:
    return int(OWN_ACTIONS.get(name, config["game"]["actions"]))


def _family_problems(name: str, config: Config) -> list[str]:
    actions = _family_actions(name, config)
    if actions < 2:  # the setting's own rule has said so
        return []
    try:
        matrix_game(name, 0, actions)
    except ValueError as error:
        return [f"game.{problem}" for problem in str(error).split("; ")]
    return []


def _open_family(name: str, config: Config) -> Opened:
    """One game a seed."""
    actions = _family_actions(name, config)
    games = torch.stack([matrix_game(name, seed, actions) for seed in config["seeds"]])
    return Opened(_player(games, config), f"{actions} actions, {len(games)} games")


def _file_problems(name: str, config: Config) -> list[str]:
    path = config["game"]["path"]
    if not path:
        return [f"game.path: missing, allowed with game={name} is a .npy or .csv file"]
    try:
        read_matrix(Path(path).expanduser())
    except MatrixFileError as error:
        return [f"game.path: {path}: {problem}" for problem in error.problems]
    return []


def _open_file(name: str, config: Config) -> Opened:
    """The same game for every seed, each of which starts elsewhere."""
    path = Path(config["game"]["path"]).expanduser()
    game = read_matrix(path)
    starts = len(config["seeds"])
    words = f"{path.name}, {len(game)} actions, {starts} starts"
    return Opened(_player(game[None], config), words)


def _player(games: Tensor, config: Config) -> Player:
    log_policy = initial_policies(config["seeds"], games.shape[-1]).log()

    def play(method: Any, record: Sequence[int]) -> Measured:
        return run(
            method,
            games,
            log_policy,
            config["calls"],
            record,
            noise=config["noise"],
            seed=config["seeds"],
        )

    return play


FAMILY = Source("matrix", DYNAMICS, _family_problems, _open_family)
FILE = Source("matrix", DYNAMICS, _file_problems, _open_file)
