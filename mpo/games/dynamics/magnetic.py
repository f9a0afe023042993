"""Magnetic mirror descent, and MPO, which moves the magnet, in its two forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from mpo.games.dynamics.field_checks import FieldChecks
from mpo.games.dynamics.protocol import Number, Payoffs
from mpo.games.dynamics.step import magnetic_step, mirror_step

Opponent = Literal["policy", "snapshot"]
Inner = Literal["plain", "optimistic", "extragradient"]


class FixedMagnetState(NamedTuple):
    """``log_policy`` (N, R), log π_k; ``log_magnet`` (N, R), log μ."""

    log_policy: Tensor
    log_magnet: Tensor


class MovingMagnetState(NamedTuple):
    """The same with ``last_payoffs`` (N, R), g_{k−1}, and the ``steps`` taken so far."""

    log_policy: Tensor
    log_magnet: Tensor
    last_payoffs: Tensor
    steps: int


@dataclass(frozen=True)
class MMD:
    """Magnetic mirror descent with a magnet that stays (Sokota et al. 2022; the paper's (4)).

    π_{k+1} = argmax_π  π·P π_k − α KL(π ‖ μ) − (1/η) KL(π ‖ π_k)

    It converges to the regularised equilibrium π ∝ μ exp(P π / α), not to the game's own. Theorem
    3.2: KL(π_r* ‖ π_k) falls by 1/(1 + ηα) a step for η ≤ α/L².
    """

    alpha: Number = 0.05
    eta: Number = 1.0

    def problems(self) -> list[str]:
        """α and η are above 0."""
        checks = FieldChecks(self)
        checks.positive("alpha", "eta")
        return checks.found

    @property
    def calls_a_step(self) -> int:
        """P π_k."""
        return 1

    def initial(self, log_policy: Tensor) -> FixedMagnetState:
        """The initial policy is the magnet too."""
        return FixedMagnetState(log_policy, log_policy)

    def step(self, state: FixedMagnetState, payoffs: Payoffs) -> FixedMagnetState:
        """π_{k+1}."""
        log_policy, log_magnet = state
        gradient = payoffs(log_policy.exp())
        stepped = magnetic_step(log_policy, gradient, log_magnet, self.alpha, self.eta)
        return FixedMagnetState(stepped, log_magnet)


@dataclass(frozen=True)
class MPO:
    """Magnetic preference optimisation on the simplex: MMD whose magnet moves every T steps.

    π_{k+1} = argmax_π  π·g_k − α KL(π ‖ μ) − (1/η) KL(π ‖ π_k);  μ ← π_{k+1} where T divides k

    ``opponent``: "policy" takes g_k = P π_k, as (4) and its theorems have it; "snapshot" takes
    g_k = P μ, as (7) and Algorithm 1 are written, with which the last iterate spirals out.
    ``inner``: "plain" as above; "optimistic" has 2 g_k − g_{k−1} for g_k, plain in the first step;
    "extragradient" first takes the step to π_{k+½} and then, from π_k again, with P π_{k+½}.
    """

    alpha: Number = 0.05
    eta: Number = 1.0
    magnet_interval: int = 50
    opponent: Opponent = "policy"
    inner: Inner = "plain"

    def problems(self) -> list[str]:
        """Fields out of range, and an inner step that needs the policy's own payoffs."""
        checks = FieldChecks(self)
        checks.positive("alpha", "eta")
        checks.count("magnet_interval")
        checks.choice("opponent", "policy", "snapshot")
        checks.choice("inner", "plain", "optimistic", "extragradient")
        if self.opponent == "snapshot" and self.inner != "plain":
            checks.found.append(
                f"inner: got {self.inner!r} with opponent 'snapshot', whose payoffs do not change "
                "with the policy, allowed: plain"
            )
        return checks.found

    @property
    def calls_a_step(self) -> int:
        """P π_k or P μ, and P π_{k+½} for the extragradient."""
        return 2 if self.inner == "extragradient" else 1

    def initial(self, log_policy: Tensor) -> MovingMagnetState:
        """The initial policy is the first magnet."""
        return MovingMagnetState(log_policy, log_policy, torch.zeros_like(log_policy), 0)

    def step(self, state: MovingMagnetState, payoffs: Payoffs) -> MovingMagnetState:
        """π_{k+1}, and the magnet's move."""
        opponent = state.log_magnet if self.opponent == "snapshot" else state.log_policy
        payoff = payoffs(opponent.exp())
        gradient = payoff
        if self.inner == "optimistic" and state.steps > 0:
            gradient = 2 * payoff - state.last_payoffs
        if self.inner == "extragradient":
            gradient = payoffs(self._stepped(state, payoff).exp())
        return _moved(state, self._stepped(state, gradient), payoff, self.magnet_interval)

    def _stepped(self, state: MovingMagnetState, gradient: Tensor) -> Tensor:
        return magnetic_step(state.log_policy, gradient, state.log_magnet, self.alpha, self.eta)


@dataclass(frozen=True)
class MPORT:
    """MPO with the reward transformed instead of the objective (the paper's Algorithm 2).

    π_{k+1} ∝ π_k exp(η̄ (g_k − α (log π_k − log μ)));  μ ← π_{k+1} where T divides k

    ``eta`` is η̄, the stepsize of this mirror descent. Theorem 3.5: with η̄ = η / (1 + ηα) it is
    MPO with a plain inner step at η. ``opponent`` as in MPO.
    """

    alpha: Number = 0.05
    eta: Number = 1.0
    magnet_interval: int = 50
    opponent: Opponent = "policy"

    @classmethod
    def equal_to(cls, mpo: MPO) -> MPORT:
        """The value that takes the same steps as ``mpo`` (Theorem 3.5).

        Raises:
            ValueError: its inner step isn't plain.
        """
        if mpo.inner != "plain":
            raise ValueError(f"inner: got {mpo.inner!r}, allowed: plain")
        stepsize = mpo.eta / (1 + mpo.eta * mpo.alpha)
        return cls(mpo.alpha, stepsize, mpo.magnet_interval, mpo.opponent)

    def problems(self) -> list[str]:
        """Fields out of range."""
        checks = FieldChecks(self)
        checks.positive("alpha", "eta")
        checks.count("magnet_interval")
        checks.choice("opponent", "policy", "snapshot")
        return checks.found

    @property
    def calls_a_step(self) -> int:
        """P π_k or P μ."""
        return 1

    def initial(self, log_policy: Tensor) -> MovingMagnetState:
        """The initial policy is the first magnet."""
        return MovingMagnetState(log_policy, log_policy, torch.zeros_like(log_policy), 0)

    def step(self, state: MovingMagnetState, payoffs: Payoffs) -> MovingMagnetState:
        """π_{k+1}, and the magnet's move."""
        opponent = state.log_magnet if self.opponent == "snapshot" else state.log_policy
        payoff = payoffs(opponent.exp())
        reward = payoff - self.alpha * (state.log_policy - state.log_magnet)
        log_policy = mirror_step(state.log_policy, reward, self.eta)
        return _moved(state, log_policy, payoff, self.magnet_interval)


def _moved(
    state: MovingMagnetState, log_policy: Tensor, payoff: Tensor, interval: int
) -> MovingMagnetState:
    """The state after the step, with the magnet at the policy where ``interval`` divides k."""
    steps = state.steps + 1
    log_magnet = log_policy if steps % interval == 0 else state.log_magnet
    return MovingMagnetState(log_policy, log_magnet, payoff, steps)
