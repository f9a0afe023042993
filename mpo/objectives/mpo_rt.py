"""MPO by reward transformation, MPO-RT (paper, Algorithm 2 and equation (9))."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mpo.objectives.field_checks import FieldChecks
from mpo.objectives.protocol import BEHAVIOUR, MAGNET, Needs
from mpo.objectives.self_play import (
    MPOTargets,
    check_self_play,
    self_play_needs,
    step_metrics,
    step_targets,
    win_baseline,
)
from mpo.records import Metrics, Rollout, Scores
from mpo.returns import discounts, mean_win


@dataclass(frozen=True)
class MPORT:
    """maximise E[A] − (1/η) KL(π_θ ‖ π_k) by m gradient steps from π_k, equation (9).

    The pull to the magnet is part of the reward, held fixed at θ = θ_k. With `log_ratio: token`,

        R_t = −α (log π_k − log μ)(y_t | s_t), plus P(y ≻ y′ | x) − b at the last token,
        A_t = Σ_{l ≥ t} γ^{l−t} R_l,

    so that for γ = 1 and θ = θ_k the expected gradient is that of E[P] − α KL(π ‖ μ), as MPO's
    with `kl_gradient: sequence` (design, section 2). `log_ratio: sequence` is Algorithm 2 to the
    letter, lines 6 and 7: with L = log π_k(y | x) − log μ(y | x) of the whole response,

        R_t = P(y ≻ y′ | x) − α L at every token,  A_t = Σ_{l ≥ t} γ^{l−t} R_l − b.

    P is then at every token too, as the paper has it: P − α L is one quantity there, and L alone
    at every token would multiply α by the number of tokens left. The policy term is Σ_t r_t A_t,
    r_t = π_θ(y_t|s_t)/π_k(y_t|s_t), not clipped. Terms are summed over tokens and averaged over
    trained responses. η is equation (9)'s; with η/(1 + ηα) in its place exact steps are MPO's
    (Theorem 3.5).
    """

    alpha: float = 0.1
    """α ≥ 0: weight of the log-ratio to the magnet in the reward."""
    eta: float = 1.0
    """η > 0: step size of the mirror step; 1/η weighs the KL to π_k."""
    eta_schedule: str = "constant"
    """constant | linear."""
    eta_horizon: int | None = None
    """Iterations over which a linear η falls; None: the run's iterations."""
    eta_floor: float = 0.05
    """Smallest share of η that a linear schedule reaches, in (0, 1]."""
    gamma: float = 1.0
    """γ in (0, 1]: discount from a token to a later one."""
    magnet_interval: int | None = 25
    """Iterations between the magnet's moves; None: the magnet never moves."""
    opponent: str = "policy"
    """policy (π_k itself) | snapshot (Algorithm 2: refreshed like the magnet)."""
    opponent_interval: int | None = None
    """Iterations between a snapshot opponent's moves; None: moves with the magnet."""
    inner_steps: int = 4
    """m ≥ 1 optimizer steps a rollout."""
    baseline: str = "half"
    """half | remax | rloo: b, of the win probability alone."""
    symmetric: bool = True
    """Both responses of a pair train; needs opponent = policy."""
    pairs: str = "all"
    """disjoint | all: which of a prompt's responses are compared."""
    responses: int = 4
    """n: trained samples a prompt."""
    log_ratio: str = "token"
    """token (each token's own log-ratio) | sequence (Algorithm 2 as written)."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        checks = FieldChecks(self)
        check_self_play(checks, self)
        checks.choice("log_ratio", "token", "sequence")
        return checks.found

    def needs(self) -> Needs:
        """What MPO needs, and the magnet's log-probabilities."""
        return self_play_needs(self)._replace(logprobs_of=(MAGNET,))

    def targets(self, rollout: Rollout, scores: Scores) -> MPOTargets:
        """Advantages of the transformed reward."""
        whole = self.log_ratio == "sequence"
        returns = discounts(scores.mask, self.gamma, whole, scores.logprobs.dtype)
        reward = mean_win(rollout.wins, rollout.compared).to(returns)[..., None]
        baseline = win_baseline(self, rollout).to(returns)[..., None]
        penalty = self.alpha * (scores.logprobs - scores.other_logprobs[MAGNET]) * scores.mask
        if whole:
            advantages = returns * (reward - penalty.sum(-1, keepdim=True)) - baseline
        else:
            advantages = returns * (reward - baseline) - reward_to_go(penalty, self.gamma)
        return step_targets(self, rollout, scores, advantages)

    def loss(self, scores: Scores, targets: MPOTargets) -> tuple[Tensor, Metrics]:
        """−(Σ r_t A_t − (1/η) Σ KL_t(π_k)) / trained responses, equation (9)."""
        ratio = torch.exp(scores.logprobs - targets.behaviour_logprobs)
        count = targets.responses[0] * scores.total_prompts
        policy = -(ratio * targets.advantages)[scores.mask].sum()
        proximal = targets.inverse_eta[:, None, None] * scores.kl[BEHAVIOUR]
        return (policy + proximal.sum()) / count, step_metrics(scores, ratio, policy)


def reward_to_go(rewards: Tensor, gamma: float) -> Tensor:
    """Σ_{l≥t} γ^{l−t} R_l along the last axis, same shape (Algorithm 2, line 7, without b)."""
    later = torch.zeros_like(rewards[..., 0])
    found = []
    for now in reversed(rewards.unbind(-1)):
        later = now + gamma * later
        found.append(later)
    return torch.stack(found[::-1], -1)
