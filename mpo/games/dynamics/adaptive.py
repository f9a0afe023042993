"""MPO with nothing to tune: the magnet, its strength and the stepsize follow from the game."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mpo.games.dynamics.field_checks import FieldChecks
from mpo.games.dynamics.protocol import Number, Payoffs
from mpo.games.dynamics.step import magnetic_step

LIPSCHITZ = (1e-6, 0.5)
"""Where the estimate of the local Lipschitz constant is kept.

With exact payoffs it cannot exceed the largest |P − ½|, so the upper end acts on noise only. The
lower end keeps η finite once the policy has all but stopped.
"""


class AdaptiveState(NamedTuple):
    """N rows: ``log_policy``, ``log_reference`` (where it began), ``log_magnet``,
    ``last_log_policy`` and ``last_payoffs`` (of π_{k−1}) are (N, R); ``lipschitz`` λ_k,
    ``strength`` κ, ``alpha`` and ``first_residual`` (just after the magnet's last move) are
    (N, 1); ``steps`` is the number of steps taken.
    """

    log_policy: Tensor
    log_reference: Tensor
    log_magnet: Tensor
    last_log_policy: Tensor
    last_payoffs: Tensor
    lipschitz: Tensor
    strength: Tensor
    alpha: Tensor
    first_residual: Tensor
    steps: int


@dataclass(frozen=True)
class MPOAdaptive:
    """Magnetic preference optimisation that adapts to the game (docs/choosing.md).

    π_{k+1} = argmax_π  π·(2 g_k − g_{k−1}) − α KL(π ‖ μ) − (1/η_k) KL(π ‖ π_k),   g_k = P π_k

    The stepsize is η_k = c / λ_k, where λ_k says how fast the payoffs turn as the policy moves:

    λ_k = max(std_w(g_k − g_{k−1}) / √(Σ (π_k − π_{k−1})² / w),  ρ λ_{k−1}),  w = (π_k + π_{k−1})/2

    and λ_0 = c std_{π_0}(g_0) / c_0. λ_k is at most the largest |P − ½|: std_w(A d) ≤ max|A| ‖d‖₁
    and ‖d‖₁ ≤ √(Σ d²/w), so that η_k ≥ 2c. Around an equilibrium an optimistic step is stable as
    long as η times the Lipschitz constant there is below 1/√3.

    The magnet moves, before the step is taken, once the residual KL(π_k ‖ softmax(log μ + g_k/α))
    has fallen below ``progress`` of its value just after the last move. Then

    μ ← (1 − ε) π_k + ε π_0,  ε = min(ε_max, E std_{π_k}(g_k) / λ_k);
    κ ← max(κ_min, β κ);  α ← κ λ_k

    The part of the reference π_0 in the magnet goes to 0 with the payoffs' differences on the
    policy's support. Without it an action that was given up early takes (1/η) log(1/π(y)) / (its
    advantage) steps to come back.

    All fields but ``eta`` are free of scale: a game whose margins are s times as large gets the
    same policies (within ``LIPSCHITZ``). That the rule converges is measured, not proven.

    Args:
        step_share: c.
        first_step: c_0, what the first step moves the logits by, as a standard deviation.
        memory: ρ, by how much λ may fall in a step.
        strength: κ at the start, α in units of λ.
        weakening: β, the factor of κ at each move of the magnet.
        least_strength: κ_min.
        progress: the share of the residual at which the magnet moves.
        exploration: E; 0 leaves the reference out.
        most_exploration: ε_max.
        eta: a constant η in place of η_k; None: adapted.
    """

    step_share: Number = 0.4
    first_step: Number = 0.5
    memory: Number = 0.98
    strength: Number = 0.1
    weakening: Number = 0.8
    least_strength: Number = 1e-3
    progress: Number = 0.1
    exploration: Number = 20.0
    most_exploration: Number = 0.3
    eta: Number | None = None

    def problems(self) -> list[str]:
        """Fields out of range."""
        checks = FieldChecks(self)
        checks.positive("step_share", "first_step", "strength", "least_strength")
        checks.share("memory", "weakening", "progress", "most_exploration")
        checks.not_negative("exploration")
        if self.eta is not None:
            checks.positive("eta")
        return checks.found

    @property
    def calls_a_step(self) -> int:
        """P π_k."""
        return 1

    def initial(self, log_policy: Tensor) -> AdaptiveState:
        """The initial policy is the reference and the first magnet."""
        column = torch.zeros_like(log_policy[:, :1])
        return AdaptiveState(
            log_policy=log_policy,
            log_reference=log_policy,
            log_magnet=log_policy,
            last_log_policy=log_policy,
            last_payoffs=torch.zeros_like(log_policy),
            lipschitz=column,
            strength=column + self.strength,
            alpha=column,
            first_residual=column,
            steps=0,
        )

    def step(self, state: AdaptiveState, payoffs: Payoffs) -> AdaptiveState:
        """π_{k+1}: the call, λ_k, the magnet if its time has come, the step."""
        log_policy = state.log_policy
        payoff = payoffs(log_policy.exp())
        spread = _deviation(log_policy.exp(), payoff)
        lipschitz = self._lipschitz(state, payoff, spread)
        if state.steps == 0:
            alpha = state.strength * lipschitz
            first = residual(log_policy, payoff, state.log_magnet, alpha)
            state = state._replace(alpha=alpha, first_residual=first, last_payoffs=payoff)
        state = self._magnet(state, payoff, spread, lipschitz)
        stepped = magnetic_step(
            log_policy,
            2 * payoff - state.last_payoffs,
            state.log_magnet,
            state.alpha,
            self.step_share / lipschitz,
        )
        return state._replace(
            log_policy=stepped,
            last_log_policy=log_policy,
            last_payoffs=payoff,
            lipschitz=lipschitz,
            steps=state.steps + 1,
        )

    def _lipschitz(self, state: AdaptiveState, payoff: Tensor, spread: Tensor) -> Tensor:
        """(N, 1), λ_k."""
        if self.eta is not None:
            return torch.ones_like(spread) * (self.step_share / self.eta)
        if state.steps == 0:
            return (self.step_share / self.first_step * spread).clamp(*LIPSCHITZ)
        policy, last = state.log_policy.exp(), state.last_log_policy.exp()
        # A policy that stands still, or an action that neither plays, must not give 0 / 0.
        between = ((policy + last) / 2).clamp(min=1e-300)
        moved = ((policy - last).square() / between).sum(1, keepdim=True).sqrt()
        turned = _deviation(between, payoff - state.last_payoffs)
        measured = (turned / moved.clamp(min=1e-150)).clamp(*LIPSCHITZ)
        if state.steps == 1:  # λ_0 is a guess, not a measurement: it isn't remembered
            return measured
        return torch.maximum(measured, self.memory * state.lipschitz)

    def _magnet(
        self, state: AdaptiveState, payoff: Tensor, spread: Tensor, lipschitz: Tensor
    ) -> AdaptiveState:
        """The state with the magnet moved, in the rows where its time has come."""
        log_policy = state.log_policy
        left = residual(log_policy, payoff, state.log_magnet, state.alpha)
        moves = left < self.progress * state.first_residual
        share = torch.minimum(
            torch.as_tensor(self.most_exploration, dtype=spread.dtype),
            self.exploration * spread / lipschitz,
        )
        mixed = torch.logaddexp(torch.log1p(-share) + log_policy, share.log() + state.log_reference)
        least = torch.as_tensor(self.least_strength, dtype=spread.dtype)
        strength = torch.maximum(least, self.weakening * state.strength)
        alpha = strength * lipschitz
        # As if the magnet were π_k itself: what the reference adds is not for the step to undo.
        first = residual(log_policy, payoff, log_policy, alpha)
        return state._replace(
            log_magnet=torch.where(moves, mixed, state.log_magnet),
            strength=torch.where(moves, strength, state.strength),
            alpha=torch.where(moves, alpha, state.alpha),
            first_residual=torch.where(moves, first, state.first_residual),
        )


def residual(log_policy: Tensor, payoff: Tensor, log_magnet: Tensor, alpha: Tensor) -> Tensor:
    """KL(π ‖ softmax(log μ + g/α)): 0 at the equilibrium regularised to μ, and only there.

    Shapes (N, R), α (N, 1).

    Returns:
        (N, 1).
    """
    log_answer = torch.log_softmax(log_magnet + payoff / alpha, dim=-1)
    return (log_policy.exp() * (log_policy - log_answer)).sum(1, keepdim=True)


def _deviation(weights: Tensor, values: Tensor) -> Tensor:
    """(N, 1), the standard deviation of values (N, R) under a distribution (N, R)."""
    mean = (weights * values).sum(1, keepdim=True)
    return (weights * (values - mean).square()).sum(1, keepdim=True).sqrt()
