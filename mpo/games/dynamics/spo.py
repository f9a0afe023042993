"""Self-play preference optimisation (Swamy et al. 2024, arXiv 2401.04056)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mpo.games.dynamics.field_checks import FieldChecks
from mpo.games.dynamics.mirror import MirrorState
from mpo.games.dynamics.protocol import Number, Payoffs
from mpo.games.dynamics.step import mirror_step


@dataclass(frozen=True)
class SPO:
    """A no-regret learner whose reward is its own win rate, r_k = P π_k (Algorithm 1 there).

    π_{k+1} = argmax_π  π·P π_k − (1/η) KL(π ‖ π_k)  ∝  π_k exp(η P π_k)

    The learner of its theory is mirror descent, so on the simplex it is ``MWU``. What converges
    is the average iterate, which is what the theory returns; the last iterate spirals out where
    the equilibrium mixes.

    Args:
        eta: η, stepsize.
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
