"""Leduc poker (Southey et al. 2005, arXiv:1207.1411): six cards, two rounds of bets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mpo.games.extensive.rules import CHANCE, TERMINAL
from mpo.games.extensive.tree import GameTree, build_tree

RANKS = 3
COPIES = 2
FOLD, CALL, RAISE = 0, 1, 2
LETTERS = "fcr"
ANTE = 1
RAISES = (2, 4)
"""What a raise adds in round 1 and in round 2."""
MOST_RAISES = 2
"""In one round."""
LONGEST = 4
"""Bets of the longest round: check, raise, raise, call."""


class LeducPosition(NamedTuple):
    """The cards as far as dealt, and the bets of both rounds, such as ("crc", "r").

    ``cards`` are those of player 0, player 1 and the public one, dealt between the rounds.
    With ``suits`` there are six cards, 2 r and 2 r + 1 of rank r; without, cards are ranks and
    equal ones can't be told apart: the same game, with a smaller tree.
    """

    suits: bool = True
    cards: tuple[int, ...] = ()
    bets: tuple[str, str] = ("", "")

    def mover(self) -> int:
        first, second = self.bets
        if "f" in first + second or _closed(second):
            return TERMINAL
        if len(self.cards) < 2 or (_closed(first) and len(self.cards) < 3):
            return CHANCE
        return len(second if _closed(first) else first) % 2

    def actions(self) -> Sequence[int]:
        mover = self.mover()
        if mover == TERMINAL:
            return []
        if mover == CHANCE:
            return [card for card in range(self._kinds()) if self._left(card)]
        bets = self.bets[self._round()]
        fold = [FOLD] if bets.endswith("r") else []
        return [*fold, CALL, *([RAISE] if bets.count("r") < MOST_RAISES else [])]

    def odds(self) -> Sequence[float]:
        left = [self._left(card) for card in self.actions()]
        return [count / sum(left) for count in left]

    def after(self, action: int) -> LeducPosition:
        if self.mover() == CHANCE:
            return self._replace(cards=(*self.cards, action))
        first, second = self.bets
        if self._round() == 0:
            return self._replace(bets=(first + LETTERS[action], second))
        return self._replace(bets=(first, second + LETTERS[action]))

    def information(self) -> str:
        """Own and public card and the bets, such as "5|3 crc/r"."""
        public = "".join(str(card) for card in self.cards[2:])
        return f"{self.cards[self.mover()]}|{public} {'/'.join(self.bets)}"

    def features(self) -> Sequence[float]:
        """One-hot: player (2), own card, public card (6 or 3), bets (2 × 4 × call, raise)."""
        mover, kinds = self.mover(), range(self._kinds())
        player = [float(mover == p) for p in range(2)]
        own = [float(self.cards[mover] == card) for card in kinds]
        public = [float(self.cards[2:] == (card,)) for card in kinds]
        bets = "".join(bets.ljust(LONGEST) for bets in self.bets)
        return player + own + public + [float(bet == kind) for bet in bets for kind in "cr"]

    def payoff(self) -> float:
        raised = [size * bets.count("r") for size, bets in zip(RAISES, self.bets, strict=True)]
        stake = ANTE + sum(raised)
        last = self._round()
        if self.bets[last].endswith("f"):
            # Who folds has not met the last raise.
            loss = stake - RAISES[last]
            folder = (len(self.bets[last]) - 1) % 2
            return float(-loss if folder == 0 else loss)
        ranks = [card // COPIES if self.suits else card for card in self.cards]
        strengths = [(rank == ranks[2], rank) for rank in ranks[:2]]
        return float(stake * ((strengths[0] > strengths[1]) - (strengths[0] < strengths[1])))

    def _round(self) -> int:
        return int(_closed(self.bets[0]))

    def _kinds(self) -> int:
        return RANKS * COPIES if self.suits else RANKS

    def _left(self, card: int) -> int:
        return (1 if self.suits else COPIES) - self.cards.count(card)


def _closed(bets: str) -> bool:
    """Both have met the stake: a call that is not the round's first bet."""
    return len(bets) > 1 and bets.endswith("c")


def leduc_poker(suits: bool = True) -> GameTree:
    """The tree: 936 information sets, 1,093 sequences a player, 5,520 ends.

    Without suits: 288, 337 and 1,116 (equal cards are one). Value −0.0856 for player 0.
    """
    return build_tree("leduc_poker" if suits else "leduc_poker_ranks", LeducPosition(suits))
