"""Nash-MD and the plain regularised gradient (Munos et al. 2023, arXiv 2312.00886)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mpo.games.dynamics.field_checks import FieldChecks
from mpo.games.dynamics.protocol import Number, Payoffs
from mpo.games.dynamics.regularised_step import (
    ReferenceState,
    Schedule,
    ScheduledState,
    check_alpha_and_eta,
    falling_stepsize,
    geometric_mixture,
    regularised_step,
)


@dataclass(frozen=True)
class NashMD:
    """Online mirror descent on the exact gradient of the regularised game.

    π_{k+1} ∝ π_k^{1−ηα} μ^{ηα} exp(η P π_k)

    ``MMD`` with the stepsize η / (1 − ηα). The last iterate converges linearly to the regularised
    equilibrium π ∝ μ exp(P π / α) if η is small beside α, and circles around it otherwise. The
    reference μ stays the initial policy.

    Args:
        alpha: α, the paper's τ.
        eta: η, stepsize; ηα at most 1.
    """

    alpha: Number = 0.1
    eta: Number = 0.5

    def problems(self) -> list[str]:
        """Fields out of range, and ηα above 1."""
        checks = FieldChecks(self)
        check_alpha_and_eta(checks)
        return checks.found

    @property
    def calls_a_step(self) -> int:
        """P π_k."""
        return 1

    def initial(self, log_policy: Tensor) -> ReferenceState:
        """The initial policy is the reference too."""
        return ReferenceState(log_policy=log_policy, log_reference=log_policy)

    def step(self, state: ReferenceState, payoffs: Payoffs) -> ReferenceState:
        """π_{k+1}."""
        wins = payoffs(state.log_policy.exp())
        new = regularised_step(state.log_policy, state.log_reference, wins, self.alpha, self.eta)
        return state._replace(log_policy=new)


@dataclass(frozen=True)
class NashMDMixture:
    """Nash-MD proper: the opponent is a geometric mixture of the policy and the reference.

    π_k^μ ∝ π_k^{1−ηα} μ^{ηα}
    π_{k+1} = argmax_π  η P(π ≻ π_k^μ) − KL(π ‖ π_k^μ)  ∝  π_k^μ exp(η P π_k^μ)

    With a constant η it stops beside the regularised equilibrium: at its fixed point π^μ is the
    equilibrium for α / (1 − ηα), and π ∝ μ exp(P π^μ / α). With the falling stepsize π converges
    to the one for α, KL at most 8 / (α² (k + 1)) (Theorem 1 there).

    Args:
        alpha: α, the paper's τ.
        eta: η, stepsize; ηα at most 1. The falling schedule doesn't use it.
        schedule: "constant" | "falling", η_k = 2 / (α (k + 2)).
    """

    alpha: Number = 0.1
    eta: Number = 0.5
    schedule: Schedule = "constant"

    def problems(self) -> list[str]:
        """Fields out of range, and ηα above 1."""
        checks = FieldChecks(self)
        check_alpha_and_eta(checks)
        checks.choice("schedule", "constant", "falling")
        return checks.found

    @property
    def calls_a_step(self) -> int:
        """P π_k^μ."""
        return 1

    def initial(self, log_policy: Tensor) -> ScheduledState:
        """The initial policy is the reference too."""
        return ScheduledState(log_policy=log_policy, log_reference=log_policy, steps=0)

    def step(self, state: ScheduledState, payoffs: Payoffs) -> ScheduledState:
        """π_{k+1}."""
        eta = falling_stepsize(self.alpha, state.steps) if self.schedule == "falling" else self.eta
        mixture = geometric_mixture(state.log_policy, state.log_reference, eta * self.alpha)
        wins = payoffs(mixture.exp())
        new = regularised_step(state.log_policy, state.log_reference, wins, self.alpha, eta)
        return state._replace(log_policy=new, steps=state.steps + 1)
