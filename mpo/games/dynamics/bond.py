"""Best-of-N distillation with a moving anchor (Sessa et al. 2024, arXiv 2407.14622)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mpo.games.dynamics.field_checks import FieldChecks
from mpo.games.dynamics.protocol import Number, Payoffs
from mpo.games.dynamics.regularised_step import geometric_mixture

SMALLEST_WIN = 1e-12
"""A win probability below this counts as this: no action is lost for good at once, or to noise."""


class AnchorState(NamedTuple):
    """``log_policy`` (N, R), and ``log_anchor`` (N, R), whose samples compete."""

    log_policy: Tensor
    log_anchor: Tensor


@dataclass(frozen=True)
class BOND:
    """The policy becomes the law of the best of N samples of an anchor, and the anchor follows.

    best of 2:  π(y) = 2 a(y) (P a)(y);  best of N = 2^j: j times, the winner of a knock-out
    a ← a^{1−ρ} π^ρ / Z

    The paper's best of N orders samples by a reward: a(y) p_≤(y)^{N−1} (…), its Theorem 1. For N
    = 2^j the knock-out has the same law if P says for sure which of two is better and draws lots
    for ties, and it is defined for any preference. All divergences that the paper minimises, the
    Jeffreys of J-BOND among them, have this law as their only minimum over all policies. J-BOND
    has N = 2 and a slowly moving anchor, an average of weights: here of logits.

    It rests where P a = ½ on all actions, a mixed equilibrium, but as log a grows by ρ log 2 P a
    a step (N = 2), it spirals out from beside one like ``MWU``.
    ρ = 0 stays at the best of N of the initial policy.

    Args:
        knockout_rounds: j, log₂ N; 1 or more, an oracle call each.
        anchor_rate: ρ, from 0 (never moves) to 1 (iterated best of N).
    """

    knockout_rounds: int = 1
    anchor_rate: Number = 0.1

    def problems(self) -> list[str]:
        """Fields out of range."""
        checks = FieldChecks(self)
        checks.count("knockout_rounds")
        checks.share("anchor_rate")
        return checks.found

    @property
    def calls_a_step(self) -> int:
        """P times the law of the entrants of each round of the knock-out."""
        return self.knockout_rounds

    def initial(self, log_policy: Tensor) -> AnchorState:
        """The initial policy is the anchor too."""
        return AnchorState(log_policy=log_policy, log_anchor=log_policy)

    def step(self, state: AnchorState, payoffs: Payoffs) -> AnchorState:
        """The best of N of the anchor, and the anchor's move."""
        best = state.log_anchor
        for _ in range(self.knockout_rounds):
            wins = payoffs(best.exp()).clamp_min(SMALLEST_WIN)
            best = torch.log_softmax(best + wins.log(), dim=-1)
        anchor = geometric_mixture(state.log_anchor, best, self.anchor_rate)
        return AnchorState(log_policy=best, log_anchor=anchor)
