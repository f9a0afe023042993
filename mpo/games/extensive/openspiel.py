"""Any two-player zero-sum game of OpenSpiel as a tree, where the package is installed."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, NamedTuple

from mpo.games.extensive.rules import CHANCE, TERMINAL
from mpo.games.extensive.tree import MAX_HISTORIES, GameTree, build_tree


class _Position(NamedTuple):
    """A pyspiel.State, which is never changed."""

    state: Any
    shows_features: bool

    def mover(self) -> int:
        if self.state.is_terminal():
            return TERMINAL
        return CHANCE if self.state.is_chance_node() else int(self.state.current_player())

    def actions(self) -> Sequence[int]:
        return list(self.state.legal_actions())

    def odds(self) -> Sequence[float]:
        return [odds for _, odds in self.state.chance_outcomes()]

    def after(self, action: int) -> _Position:
        return self._replace(state=self.state.child(action))

    def information(self) -> str:
        return str(self.state.information_state_string())

    def features(self) -> Sequence[float]:
        return list(self.state.information_state_tensor()) if self.shows_features else ()

    def payoff(self) -> float:
        return float(self.state.returns()[0])


def load_openspiel(name: str, max_histories: int = MAX_HISTORIES) -> GameTree:
    """The tree of an OpenSpiel game, such as "liars_dice" or "leduc_poker(suit_isomorphism=True)".

    Raises:
        ModuleNotFoundError: the package is missing; the message says what to install.
        ValueError: no such game (with the nearest name); a game that isn't for two players,
            zero-sum, played in turn, with known odds and information states; one that is too large.
    """
    try:
        import pyspiel
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "open_spiel: got no such package, allowed: "
            'pip install "magnetic-preference-optimization[openspiel]"'
        ) from error
    names = pyspiel.registered_names()
    short = name.partition("(")[0]
    if short not in names:
        near = difflib.get_close_matches(short, names, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(
            f"game: got {short!r}, allowed: a name of pyspiel.registered_names(){meant}"
        )
    try:
        game = pyspiel.load_game(name)
    except pyspiel.SpielError as error:
        raise ValueError(f"game: got {name!r}, allowed: {error}") from error
    kind, types = game.get_type(), pyspiel.GameType
    explicit = (types.ChanceMode.DETERMINISTIC, types.ChanceMode.EXPLICIT_STOCHASTIC)
    wrong = {
        "players": (game.num_players(), "2", game.num_players() == 2),
        "utility": (kind.utility.name, "ZERO_SUM", kind.utility == types.Utility.ZERO_SUM),
        "dynamics": (
            kind.dynamics.name,
            "SEQUENTIAL, or the game as turn_based_simultaneous_game(game=…)",
            kind.dynamics == types.Dynamics.SEQUENTIAL,
        ),
        "chance": (kind.chance_mode.name, "explicit odds", kind.chance_mode in explicit),
        "information states": (
            "none",
            "a game that names them",
            kind.provides_information_state_string,
        ),
    }
    found = [
        f"{field}: got {got}, allowed: {allowed}"
        for field, (got, allowed, good) in wrong.items()
        if not good
    ]
    if found:
        raise ValueError(f"{name}: " + "; ".join(found))
    root = _Position(game.new_initial_state(), kind.provides_information_state_tensor)
    return build_tree(name, root, max_histories)
