"""The convergent meta-algorithm for alignment (Liu et al. 2024, arXiv 2410.23223)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from mpo.games.dynamics.field_checks import FieldChecks
from mpo.games.dynamics.protocol import Number, Payoffs
from mpo.games.dynamics.regularised_step import check_alpha_and_eta, regularised_step


class COMALState(NamedTuple):
    """``log_policy`` (N, R), ``log_reference`` (N, R), and steps done since the latter moved."""

    log_policy: Tensor
    log_reference: Tensor
    inner_steps: int


@dataclass(frozen=True)
class COMAL:
    """Solve the game regularised to μ, move μ to the solution, again (Algorithm 1 there).

    T times  π ← π^{1−ηα} μ^{ηα} exp(η P π) / Z   (Algorithm 2 there), then  μ ← π

    The proximal-point method: with exact inner solutions KL(π* ‖ μ) falls in every round, and
    the last iterate converges to an equilibrium of the original game. It is ``MPO`` with the
    current policy as opponent and the stepsize η / (1 − ηα).

    Args:
        alpha: α, the paper's τ.
        eta: η, stepsize; ηα at most 1.
        reference_interval: T, steps between moves of μ; 1 or more.
    """

    alpha: Number = 0.05
    eta: Number = 1.0
    reference_interval: int = 50

    def problems(self) -> list[str]:
        """Fields out of range, and ηα above 1."""
        checks = FieldChecks(self)
        check_alpha_and_eta(checks)
        checks.count("reference_interval")
        return checks.found

    @property
    def calls_a_step(self) -> int:
        """P π."""
        return 1

    def initial(self, log_policy: Tensor) -> COMALState:
        """The initial policy is the reference too."""
        return COMALState(log_policy=log_policy, log_reference=log_policy, inner_steps=0)

    def step(self, state: COMALState, payoffs: Payoffs) -> COMALState:
        """π, and the move of μ."""
        wins = payoffs(state.log_policy.exp())
        new = regularised_step(state.log_policy, state.log_reference, wins, self.alpha, self.eta)
        done = state.inner_steps + 1
        if done < self.reference_interval:
            return state._replace(log_policy=new, inner_steps=done)
        return COMALState(log_policy=new, log_reference=new, inner_steps=0)
