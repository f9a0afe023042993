"""The games on which the theorems are measured, and the numbers of a game that they speak of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.compose import nearest
from benchmarks.theory.experiments import Config
from benchmarks.theory.sources.matrices import OWN_ACTIONS
from mpo.games.dynamics.oracle import exact_payoffs
from mpo.games.dynamics.protocol import Dynamic
from mpo.games.matrix_families import FAMILIES, initial_policies, matrix_game
from mpo.games.solve import nash_equilibrium

PLAYED = 1e-6
"""An action belongs to an equilibrium's support if its probability is above this."""


class Batch(NamedTuple):
    """N games of R actions.

    ``names`` and ``seeds``, N each. ``preferences`` (N, R, R). ``log_policy`` (N, R), where runs
    start. ``nash`` (N, R), an equilibrium of each by linear programming: the only one or one of
    several. All float64.
    """

    names: list[str]
    seeds: list[int]
    preferences: Tensor
    log_policy: Tensor
    nash: Tensor

    @property
    def smoothness(self) -> Tensor:
        """L (N, 1): ‖P(π − π')‖_∞ ≤ L ‖π − π'‖₁, the least such number.

        Differences of policies sum to 0, so that half the spread of a row of P counts.
        """
        spread = self.preferences.amax(2) - self.preferences.amin(2)
        return spread.amax(1, keepdim=True) / 2

    def only(self, rows: Tensor) -> Batch:
        """The games where ``rows`` (N,) is true."""
        kept = rows.nonzero().flatten().tolist()
        return Batch(
            [self.names[i] for i in kept],
            [self.seeds[i] for i in kept],
            self.preferences[kept],
            self.log_policy[kept],
            self.nash[kept],
        )

    def mixed(self) -> Batch:
        """The games of which an equilibrium plays every action."""
        return self.only(self.nash.amin(1) > PLAYED)


def batches(config: Config) -> list[Batch]:
    """The games of a config, a batch for each number of actions."""
    wanted: dict[int, list[str]] = {}
    for family in config["families"]:
        wanted.setdefault(_actions(family, config), []).append(family)
    return [_batch(families, config["seeds"], size) for size, families in wanted.items()]


def problems(config: Config) -> list[str]:
    """Families that are unknown."""
    return [
        f"families: got {name!r}, allowed is {', '.join(FAMILIES)}{nearest(str(name), FAMILIES)}"
        for name in config["families"]
        if name not in FAMILIES
    ]


def payoffs(preferences: Tensor, log_policy: Tensor) -> Tensor:
    """P π, (N, R)."""
    return (preferences @ log_policy.exp()[..., None])[..., 0]


def gaps(preferences: Tensor, log_policy: Tensor) -> Tensor:
    """2 (max_y P(y ≻ π) − ½), (N,)."""
    return 2 * (payoffs(preferences, log_policy).amax(-1) - 0.5)


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """KL(p ‖ q) from logarithms (…, R) that are normalised; exact also where p and q are close.

    Σ p (q/p − 1 − log(q/p)), whose terms are all 0 or more: p log(p/q) would cancel.
    """
    change = second - first
    terms = first.exp() * (torch.expm1(change) - change)
    # Where p is 0 the term is q: the logarithms' difference would be infinite.
    return torch.where(first.isneginf(), second.exp(), terms).sum(-1)


def path(dynamic: Dynamic[Any], batch: Batch, steps: int) -> Tensor:
    """log π_0 … log π_K with exact payoffs, (K + 1, N, R)."""
    return follow(dynamic, dynamic.initial(batch.log_policy), batch.preferences, steps)


def follow(dynamic: Dynamic[Any], state: Any, preferences: Tensor, steps: int) -> Tensor:
    """The same from a state of the dynamic."""
    answers = exact_payoffs(preferences)
    logs = [state.log_policy]
    for _ in range(steps):
        state = dynamic.step(state, answers)
        logs.append(state.log_policy)
    return torch.stack(logs)


def _actions(family: str, config: Config) -> int:
    return int(OWN_ACTIONS.get(family, config["actions"]))


def _batch(families: Sequence[str], seeds: Sequence[int], actions: int) -> Batch:
    pairs = [(family, seed) for family in families for seed in seeds]
    games = [matrix_game(family, seed, actions) for family, seed in pairs]
    return Batch(
        [family for family, _ in pairs],
        [seed for _, seed in pairs],
        torch.stack(games),
        initial_policies([seed for _, seed in pairs], actions).log(),
        torch.stack([nash_equilibrium(game).policy for game in games]),
    )
