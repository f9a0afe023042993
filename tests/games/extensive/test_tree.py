from __future__ import annotations

import pyspiel
import pytest
import torch
from open_spiel.python.algorithms import get_all_states
from torch import Tensor

from mpo.games.extensive.openspiel import load_openspiel
from mpo.games.extensive.registry import load_game
from mpo.games.extensive.rules import CHANCE, TERMINAL
from mpo.games.extensive.tree import build_tree

PAIRS = [
    ("kuhn_poker", "kuhn_poker"),
    ("leduc_poker", "leduc_poker"),
    ("leduc_poker_ranks", "leduc_poker(suit_isomorphism=True)"),
]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_own_games_are_openspiels_history_by_history(ours: str, theirs: str) -> None:
    """All arrays: movers, children, odds, payoffs, information sets, features, actions."""
    own, loaded = load_game(ours), load_openspiel(theirs)
    for field, value in own._asdict().items():
        if isinstance(value, Tensor):
            torch.testing.assert_close(
                value, getattr(loaded, field), rtol=0, atol=1e-15, msg=lambda _, f=field: f
            )


@pytest.mark.parametrize(
    ("name", "infosets", "sequences", "ends"),
    [
        ("kuhn_poker", 12, 13, 30),
        ("leduc_poker", 936, 1093, 5520),
        ("leduc_poker_ranks", 288, 337, 1116),
    ],
)
def test_sizes(name: str, infosets: int, sequences: int, ends: int) -> None:
    tree = load_game(name)
    players = torch.repeat_interleave(tree.player, tree.actions)
    assert len(tree.player) == infosets == len(set(tree.information))
    assert [int((players == p).sum()) + 1 for p in range(2)] == [sequences] * 2
    assert int((tree.mover == TERMINAL).sum()) == ends


@pytest.mark.parametrize("name", ["kuhn_poker", "leduc_poker"])
def test_counts_are_those_of_openspiels_own_walk(name: str) -> None:
    """Walked by OpenSpiel's code, not by ours through its states."""
    game, tree = pyspiel.load_game(name), load_game(name)
    states = get_all_states.get_all_states(
        game,
        include_terminals=True,
        include_chance_states=True,
        to_string=lambda s: s.history_str(),
    )
    assert len(states) == len(tree.mover)
    acting = [s for s in states.values() if not s.is_terminal() and not s.is_chance_node()]
    seen = {s.information_state_string(): len(s.legal_actions()) for s in acting}
    assert len(seen) == len(tree.information)
    assert sum(seen.values()) == len(tree.action) - 2
    assert sum(s.is_terminal() for s in states.values()) == int((tree.mover == TERMINAL).sum())


@pytest.mark.parametrize("name", ["kuhn_poker", "leduc_poker_ranks"])
def test_arrays_fit_together(name: str) -> None:
    tree = load_game(name)
    edges = (tree.children >= 0).nonzero()
    above, below = edges[:, 0], tree.children[edges[:, 0], edges[:, 1]]
    # All but the root follow exactly one history.
    assert below.sort().values.tolist() == list(range(1, len(tree.mover)))
    chance = tree.mover[above] == CHANCE
    torch.testing.assert_close(tree.reach[below], tree.reach[above] * tree.chance[below])
    totals = torch.zeros(len(tree.mover), dtype=torch.float64)
    totals = totals.index_add(0, above[chance], tree.chance[below[chance]])
    torch.testing.assert_close(
        totals[tree.mover == CHANCE],
        torch.ones(1).double().expand(int((tree.mover == CHANCE).sum())),
    )
    assert bool((tree.chance[below[~chance]] == 1).all())
    # Behind a player's move is the sequence of the information set and the action.
    mine = ~chance
    expected = tree.first[tree.infoset[above[mine]]] + edges[mine, 1]
    assert tree.sequence[below[mine]].tolist() == expected.tolist()
    assert bool((tree.sequence[below[chance]] == -1).all())
    # The last own sequence before an information set is its parent.
    for player in range(2):
        here = (tree.mover == player).nonzero()[:, 0]
        assert tree.last[here, player].tolist() == tree.parent[tree.infoset[here]].tolist()


class Forgetful:
    """Player 0 moves twice and forgets the first move."""

    def __init__(self, moves: tuple[int, ...] = ()):
        self.moves = moves

    def mover(self) -> int:
        return 0 if len(self.moves) < 2 else TERMINAL

    def actions(self) -> list[int]:
        return [0, 1] if len(self.moves) < 2 else []

    def odds(self) -> list[float]:
        return []

    def after(self, action: int) -> Forgetful:
        return Forgetful((*self.moves, action))

    def information(self) -> str:
        return f"move {len(self.moves)}"

    def features(self) -> list[float]:
        return [float(len(self.moves))]

    def payoff(self) -> float:
        return 0.0


def test_a_game_that_forgets_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'move 1': .* differ in parent, allowed: perfect recall"):
        build_tree("forgetful", Forgetful())


class Blind:
    """Each player chooses once and sees the same words."""

    def __init__(self, moves: tuple[int, ...] = ()):
        self.moves = moves

    def mover(self) -> int:
        return len(self.moves) if len(self.moves) < 2 else TERMINAL

    def actions(self) -> list[int]:
        return [[3, 4], [7, 8, 9], []][len(self.moves)]

    def odds(self) -> list[float]:
        return []

    def after(self, action: int) -> Blind:
        return Blind((*self.moves, action))

    def information(self) -> str:
        return "your move"

    def features(self) -> list[float]:
        return []

    def payoff(self) -> float:
        return float(self.moves[0] * self.moves[1])


def test_players_who_see_the_same_words_have_information_sets_of_their_own() -> None:
    tree = build_tree("blind", Blind())
    assert tree.player.tolist() == [0, 1] and tree.actions.tolist() == [2, 3]
    assert tree.action.tolist() == [-1, -1, 3, 4, 7, 8, 9]
    assert tree.information == ("your move", "your move")
    assert tree.payoff[tree.mover == TERMINAL].tolist() == [21, 24, 27, 28, 32, 36]


def test_a_large_game_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 100 histories"):
        load_openspiel("leduc_poker", max_histories=100)


def test_unknown_game_has_its_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"game: got 'kuhn_pokr'.*did you mean kuhn_poker\?"):
        load_game("kuhn_pokr")
