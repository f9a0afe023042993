"""Extragradient preference optimisation (Zhou, Fazel and Du 2025, arXiv 2503.08942)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mpo.games.dynamics.field_checks import FieldChecks
from mpo.games.dynamics.protocol import Number, Payoffs
from mpo.games.dynamics.regularised_step import (
    ReferenceState,
    check_alpha_and_eta,
    regularised_step,
)


@dataclass(frozen=True)
class EGPO:
    """Extragradient steps in the regularised game: both start at π_k.

    π_{k+½} ∝ π_k^{1−ηα} μ^{ηα} exp(η P π_k)
    π_{k+1} ∝ π_k^{1−ηα} μ^{ηα} exp(η P π_{k+½})

    The last iterate converges linearly to the regularised equilibrium π ∝ μ exp(P π / α), with a
    stepsize that needn't be small beside α: KL to it falls by 1 − ηα a step if η is at most
    1/(α + 3). That point is near the original equilibrium only for small α. Two oracle calls a
    step. The reference μ stays the initial policy.

    Args:
        alpha: α, the paper's β.
        eta: η, stepsize; ηα at most 1.
    """

    alpha: Number = 0.1
    eta: Number = 2.0

    def problems(self) -> list[str]:
        """Fields out of range, and ηα above 1."""
        checks = FieldChecks(self)
        check_alpha_and_eta(checks)
        return checks.found

    @property
    def calls_a_step(self) -> int:
        """P π_k and P π_{k+½}."""
        return 2

    def initial(self, log_policy: Tensor) -> ReferenceState:
        """The initial policy is the reference too."""
        return ReferenceState(log_policy=log_policy, log_reference=log_policy)

    def step(self, state: ReferenceState, payoffs: Payoffs) -> ReferenceState:
        """π_{k+1}."""
        start, reference = state.log_policy, state.log_reference
        ahead = regularised_step(start, reference, payoffs(start.exp()), self.alpha, self.eta)
        new = regularised_step(start, reference, payoffs(ahead.exp()), self.alpha, self.eta)
        return state._replace(log_policy=new)
