"""The shipped games and dynamics by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from mpo.games.extensive.cfr_plus import CFRPlus
from mpo.games.extensive.dilated import DilatedMD, DilatedMMD, DilatedMPO
from mpo.games.extensive.kuhn import kuhn_poker
from mpo.games.extensive.leduc import leduc_poker
from mpo.games.extensive.openspiel import load_openspiel
from mpo.games.extensive.protocol import TreeDynamic
from mpo.games.extensive.tree import GameTree

GAMES: dict[str, Callable[[], GameTree]] = {
    "kuhn_poker": kuhn_poker,
    "leduc_poker": leduc_poker,
    "leduc_poker_ranks": lambda: leduc_poker(suits=False),
}
"""Games that need no other package; `load_game` takes "openspiel:NAME" as well."""
OPENSPIEL = "openspiel:"

TREE_DYNAMICS: dict[str, TreeDynamic[Any]] = {
    "md": DilatedMD(),
    "mmd": DilatedMMD(),
    "mpo": DilatedMPO(),
    "cfr_plus": CFRPlus(),
}
"""Values; `dataclasses.replace` changes their fields."""


def load_game(name: str) -> GameTree:
    """A shipped game, or "openspiel:NAME" for any of OpenSpiel's (`load_openspiel`).

    Raises:
        ValueError: no such game; the message has the nearest name.
        ModuleNotFoundError: OpenSpiel is asked for and missing.
    """
    if name.startswith(OPENSPIEL):
        return load_openspiel(name.removeprefix(OPENSPIEL))
    if name not in GAMES:
        near = difflib.get_close_matches(name, GAMES, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"game: got {name!r}, allowed: {', '.join(GAMES)}, openspiel:NAME{meant}")
    return GAMES[name]()
