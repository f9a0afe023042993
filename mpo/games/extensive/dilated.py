"""Mirror descent with the dilated entropy: MD, MMD with a fixed magnet, and MPO.

With ψ the dilated entropy (`Passes.log_policy`) and g = K x_k, both players move at once:

    x_{k+1} = argmax_x ⟨g, x⟩ − α B_ψ(x; μ) − (1/η) B_ψ(x; x_k)            (the paper's (4))

on the plans of the game, where B_ψ(x; y) = Σ_i x(parent of i) KL(π_x(· | i) ‖ π_y(· | i)). The
constants of ∇ψ cancel between an information set and the action before it, so that the solution is
`Passes.log_policy` of the scores (g + α log μ + (1/η) log π_k) / (α + 1/η), with the *policies* of
the magnet and of the last iterate.

OpenSpiel's mmd_dilated (Sokota et al. 2023, arXiv:2206.05825) regularises with α ψ itself instead
of α B_ψ(·; μ). That is this magnet: μ = argmin ψ, `entropy_magnet`. It isn't the uniform policy:
an action weighs as much as the pure plans that follow it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mpo.games.dynamics.field_checks import FieldChecks
from mpo.games.dynamics.protocol import Number, Payoffs
from mpo.games.extensive.passes import Passes
from mpo.games.extensive.sequence_form import SequenceForm


class Iterate(NamedTuple):
    """``log_policy`` (S, N)."""

    log_policy: Tensor


class Magnetic(NamedTuple):
    """``log_policy`` and ``log_magnet`` (S, N), and the steps done."""

    log_policy: Tensor
    log_magnet: Tensor
    steps: int


@dataclass(frozen=True)
class DilatedMD:
    """Mirror descent: no magnet. Its average converges, its last iterate need not."""

    eta: Number = 0.5
    """η, the stepsize."""

    def problems(self) -> list[str]:
        checks = FieldChecks(self)
        checks.positive("eta")
        return checks.found

    @property
    def calls_a_step(self) -> int:
        return 1

    @property
    def plays_zero(self) -> bool:
        return False

    def weight(self, iterate: int) -> int:
        return 1

    def initial(self, log_policy: Tensor) -> Iterate:
        return Iterate(log_policy)

    def step(self, state: Iterate, passes: Passes, payoffs: Payoffs) -> Iterate:
        gradient = payoffs(passes.plan(state.log_policy))
        scores = torch.mul(gradient, _across(self.eta), out=passes.scores)
        return Iterate(passes.log_policy(scores.add_(state.log_policy)))


@dataclass(frozen=True)
class DilatedMMD:
    """Magnetic mirror descent (arXiv:2206.05825): the magnet stays where the run starts.

    Another magnet: ``initial(log_policy)._replace(log_magnet=…)``.
    """

    alpha: Number = 0.05
    """α, strength of the magnet."""
    eta: Number = 0.5
    """η, the stepsize."""

    def problems(self) -> list[str]:
        checks = FieldChecks(self)
        checks.positive("alpha", "eta")
        return checks.found

    @property
    def calls_a_step(self) -> int:
        return 1

    @property
    def plays_zero(self) -> bool:
        return False

    def weight(self, iterate: int) -> int:
        return 1

    def initial(self, log_policy: Tensor) -> Magnetic:
        return Magnetic(log_policy, log_policy, 0)

    def step(self, state: Magnetic, passes: Passes, payoffs: Payoffs) -> Magnetic:
        log_policy = _magnetic_step(state, passes, payoffs, self.alpha, self.eta)
        return Magnetic(log_policy, state.log_magnet, state.steps + 1)


@dataclass(frozen=True)
class DilatedMPO:
    """MMD whose magnet moves to the last iterate every T steps (the paper's section 3.3).

    The opponent is the current policy, as in (4).
    """

    alpha: Number = 0.05
    """α, strength of the magnet."""
    eta: Number = 1.0
    """η, the stepsize."""
    magnet_interval: int = 50
    """T, steps between two moves."""

    def problems(self) -> list[str]:
        checks = FieldChecks(self)
        checks.positive("alpha", "eta")
        checks.count("magnet_interval")
        return checks.found

    @property
    def calls_a_step(self) -> int:
        return 1

    @property
    def plays_zero(self) -> bool:
        return False

    def weight(self, iterate: int) -> int:
        return 1

    def initial(self, log_policy: Tensor) -> Magnetic:
        return Magnetic(log_policy, log_policy, 0)

    def step(self, state: Magnetic, passes: Passes, payoffs: Payoffs) -> Magnetic:
        log_policy = _magnetic_step(state, passes, payoffs, self.alpha, self.eta)
        steps = state.steps + 1
        moved = steps % self.magnet_interval == 0
        return Magnetic(log_policy, log_policy if moved else state.log_magnet, steps)


def entropy_magnet(form: SequenceForm) -> Tensor:
    """(S, 1) log of the policy of argmin_x ψ(x), OpenSpiel's magnet."""
    zeros = torch.zeros(form.sequences, 1, dtype=torch.float64)
    return Passes(form, 1).log_policy(zeros)


def dilated_divergence(
    form: SequenceForm, plan: Tensor, log_policy: Tensor, log_other: Tensor
) -> Tensor:
    """B_ψ(x; y) = Σ_i x(parent of i) KL(π_x(· | i) ‖ π_y(· | i)), of both players: (…).

    Args:
        plan: (S, …), x.
        log_policy: (S, …), log π_x; −inf counts as never played.
        log_other: (S, …), log π_y.
    """
    ratio = torch.where(plan > 0, log_policy - log_other, 0.0)
    return (plan * ratio).sum(0)


def _magnetic_step(
    state: Magnetic, passes: Passes, payoffs: Payoffs, alpha: Number, eta: Number
) -> Tensor:
    alpha, eta = _across(alpha), _across(eta)
    # Divided by α + 1/η = (1 + η α) / η.
    kept = 1 / (1 + eta * alpha)
    gradient = payoffs(passes.plan(state.log_policy))
    scores = torch.mul(gradient, eta * kept, out=passes.scores)
    _add(scores, kept, state.log_policy)
    _add(scores, 1 - kept, state.log_magnet)
    return passes.log_policy(scores)


def _across(number: Number) -> Number:
    """One a run lies along the last dimension here."""
    return number.T if isinstance(number, Tensor) else number


def _add(total: Tensor, weight: Number, values: Tensor) -> None:
    """total += weight · values: one call of torch."""
    if isinstance(weight, Tensor):
        total.addcmul_(values, weight)
    else:
        total.add_(values, alpha=weight)
