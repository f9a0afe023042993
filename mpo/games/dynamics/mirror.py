"""Mirror descent with the entropy, plain and with the two corrections that make it converge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mpo.games.dynamics.field_checks import FieldChecks
from mpo.games.dynamics.protocol import Number, Payoffs
from mpo.games.dynamics.step import mirror_step


class MirrorState(NamedTuple):
    """``log_policy`` (N, R), log π_k."""

    log_policy: Tensor


class OptimisticState(NamedTuple):
    """``log_policy`` (N, R); ``last_payoffs`` (N, R), g_{k−1}; ``steps`` taken so far."""

    log_policy: Tensor
    last_payoffs: Tensor
    steps: int


@dataclass(frozen=True)
class MWU:
    """Multiplicative weights: the mirror descent of the paper's section 2.2 with the entropy.

    π_{k+1} ∝ π_k exp(η P π_k)

    The average iterate converges, the last one does not: where the equilibrium mixes it spirals
    out to the border (Bailey and Piliouras 2018).
    """

    eta: Number = 0.5

    def problems(self) -> list[str]:
        """η is above 0."""
        checks = FieldChecks(self)
        checks.positive("eta")
        return checks.found

    @property
    def calls_a_step(self) -> int:
        """P π_k."""
        return 1

    def initial(self, log_policy: Tensor) -> MirrorState:
        """The policy alone."""
        return MirrorState(log_policy)

    def step(self, state: MirrorState, payoffs: Payoffs) -> MirrorState:
        """π_{k+1}."""
        gradient = payoffs(state.log_policy.exp())
        return MirrorState(mirror_step(state.log_policy, gradient, self.eta))


@dataclass(frozen=True)
class OptimisticMWU:
    """Optimistic multiplicative weights (Daskalakis and Panageas 2018, arXiv:1807.04252).

    π_{k+1} ∝ π_k exp(η (2 g_k − g_{k−1})), g_k = P π_k and g_0 = g_1

    The last iterate converges for η small enough.
    """

    eta: Number = 2.0

    def problems(self) -> list[str]:
        """η is above 0."""
        checks = FieldChecks(self)
        checks.positive("eta")
        return checks.found

    @property
    def calls_a_step(self) -> int:
        """P π_k; the last step's is remembered."""
        return 1

    def initial(self, log_policy: Tensor) -> OptimisticState:
        """No payoffs yet: the first step is plain."""
        return OptimisticState(log_policy, torch.zeros_like(log_policy), 0)

    def step(self, state: OptimisticState, payoffs: Payoffs) -> OptimisticState:
        """π_{k+1}."""
        gradient = payoffs(state.log_policy.exp())
        last = gradient if state.steps == 0 else state.last_payoffs
        log_policy = mirror_step(state.log_policy, 2 * gradient - last, self.eta)
        return OptimisticState(log_policy, gradient, state.steps + 1)


@dataclass(frozen=True)
class ExtragradientMWU:
    """Mirror-prox with the entropy (Nemirovski 2004; Mertikopoulos et al. 2018, arXiv:1807.02629).

    π_{k+½} ∝ π_k exp(η P π_k);  π_{k+1} ∝ π_k exp(η P π_{k+½})

    The last iterate converges for η small enough.
    """

    eta: Number = 3.0

    def problems(self) -> list[str]:
        """η is above 0."""
        checks = FieldChecks(self)
        checks.positive("eta")
        return checks.found

    @property
    def calls_a_step(self) -> int:
        """P π_k and P π_{k+½}."""
        return 2

    def initial(self, log_policy: Tensor) -> MirrorState:
        """The policy alone."""
        return MirrorState(log_policy)

    def step(self, state: MirrorState, payoffs: Payoffs) -> MirrorState:
        """π_{k+1}."""
        half = mirror_step(state.log_policy, payoffs(state.log_policy.exp()), self.eta)
        return MirrorState(mirror_step(state.log_policy, payoffs(half.exp()), self.eta))
