"""What the stages before self-play are trained on, from text to token sequences."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Example(NamedTuple):
    """A prompt and the response to imitate."""

    prompt: str
    response: str


class Comparison(NamedTuple):
    """Responses to one prompt, and which won over which."""

    prompt: str
    responses: tuple[str, ...]
    """K responses."""
    wins: tuple[tuple[float, ...], ...]
    """K × K: P(y_i ≻ y_j | x), ½ for a tie, with wins[i][j] + wins[j][i] = 1; ½ on the diagonal,
    which compares nothing."""
    group: str
    """What is split as a whole, such as the conversation or the prompt: all comparisons of a group
    are on one side of a split."""


class Unit(NamedTuple):
    """The token sequences of one record, which stay together in one micro-batch."""

    sequences: tuple[tuple[int, ...], ...]
    """Token ids; each sequence sees itself only."""
    wanted: tuple[tuple[int, ...], ...]
    """Positions of each sequence whose hidden states the loss reads, in increasing order."""
    terms: int
    """Terms of this unit in its loss (tokens, pairs): a step's loss is the sum of all terms over
    their number in the whole step."""
    tokens: tuple[int, ...] = ()
    """For next-token losses: the token predicted at each wanted position, sequence by sequence."""
    wins: Tensor | None = None
    """For comparisons: (K, K) float, as in Comparison."""
