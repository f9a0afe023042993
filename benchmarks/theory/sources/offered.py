"""The games of `experiment=dynamics` by name."""

from __future__ import annotations

from benchmarks.theory.sources.matrices import FAMILY, FILE
from benchmarks.theory.sources.source import Source
from benchmarks.theory.sources.trees import PREFIX, TREE, TREES
from mpo.games.matrix_families import FAMILIES

MATRIX = "matrix"
"""The game that is read from `game.path`."""

SOURCES: dict[str, Source] = {
    **dict.fromkeys(FAMILIES, FAMILY),
    MATRIX: FILE,
    **dict.fromkeys(TREES, TREE),
}
"""Name of a game (`game=…`) to its source."""

OFFERED = (*SOURCES, f"{PREFIX}NAME")
"""What to name where a name is wrong."""


def source_of(name: str) -> Source | None:
    """The source of a game; None for a name that no game has."""
    return TREE if name.startswith(PREFIX) else SOURCES.get(name)
