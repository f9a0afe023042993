"""Online DPO (Guo et al. 2024, arXiv 2402.04792) with the DPO loss of arXiv 2305.18290."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mpo.games.dynamics.field_checks import FieldChecks
from mpo.games.dynamics.ipo_md import Geometry
from mpo.games.dynamics.protocol import Number, Payoffs
from mpo.games.dynamics.regularised_step import ReferenceState


@dataclass(frozen=True)
class OnlineDPO:
    """Gradient steps on the expected DPO loss of pairs that the policy itself draws.

    s = π_k, a constant for the gradient; h = log π/μ
    L(π) = −E_{y,y'~s} P(y ≻ y') log σ(β (h(y) − h(y')))
    ∂L/∂h(y) at π_k = −β s(y) [(P s)(y) − Σ_{y'} s(y') σ(β (h(y) − h(y')))]

    The gradient needs P only as P s: one oracle call, no single comparisons. ``logits`` is the
    gradient on a tabular policy's logits, θ ← θ − (η/β) ∂L/∂h; ``natural`` leaves out the factor
    s(y), which changes no rest point inside the simplex.

    At rest β h is the Bradley-Terry model of the policy's own pairs. Where P is such a model with
    scores r this is π ∝ μ exp(r/β), what RLHF aims at; in other games it is neither their
    equilibrium nor a regularised one. As σ(z) ≈ ½ + z/4, it is near the regularised equilibrium
    for α = β/4 while β h is small.

    Args:
        beta: β, of DPO.
        eta: η, stepsize.
        geometry: "natural" | "logits".
    """

    beta: Number = 0.5
    eta: Number = 0.5
    geometry: Geometry = "natural"

    def problems(self) -> list[str]:
        """Fields out of range."""
        checks = FieldChecks(self)
        checks.positive("beta", "eta")
        checks.choice("geometry", "natural", "logits")
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
        log_policy, log_reference = state
        policy = log_policy.exp()
        scores = self.beta * (log_policy - log_reference)
        modelled = torch.sigmoid(scores[:, :, None] - scores[:, None, :])
        direction = payoffs(policy) - torch.bmm(modelled, policy[:, :, None])[:, :, 0]
        if self.geometry == "logits":
            direction = policy * direction
        return state._replace(log_policy=torch.log_softmax(log_policy + self.eta * direction, -1))
