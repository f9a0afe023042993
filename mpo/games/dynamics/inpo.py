"""Iterative Nash policy optimisation (Zhang et al. 2024, arXiv 2407.00617)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mpo.games.dynamics.field_checks import FieldChecks
from mpo.games.dynamics.protocol import Number, Payoffs
from mpo.games.dynamics.regularised_step import (
    Schedule,
    ScheduledState,
    check_alpha_and_eta,
    falling_stepsize,
    regularised_step,
)


@dataclass(frozen=True)
class INPO:
    """The policy that minimises INPO's squared loss over all policies, again and again.

    min_π E_{y,y'~π_k} [(h(y) − h(y') − η (I − ½))²],  I = 1 with probability P(y ≻ y'),
    h = log π − ηα log μ − (1 − ηα) log π_k

    E[I | y, y'] isn't a difference f(y) − f(y'), so the minimiser is the least-squares one: h
    equal to η P π_k but for a constant. That gives
    π_{k+1} ∝ π_k^{1−ηα} μ^{ηα} exp(η P π_k), the step of ``NashMD``: with all pairs the loss is
    one way to take it. The last iterate converges to the regularised equilibrium.

    Args:
        alpha: α, the paper's τ.
        eta: η, stepsize, the inverse of the paper's η; ηα at most 1. The falling schedule
            doesn't use it.
        schedule: "constant" | "falling", η_k = 2 / (α (k + 2)), of its theorem on the last iterate.
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
        """P π_k."""
        return 1

    def initial(self, log_policy: Tensor) -> ScheduledState:
        """The initial policy is the reference too."""
        return ScheduledState(log_policy=log_policy, log_reference=log_policy, steps=0)

    def step(self, state: ScheduledState, payoffs: Payoffs) -> ScheduledState:
        """π_{k+1}."""
        eta = falling_stepsize(self.alpha, state.steps) if self.schedule == "falling" else self.eta
        wins = payoffs(state.log_policy.exp())
        new = regularised_step(state.log_policy, state.log_reference, wins, self.alpha, eta)
        return state._replace(log_policy=new, steps=state.steps + 1)
