"""Kuhn poker (Kuhn 1950): three cards, one bet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mpo.games.extensive.rules import CHANCE, TERMINAL
from mpo.games.extensive.tree import GameTree, build_tree

CARDS = 3
PASS, BET = 0, 1
ENDS = ("pp", "pbp", "pbb", "bp", "bb")
LONGEST = 3
"""Bets of the longest play."""


class KuhnPosition(NamedTuple):
    """``cards`` of player 0 and 1 as far as dealt, ``bets`` such as "pb" (pass, bet).

    Each player antes 1. A bet is 1, to be met or passed (given up). The higher card wins.
    """

    cards: tuple[int, ...] = ()
    bets: str = ""

    def mover(self) -> int:
        if len(self.cards) < 2:
            return CHANCE
        return TERMINAL if self.bets in ENDS else len(self.bets) % 2

    def actions(self) -> Sequence[int]:
        mover = self.mover()
        if mover == CHANCE:
            return [card for card in range(CARDS) if card not in self.cards]
        return [] if mover == TERMINAL else [PASS, BET]

    def odds(self) -> Sequence[float]:
        left = CARDS - len(self.cards)
        return [1 / left] * left

    def after(self, action: int) -> KuhnPosition:
        if len(self.cards) < 2:
            return self._replace(cards=(*self.cards, action))
        return self._replace(bets=self.bets + "pb"[action])

    def information(self) -> str:
        """The own card and the bets, such as "0pb"."""
        return f"{self.cards[self.mover()]}{self.bets}"

    def features(self) -> Sequence[float]:
        """One-hot: player (2), own card (3), each bet so far (3 × pass, bet)."""
        mover = self.mover()
        player = [float(mover == p) for p in range(2)]
        card = [float(self.cards[mover] == c) for c in range(CARDS)]
        bets = [float(bet == kind) for bet in self.bets.ljust(LONGEST) for kind in "pb"]
        return player + card + bets

    def payoff(self) -> float:
        if self.bets in ("bp", "pbp"):
            return 1.0 if self.bets == "bp" else -1.0
        stake = 1.0 if self.bets == "pp" else 2.0
        return stake if self.cards[0] > self.cards[1] else -stake


def kuhn_poker() -> GameTree:
    """The tree: 12 information sets, 13 sequences a player, 30 ends, value −1/18 for player 0."""
    return build_tree("kuhn_poker", KuhnPosition())
