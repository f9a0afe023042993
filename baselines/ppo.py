"""PPO on a reward model, as RLHF uses it (Ziegler et al. 2019; Ouyang et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from baselines.gae import generalised_advantages
from baselines.whitening import whiten
from mpo.objectives.field_checks import FieldChecks
from mpo.objectives.protocol import REFERENCE, Needs
from mpo.records import Metrics, Rollout, Scores, Weighted

LARGEST_CHANGE = 0.2
"""Largest relative error of the KL, and so largest relative change of β, in one iteration."""


class PPOTargets(NamedTuple):
    """What the inner steps of one rollout hold fixed."""

    advantages: Tensor
    """(B, n, T): A_t, whitened where that is wanted."""
    returns: Tensor
    """(B, n, T): R_t = A_t + V_k(s_t), A_t before whitening: what the critic learns."""
    values: Tensor
    """(B, n, T): V_k(s_t), the critic at θ_k."""
    behaviour_logprobs: Tensor
    """(B, n, T): log π_k(y_t | s_t)."""
    rewards: Tensor
    """(B, n): r(x, y) of the reward model."""
    beta: Tensor
    """(B,): β of this iteration, the same for all prompts."""
    explained_variance: Tensor
    """(B,): 1 − Var(R − V_k)/Var(R) over the rollout's tokens; 0 where R does not vary."""


@dataclass(frozen=True)
class PPO:
    """maximise E[r(x, y)] − β KL(π_θ ‖ π_ref) by clipped steps (Schulman et al. 2017, (7) and (9)).

    Reward at token t: −β log (π_k/π_ref)(y_t|s_t), and r(x, y) besides at the last token.
    Advantages by GAE(γ, λ) on the critic V. With r_t = π_θ(y_t|s_t)/π_k(y_t|s_t) the loss is
    −Σ_t min(r_t A_t, clip(r_t, 1 ± ε) A_t) + c Σ_t ½ max((V − R)², (clip(V, V_k ± ε_V) − R)²)
    − ptx · mean over prompts of the demonstrations' log-probability a token (Ouyang et al. 2022,
    equation (2)). Both sums over tokens are averaged over responses, as MPO's are; other suites
    average over tokens, which weighs the tokens of long responses less. Whitening and explained
    variance are over all tokens of the rollout that a process holds: micro-batches change
    nothing, ranks do.
    """

    responses: int = 4
    """n: trained samples a prompt."""
    inner_steps: int = 4
    """m ≥ 1 optimizer steps a rollout."""
    beta: float = 0.1
    """β ≥ 0: weight of the KL to the reference; where it is adaptive, its first value."""
    gamma: float = 1.0
    """γ in (0, 1]: discount per token."""
    gae_lambda: float = 0.95
    """λ in [0, 1]: 1 does without the critic's word on later states, 0 takes only the next's."""
    clip_range: float = 0.2
    """ε > 0: the ratio r_t is clipped to 1 ± ε."""
    value_clip_range: float = 0.2
    """ε_V > 0: the critic's values are clipped to V_k ± ε_V, in units of reward."""
    value_coefficient: float = 0.5
    """c ≥ 0: weight of the critic's loss."""
    whiten_advantages: bool = True
    """Advantages have mean 0 and variance 1 over the rollout's tokens."""
    whiten_rewards: bool = False
    """Token rewards have variance 1 over the rollout's tokens and keep their mean."""
    ptx_coefficient: float = 0.0
    """Weight ≥ 0 of the demonstrations' log-probability."""
    adaptive_kl: bool = False
    """β moves so that KL(π ‖ π_ref) comes to `kl_target`."""
    kl_target: float = 6.0
    """Nats a response, > 0."""
    kl_horizon: int = 10000
    """Samples in which β answers the error of the KL: larger is slower."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        checks = FieldChecks(self)
        for field in ("responses", "inner_steps", "kl_horizon"):
            checks.count(field)
        if self.adaptive_kl:
            good = 0 < self.beta < float("inf")
            checks.require("beta", good, "a number > 0 when adaptive_kl is true: it is multiplied")
        else:
            checks.not_negative("beta")
        checks.require("gamma", 0 < self.gamma <= 1, "a number in (0, 1]")
        checks.require("gae_lambda", 0 <= self.gae_lambda <= 1, "a number in [0, 1]")
        for field in ("clip_range", "value_clip_range", "kl_target"):
            checks.positive(field)
        for field in ("value_coefficient", "ptx_coefficient"):
            checks.not_negative(field)
        return checks.found

    def needs(self) -> Needs:
        """Samples of π_k with their rewards, the reference's log-probabilities and a critic."""
        return Needs(
            responses=self.responses,
            judged=False,
            rewards=True,
            logprobs_of=(REFERENCE,),
            values=True,
            demonstrations=self.ptx_coefficient > 0,
            inner_steps=self.inner_steps,
        )

    def initial_state(self) -> dict[str, float]:
        """β of the first iteration."""
        return {"beta": self.beta}

    def next_state(
        self, state: Mapping[str, float], logged: Mapping[str, float]
    ) -> dict[str, float]:
        """β ← β (1 + e K), e = clip((KL − KL_target)/KL_target, ±0.2), K = samples/horizon ≤ 1.

        Ziegler et al. 2019, section 2.2, with K as in the authors' code; at most 1 here, so that
        β changes by a fifth at most and stays positive however many samples an iteration has.
        """
        if not self.adaptive_kl:
            return dict(state)
        error = (logged["kl_reference"] - self.kl_target) / self.kl_target
        error = min(max(error, -LARGEST_CHANGE), LARGEST_CHANGE)
        speed = min(1.0, logged["kl_samples"] / self.kl_horizon)
        return {"beta": state["beta"] * (1.0 + error * speed)}

    def targets(self, rollout: Rollout, scores: Scores) -> PPOTargets:
        """Advantages and returns of the rollout under the critic as it is at θ_k.

        Raises ValueError when the rollout has no rewards or the scores no values.
        """
        if rollout.rewards is None:
            raise ValueError("reward: PPO needs the rollout's rewards, got None")
        if scores.values is None:
            raise ValueError("critic: PPO needs a value at each token, got None")
        mask, logprobs = scores.mask, scores.logprobs
        beta = rollout.state["beta"] if self.adaptive_kl else self.beta
        final = rollout.rewards.to(logprobs)
        values = scores.values.to(logprobs) * mask
        rewards = -beta * (logprobs - scores.other_logprobs[REFERENCE]) * mask
        # The mask covers a response's first tokens, so its last one is where it ends.
        last = mask & ~torch.nn.functional.pad(mask[..., 1:], (0, 1))
        rewards = rewards + final[..., None] * last
        if self.whiten_rewards:
            rewards = whiten(rewards, mask, keep_mean=True)
        advantages = generalised_advantages(rewards, values, mask, self.gamma, self.gae_lambda)
        returns = (advantages + values) * mask
        spread = returns[mask].var(correction=0)
        explained = torch.zeros_like(spread)
        if spread > 0:
            explained = 1.0 - advantages[mask].var(correction=0) / spread
        if self.whiten_advantages:
            advantages = whiten(advantages, mask)
        batch = mask.shape[0]
        return PPOTargets(
            advantages,
            returns,
            values,
            logprobs,
            final,
            logprobs.new_full((batch,), beta),
            explained.expand(batch),
        )

    def loss(self, scores: Scores, targets: PPOTargets) -> tuple[Tensor, Metrics]:
        """Policy, value and demonstration terms of this part, over all responses or prompts."""
        if scores.values is None:
            raise ValueError("critic: PPO needs a value at each token, got None")
        mask, count = scores.mask, self.responses * scores.total_prompts
        ratio = torch.exp(scores.logprobs - targets.behaviour_logprobs)
        near = torch.clamp(ratio, 1.0 - self.clip_range, 1.0 + self.clip_range)
        free, held = ratio * targets.advantages, near * targets.advantages
        policy = -torch.minimum(free, held)[mask].sum() / count

        values = scores.values.to(targets.values)
        step = torch.clamp(values - targets.values, -self.value_clip_range, self.value_clip_range)
        errors = torch.maximum(
            (values - targets.returns) ** 2, (targets.values + step - targets.returns) ** 2
        )
        value = 0.5 * errors[mask].sum() / count
        loss = policy + self.value_coefficient * value

        weight, tokens = float(mask.shape[0] * mask.shape[1]), float(mask.sum())
        drift = (targets.behaviour_logprobs - scores.other_logprobs[REFERENCE])[mask].sum()
        metrics = {
            "policy_loss": Weighted(policy.detach() * count / weight, weight),
            "value_loss": Weighted(value.detach() * count / weight, weight),
            "kl_reference": Weighted(drift / weight, weight),
            "reward": Weighted(targets.rewards.mean(), weight),
            "ratio": Weighted(ratio.detach()[mask].mean(), tokens),
            "clipped": Weighted((held < free).detach()[mask].to(ratio).mean(), tokens),
            "token_entropy": Weighted(scores.entropy.detach()[mask].mean(), tokens),
            "explained_variance": Weighted(targets.explained_variance.mean(), weight),
            "beta": Weighted(targets.beta.mean(), weight),
        }
        if self.adaptive_kl:
            metrics["kl_samples"] = Weighted(targets.beta.new_tensor(float(count)), weight)
        if self.ptx_coefficient > 0:
            if scores.demonstrations is None:
                raise ValueError("demonstrations: ptx_coefficient > 0 needs them, got None")
            shown = scores.demonstrations
            loss = loss - self.ptx_coefficient * shown.sum() / scores.total_prompts
            metrics["demonstrations"] = Weighted(shown.detach().mean(), float(len(shown)))
        return loss, metrics
