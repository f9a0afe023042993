"""What a paired difference allows one to say, in one word."""

from __future__ import annotations

from benchmarks.intervals import Difference
from benchmarks.wording import counted

MINIMUM_SEEDS = 5

LOWER = "lower"
HIGHER = "higher"
UNRESOLVED = "not resolved"
TOO_FEW = "too few seeds"


def outcome(difference: Difference) -> str:
    """lower | higher | not resolved | too few seeds, of the first beside the second.

    A difference over fewer than MINIMUM_SEEDS seeds supports no claim across seeds; one over
    prompts supports a claim about the runs at hand.
    """
    if difference.unit == "seeds" and difference.n < MINIMUM_SEEDS:
        return TOO_FEW
    if not difference.resolved:
        return UNRESOLVED
    return LOWER if difference.value < 0 else HIGHER


def verdict(difference: Difference, first: str) -> str:
    """The outcome as words for a table: `moving lower`, `not resolved`, `no claim: 2 seeds`."""
    found = outcome(difference)
    if found in (LOWER, HIGHER):
        scope = "" if difference.unit == "seeds" else " (these runs)"
        return f"{first} {found}{scope}"
    return found if found == UNRESOLVED else f"no claim: {counted(difference.n, 'seed')}"
