"""Direct Nash optimisation (Rosset et al. 2024, arXiv 2404.03715)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mpo.games.dynamics.field_checks import FieldChecks
from mpo.games.dynamics.mirror import MirrorState
from mpo.games.dynamics.protocol import Number, Payoffs
from mpo.games.dynamics.step import mirror_step


@dataclass(frozen=True)
class DNO:
    """The policy that fits the differences of its win rates, again and again (Algorithm 1 there).

    max_π Σ_{y,y'} D(y, y') [q log σ(z) + (1 − q) log σ(−z)],  q = σ(r_k(y) − r_k(y')),
    r_k = P π_k,  z = (h(y) − h(y')) / η,  h = log π/π_k

    Whatever pairs D draws, z = r_k(y) − r_k(y') fits all of them at once, hence
    π_{k+1} ∝ π_k exp(η P π_k): ``MWU`` again, of which the average iterate converges. (The
    contrastive form that the paper trains, on pairs of large margin only, isn't modelled.)

    Args:
        eta: η, stepsize, the inverse of the paper's η.
    """

    eta: Number = 0.1

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
        return MirrorState(mirror_step(state.log_policy, payoffs(state.log_policy.exp()), self.eta))
