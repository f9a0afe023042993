"""Online IPO and IPO-MD (Calandriello et al. 2024, arXiv 2403.08635)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mpo.games.dynamics.field_checks import FieldChecks
from mpo.games.dynamics.protocol import Number, Payoffs
from mpo.games.dynamics.regularised_step import (
    ReferenceState,
    check_alpha_and_eta,
    geometric_mixture,
)

Geometry = Literal["natural", "logits"]


@dataclass(frozen=True)
class IPOMD:
    """Gradient steps on the expected IPO loss of pairs that a mixture with the reference draws.

    s = π_k^{1−β} μ^β / Z, a constant for the gradient; h = log π/μ
    L(π) = E_{y,y'~s} [(h(y) − h(y') − (P(y ≻ y') − ½)/α)²]
    ∂L/∂h(y) at π_k = −(4/α) s(y) [(P s)(y) − ½ − α (h(y) − E_s h)]

    The gradient needs P only as P s: one oracle call. β = 0 is online IPO. ``logits`` is the
    gradient on a tabular policy's logits, θ ← θ − (ηα/4) ∂L/∂h; ``natural`` leaves out the
    factor s(y), which changes no rest point inside the simplex but doesn't slow down where s is
    small, and makes online IPO the step of ``NashMD``.

    At rest s is the regularised equilibrium for α/(1 − β), and π ∝ μ exp(P s / α): for β = 0 the
    equilibrium for α (their Proposition on online IPO), for β > 0 another point.

    Args:
        alpha: α, the paper's τ.
        eta: η, stepsize; ηα at most 1.
        mixture: β, from 0 to 1.
        geometry: "natural" | "logits".
    """

    alpha: Number = 0.1
    eta: Number = 0.5
    mixture: Number = 0.25
    geometry: Geometry = "natural"

    def problems(self) -> list[str]:
        """Fields out of range, and ηα above 1."""
        checks = FieldChecks(self)
        check_alpha_and_eta(checks)
        checks.share("mixture")
        checks.choice("geometry", "natural", "logits")
        return checks.found

    @property
    def calls_a_step(self) -> int:
        """P s."""
        return 1

    def initial(self, log_policy: Tensor) -> ReferenceState:
        """The initial policy is the reference too."""
        return ReferenceState(log_policy=log_policy, log_reference=log_policy)

    def step(self, state: ReferenceState, payoffs: Payoffs) -> ReferenceState:
        """π_{k+1}."""
        log_policy, log_reference = state
        sampler = geometric_mixture(log_policy, log_reference, self.mixture).exp()
        direction = payoffs(sampler) - self.alpha * (log_policy - log_reference)
        if self.geometry == "logits":
            # E_s of P s − ½ is 0, so this takes away ½ and E_s h together.
            direction = sampler * (direction - (sampler * direction).sum(1, keepdim=True))
        return state._replace(log_policy=torch.log_softmax(log_policy + self.eta * direction, -1))
