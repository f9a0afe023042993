"""Magnetic Preference Optimization (paper, Algorithm 1 and equation (8))."""

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
    token_mean,
    win_baseline,
)
from mpo.records import Metrics, Rollout, Scores
from mpo.returns import discounts, later_sum, mean_win


@dataclass(frozen=True)
class MPO:
    """maximise E[A] − α KL(π_θ ‖ μ) − (1/η) KL(π_θ ‖ π_k) by m gradient steps from π_k.

    The policy term is Σ_t r_t A_t with r_t = π_θ(y_t|s_t)/π_k(y_t|s_t). With `proximal: clip` it
    is PPO's Σ_t min(r_t A_t, clip(r_t, 1 − ε, 1 + ε) A_t) (Schulman et al. 2017), and the 1/η KL
    is left out. Terms are summed over tokens and averaged over trained responses. Design,
    section 2, says where the paper leaves a choice; each choice is a field.
    """

    alpha: float = 0.1
    """α ≥ 0: weight of the KL to the magnet."""
    eta: float = 1.0
    """η > 0: step size of the mirror step; 1/η weighs the KL to π_k. Unused with clip."""
    eta_schedule: str = "constant"
    """constant | linear."""
    eta_horizon: int | None = None
    """Iterations over which a linear η falls; None: the run's iterations."""
    eta_floor: float = 0.05
    """Smallest share of η that a linear schedule reaches, in (0, 1]."""
    proximal: str = "kl"
    """kl (the 1/η KL to π_k) | clip (PPO's clipped ratio in its place)."""
    clip_range: float = 0.2
    """ε in (0, 1): r_t counts between 1 − ε and 1 + ε. Used with clip only."""
    gamma: float = 1.0
    """γ in (0, 1]: discount from a token to the response's end."""
    magnet_interval: int | None = 25
    """Iterations between the magnet's moves; None: the magnet never moves."""
    opponent: str = "policy"
    """policy (π_k itself) | snapshot (Algorithm 1: refreshed like the magnet)."""
    opponent_interval: int | None = None
    """Iterations between a snapshot opponent's moves; None: moves with the magnet."""
    self_play: bool = True
    """False: opponent and magnet both stay the initial policy (the paper's "wo. SP"), whatever
    magnet_interval, opponent and opponent_interval say; needs symmetric = false."""
    inner_steps: int = 4
    """m ≥ 1 optimizer steps a rollout."""
    reward: str = "terminal"
    """terminal (P at the last token) | every_token (P at each, Algorithm 1 line 6)."""
    discount_baseline: bool = True
    """True: G_t·(P − b); False: G_t·P − b (Algorithm 1 line 7)."""
    baseline: str = "half"
    """half | remax | rloo."""
    symmetric: bool = True
    """Both responses of a pair train; needs opponent = policy."""
    pairs: str = "all"
    """disjoint | all: which of a prompt's responses are compared."""
    responses: int = 4
    """n: trained samples a prompt."""
    kl_gradient: str = "sequence"
    """sequence (unbiased gradient of KL(π ‖ μ)) | per_token (autograd through the estimate)."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        checks = FieldChecks(self)
        check_self_play(checks, self)
        checks.choice("proximal", "kl", "clip")
        checks.require("clip_range", 0 < self.clip_range < 1, "a number in (0, 1)")
        checks.choice("reward", "terminal", "every_token")
        checks.choice("kl_gradient", "sequence", "per_token")
        checks.require(
            "symmetric",
            self.self_play or not self.symmetric,
            "false when self_play is false: the initial policy's responses are not samples of "
            "the policy",
        )
        return checks.found

    def needs(self) -> Needs:
        """Samples of π_k and of the opponent, and exact KLs to π_k and μ."""
        needs = self_play_needs(self)
        if self.self_play:
            return needs
        return needs._replace(
            opponent_is_snapshot=True, magnet_interval=None, opponent_interval=None
        )

    def targets(self, rollout: Rollout, scores: Scores) -> MPOTargets:
        """Advantages A_t = G_t·(P − b), less α Σ_{l>t} KL_l(π_k ‖ μ) for the sequence gradient."""
        returns = discounts(
            scores.mask, self.gamma, self.reward == "every_token", scores.logprobs.dtype
        )
        reward = mean_win(rollout.wins, rollout.compared).to(returns)[..., None]
        baseline = win_baseline(self, rollout).to(returns)[..., None]
        if self.discount_baseline:
            advantages = returns * (reward - baseline)
        else:
            advantages = returns * reward - baseline
        if self.kl_gradient == "sequence":
            advantages = advantages - self.alpha * later_sum(scores.kl[MAGNET])
        return step_targets(self, rollout, scores, advantages)

    def loss(self, scores: Scores, targets: MPOTargets) -> tuple[Tensor, Metrics]:
        """−(Σ r_t A_t − α Σ KL_t(μ) − (1/η) Σ KL_t(π_k)) / trained responses, equation (8)."""
        ratio = torch.exp(scores.logprobs - targets.behaviour_logprobs)
        count = targets.responses[0] * scores.total_prompts
        gain = ratio * targets.advantages
        magnet = self.alpha * scores.kl[MAGNET].sum() / count
        if self.proximal == "clip":
            bounded = ratio.clamp(1 - self.clip_range, 1 + self.clip_range) * targets.advantages
            policy = -torch.minimum(gain, bounded)[scores.mask].sum()
            clipped = token_mean((gain > bounded).to(gain), scores)
            metrics = step_metrics(scores, ratio, policy)
            return policy / count + magnet, {**metrics, "clip_fraction": clipped}
        policy = -gain[scores.mask].sum()
        proximal = (targets.inverse_eta[:, None, None] * scores.kl[BEHAVIOUR]).sum() / count
        return policy / count + magnet + proximal, step_metrics(scores, ratio, policy)
