"""The settings of `experiment=theorems`; the values are in conf/experiment/theorems.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.rules import COUNT, POSITIVE, Rule, broken

FEW_ACTIONS = Rule(
    lambda value: 3 <= value <= 8, "an integer from 3 to 8: all supports are looked through"
)
"""The cyclic families need three; 2^R − 1 linear systems a round are solved for Theorem F.4."""

TWO_ROUNDS = Rule(lambda value: value >= 2, "an integer ≥ 2")


def _different_names(value: list[Any]) -> bool:
    return bool(value) and len(set(value)) == len(value)


@dataclass(frozen=True)
class Theorems:
    """On which games the theorems are measured, and how long."""

    families: list[str]
    """Families of seeded matrix games; rock_paper_scissors has 3 actions whatever `actions` is."""
    actions: int
    """R, actions of a game."""
    alpha: float
    """α, strength of the magnet. The stepsize of the theorems is the largest they allow, α/L²."""
    steps: int
    """Steps with a fixed magnet: Theorems 3.2, 3.5 and F.1."""
    rounds: int
    """Moves of the magnet: Lemmas 3.3 and 3.6, Theorems 3.4, 3.7 and F.4."""
    round_steps: int
    """T, steps between two moves: Lemma 3.6 and Theorem 3.7."""
    tolerance: float
    """Theorems 3.4 and 3.7 count as reached at this duality gap."""
    mirror_eta: float
    """η of plain mirror descent."""
    mirror_steps: int
    """Steps of plain mirror descent."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        names = Rule(_different_names, "a list of different families, such as [cyclic]")
        return broken(
            self,
            families=names,
            actions=FEW_ACTIONS,
            alpha=POSITIVE,
            steps=COUNT,
            rounds=TWO_ROUNDS,
            round_steps=COUNT,
            tolerance=POSITIVE,
            mirror_eta=POSITIVE,
            mirror_steps=COUNT,
        )
