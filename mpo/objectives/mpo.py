"""Magnetic Preference Optimization (paper, Algorithm 1 and equation (8))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mpo.objectives.protocol import BEHAVIOUR, MAGNET, Needs
from mpo.records import Metrics, Rollout, Scores, Weighted
from mpo.returns import discounts, greedy_win, later_sum, leave_one_out, mean_win
from mpo.schedules import eta_at


class MPOTargets(NamedTuple):
    """What the inner steps of one rollout hold fixed."""

    advantages: Tensor
    """(B, n, T): A_t, with the KL that follows t when `kl_gradient` is `sequence`."""
    behaviour_logprobs: Tensor
    """(B, n, T): log π_k(y_t | s_t)."""
    inverse_eta: Tensor
    """(B,): 1/η_k, the same for all prompts."""
    responses: Tensor
    """(B,): n, the trained responses a prompt."""


@dataclass(frozen=True)
class MPO:
    """maximise E[A] − α KL(π_θ ‖ μ) − (1/η) KL(π_θ ‖ π_k) by m gradient steps from π_k.

    The policy term is Σ_t r_t A_t with r_t = π_θ(y_t|s_t)/π_k(y_t|s_t), not clipped. Terms are
    summed over tokens and averaged over trained responses. Design, section 2, says where the
    paper leaves a choice; each choice is a field.
    """

    alpha: float = 0.1
    """α ≥ 0: weight of the KL to the magnet."""
    eta: float = 1.0
    """η > 0: step size of the mirror step; 1/η weighs the KL to π_k."""
    eta_schedule: str = "constant"
    """constant | linear."""
    eta_horizon: int | None = None
    """Iterations over which a linear η falls; None: the run's iterations."""
    eta_floor: float = 0.05
    """Smallest share of η that a linear schedule reaches, in (0, 1]."""
    gamma: float = 1.0
    """γ in (0, 1]: discount from a token to the response's end."""
    magnet_interval: int | None = 25
    """Iterations between the magnet's moves; None: the magnet never moves."""
    opponent: str = "policy"
    """policy (π_k itself) | snapshot (Algorithm 1: refreshed like the magnet)."""
    opponent_interval: int | None = None
    """Iterations between a snapshot opponent's moves; None: moves with the magnet."""
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
        found = []

        def check(field: str, good: bool, allowed: str) -> None:
            if not good:
                found.append(f"{field}: got {getattr(self, field)!r}, allowed is {allowed}")

        def choice(field: str, *allowed: str) -> None:
            check(field, getattr(self, field) in allowed, " | ".join(allowed))

        def positive_or_none(field: str, when_none: str) -> None:
            value = getattr(self, field)
            check(field, value is None or value >= 1, f"an integer ≥ 1, or null ({when_none})")

        check("alpha", 0 <= self.alpha < float("inf"), "a number ≥ 0")
        check("eta", 0 < self.eta < float("inf"), "a number > 0")
        choice("eta_schedule", "constant", "linear")
        positive_or_none("eta_horizon", "the run's iterations")
        check("eta_floor", 0 < self.eta_floor <= 1, "a number in (0, 1]")
        check("gamma", 0 < self.gamma <= 1, "a number in (0, 1]")
        positive_or_none("magnet_interval", "never; `never` is the same")
        choice("opponent", "policy", "snapshot")
        positive_or_none("opponent_interval", "moves with the magnet")
        check("inner_steps", self.inner_steps >= 1, "an integer ≥ 1")
        choice("reward", "terminal", "every_token")
        choice("baseline", "half", "remax", "rloo")
        choice("pairs", "disjoint", "all")
        choice("kl_gradient", "sequence", "per_token")
        check(
            "symmetric",
            not (self.symmetric and self.opponent == "snapshot"),
            "false when opponent is snapshot: its responses are not samples of the policy",
        )
        if self.symmetric:
            even = self.pairs == "all" or self.responses % 2 == 0
            check("responses", self.responses >= 2 and even, "≥ 2, and even for disjoint pairs")
            enough = self.responses >= (3 if self.pairs == "all" else 4)
        else:
            check("responses", self.responses >= 1, "an integer ≥ 1")
            enough = self.responses >= 2
        check(
            "baseline",
            self.baseline != "rloo" or enough,
            "half | remax with so few responses: rloo needs a comparison without the response "
            "(responses ≥ 4 in disjoint symmetric pairs, 3 in all symmetric pairs, 2 otherwise)",
        )
        return found

    def needs(self) -> Needs:
        """Samples of π_k and of the opponent, and exact KLs to π_k and μ."""
        follows = self.opponent_interval is None
        return Needs(
            responses=self.responses,
            opponent_responses=0 if self.symmetric else self.responses,
            opponent_is_snapshot=self.opponent == "snapshot",
            all_pairs=self.pairs == "all",
            greedy=self.baseline == "remax",
            kl_to=(BEHAVIOUR, MAGNET),
            inner_steps=self.inner_steps,
            magnet_interval=self.magnet_interval,
            opponent_interval=self.magnet_interval if follows else self.opponent_interval,
        )

    def targets(self, rollout: Rollout, scores: Scores) -> MPOTargets:
        """Advantages A_t = G_t·(P − b), less α Σ_{l>t} KL_l(π_k ‖ μ) for the sequence gradient."""
        wins, compared = rollout.wins, rollout.compared
        reward = mean_win(wins, compared)
        baseline = self._baseline(rollout)
        returns = discounts(
            scores.mask, self.gamma, self.reward == "every_token", scores.logprobs.dtype
        )
        reward = reward.to(returns)[..., None]
        baseline = baseline.to(returns)[..., None]
        if self.discount_baseline:
            advantages = returns * (reward - baseline)
        else:
            advantages = (returns * reward - baseline) * scores.mask
        if self.kl_gradient == "sequence":
            advantages = advantages - self.alpha * later_sum(scores.kl[MAGNET])
        batch = wins.shape[0]
        horizon = self.eta_horizon or max(1, rollout.iterations)
        eta = eta_at(rollout.iteration, self.eta, self.eta_schedule, horizon, self.eta_floor)
        return MPOTargets(
            advantages * scores.mask,
            scores.logprobs,
            returns.new_full((batch,), 1.0 / eta),
            returns.new_full((batch,), float(self.responses)),
        )

    def _baseline(self, rollout: Rollout) -> Tensor:
        if self.baseline == "half":
            return torch.full(rollout.wins.shape[:2], 0.5, dtype=rollout.wins.dtype)
        if self.baseline == "rloo":
            return leave_one_out(rollout.wins, rollout.compared, own_pairs=self.symmetric)
        if rollout.greedy_wins is None:
            raise ValueError("baseline: remax needs the rollout's greedy_wins, got None")
        return greedy_win(rollout.greedy_wins, rollout.compared)

    def loss(self, scores: Scores, targets: MPOTargets) -> tuple[Tensor, Metrics]:
        """−(Σ r_t A_t − α Σ KL_t(μ) − (1/η) Σ KL_t(π_k)) / trained responses, equation (8)."""
        ratio = torch.exp(scores.logprobs - targets.behaviour_logprobs)
        count = targets.responses[0] * scores.total_prompts
        policy = -(ratio * targets.advantages)[scores.mask].sum() / count
        kl_magnet, kl_behaviour = scores.kl[MAGNET], scores.kl[BEHAVIOUR]
        magnet = self.alpha * kl_magnet.sum() / count
        proximal = (targets.inverse_eta[:, None, None] * kl_behaviour).sum() / count
        weight = float(scores.mask.shape[0] * scores.mask.shape[1])
        tokens = float(scores.mask.sum())
        metrics = {
            "policy_loss": Weighted(policy.detach() * count / weight, weight),
            "kl_magnet": Weighted(kl_magnet.detach().sum() / weight, weight),
            "kl_behaviour": Weighted(kl_behaviour.detach().sum() / weight, weight),
            "ratio": Weighted(ratio.detach()[scores.mask].mean(), tokens),
            "token_entropy": Weighted(scores.entropy.detach()[scores.mask].mean(), tokens),
        }
        return policy + magnet + proximal, metrics
