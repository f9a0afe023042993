"""What a game of `experiment=dynamics` is: its methods, and one call that plays it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from benchmarks.theory.experiments import Config
from benchmarks.theory.method_values import Methods


class Measured(Protocol):
    """What a run of one method has measured, N seeds at K numbers of oracle calls."""

    @property
    def oracle_calls(self) -> Tensor: ...
    @property
    def gap_last(self) -> Tensor: ...
    @property
    def gap_average(self) -> Tensor: ...
    @property
    def calls_to(self) -> Tensor: ...
    @property
    def diverged(self) -> Tensor: ...


Player = Callable[[Any, Sequence[int]], Measured]
"""A method and the numbers of oracle calls at which to measure -> what was measured."""


class Opened(NamedTuple):
    """A game that is ready to be played, one row a seed."""

    play: Player
    words: str
    """What it is, for tables and figures: its size."""


class Source(NamedTuple):
    """A kind of game."""

    kind: str
    """matrix | extensive-form: games that the same methods can play."""
    methods: Methods
    """The methods that can play it."""
    problems: Callable[[str, Config], list[str]]
    """What is wrong with the settings of the game of that name."""
    open: Callable[[str, Config], Opened]
    """The game of that name. Called only when nothing is wrong."""
