"""What the rules of a two-player zero-sum game have to say about a position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

CHANCE = -1
"""The mover of a position in which chance moves."""
TERMINAL = -2
"""The mover of a position in which the game is over."""


class Position(Protocol):
    """A history of the game: an immutable value."""

    def mover(self) -> int:
        """0, 1, CHANCE or TERMINAL."""
        ...

    def actions(self) -> Sequence[int]:
        """Legal actions of the mover, in the game's own numbers; empty at the end."""
        ...

    def odds(self) -> Sequence[float]:
        """Probability of each of the actions where chance moves; above 0, they sum to 1."""
        ...

    def after(self, action: int) -> Self:
        """The position that an action leads to."""
        ...

    def information(self) -> str:
        """All that the mover knows: the name of the own information set. Perfect recall."""
        ...

    def features(self) -> Sequence[float]:
        """The same as numbers, as many in every position of the game: what a network is shown."""
        ...

    def payoff(self) -> float:
        """What player 0 wins and player 1 loses at the end."""
        ...
