"""Iterative DPO on the best and the worst of N samples (Dong et al. 2024; paper, appendix D.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from mpo.objectives.field_checks import FieldChecks
from mpo.objectives.protocol import MAGNET, Needs
from mpo.records import Metrics, Rollout, Scores, Weighted
from mpo.returns import mean_win


class BestAndWorst(NamedTuple):
    """Which responses of each of a prompt's G groups are the pair."""

    best: Tensor
    """(B, G) place among the prompt's responses."""
    worst: Tensor
    """(B, G) place among the prompt's responses; that of `best` where the pair is tied."""
    tied: Tensor
    """(B, G) bool: best and worst have one score or one text, so the group teaches nothing."""


@dataclass(frozen=True)
class IterativeDPO:
    """minimise −(1 − ε) log σ(z) − ε log σ(−z), averaged over pairs, round after round.

    z = β (Δ_w − Δ_l) with Δ = Σ_t log (π_θ/μ)(y_t|s_t) (Rafailov et al. 2023, equation (7); label
    smoothing ε: Mitchell 2023, conservative DPO). μ is the policy at the round's start: it is the
    round's reference, and the N responses of which the best y_w and the worst y_l are taken are
    its samples, however far π_θ has moved since. Of responses with equal scores the first counts.
    """

    responses: int = 4
    """N ≥ 2: samples of which the best and the worst train."""
    groups: int = 1
    """Groups of N samples a prompt and iteration, each of which gives a pair."""
    beta: float = 0.1
    """β > 0: strength of the implicit KL to the round's reference."""
    label_smoothing: float = 0.0
    """ε in [0, ½): how often the pair is believed to be the other way round."""
    selection: str = "reward"
    """reward (of the reward model) | judge (mean win probability over the other N − 1)."""
    inner_steps: int = 1
    """m ≥ 1 optimizer steps a rollout."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        checks = FieldChecks(self)
        good = self.responses >= 2
        checks.require("responses", good, "an integer ≥ 2: a best and a worst response")
        checks.count("groups")
        checks.positive("beta")
        checks.require("label_smoothing", 0 <= self.label_smoothing < 0.5, "a number in [0, 0.5)")
        checks.choice("selection", "reward", "judge")
        checks.count("inner_steps")
        return checks.found

    def needs(self) -> Needs:
        """Samples of the magnet, which moves with the rounds, and their rewards or comparisons."""
        return Needs(
            responses=self.responses * self.groups,
            all_pairs=True,
            judged=self.selection == "judge",
            rewards=self.selection == "reward",
            samples_from_magnet=True,
            logprobs_of=(MAGNET,),
            inner_steps=self.inner_steps,
            magnet_follows_rounds=True,
        )

    def targets(self, rollout: Rollout, scores: Scores) -> BestAndWorst:
        """The pair of each group. Raises ValueError when the rewards are needed and missing."""
        places = torch.arange(self.responses * self.groups, device=scores.mask.device)
        group = places // self.responses
        if self.selection == "judge":
            within = rollout.compared & (group[:, None] == group[None, :])
            score = mean_win(rollout.wins, within)
        elif rollout.rewards is None:
            raise ValueError("reward: selection = reward needs the rollout's rewards, got None")
        else:
            score = rollout.rewards
        score = score.unflatten(1, (self.groups, self.responses))
        first = places[:: self.responses]
        best, worst = score.argmax(2) + first, score.argmin(2) + first
        # A reward model may score one text twice with two roundings: that is a tie as well.
        same = [
            [texts[i] == texts[j] for i, j in zip(*pairs, strict=True)]
            for texts, *pairs in zip(rollout.texts, best.tolist(), worst.tolist(), strict=True)
        ]
        tied = (score.amax(2) == score.amin(2)) | torch.tensor(same, device=score.device)
        return BestAndWorst(best, torch.where(tied, best, worst), tied)

    def loss(self, scores: Scores, targets: BestAndWorst) -> tuple[Tensor, Metrics]:
        """This part's share of the mean over pairs; a tied group adds log 2 and no gradient.

        `margin` is the mean of z and `accuracy` the share of z > 0, both over all groups: a tied
        one has z = 0.
        """
        drift = (scores.logprobs - scores.other_logprobs[MAGNET]) * scores.mask
        moved = drift.sum(-1)
        won, lost = moved.gather(1, targets.best), moved.gather(1, targets.worst)
        margin = self.beta * (won - lost)
        smooth = self.label_smoothing
        each = -(1.0 - smooth) * logsigmoid(margin) - smooth * logsigmoid(-margin)
        loss = each.sum() / (scores.total_prompts * self.groups)
        pairs, tokens = float(margin.numel()), float(scores.mask.sum())
        seen = margin.detach()
        metrics = {
            "dpo_loss": Weighted(each.detach().mean(), pairs),
            "margin": Weighted(seen.mean(), pairs),
            "accuracy": Weighted((seen > 0).to(seen).mean(), pairs),
            "tied": Weighted(targets.tied.to(seen).mean(), pairs),
            "token_entropy": Weighted(scores.entropy.detach()[scores.mask].mean(), tokens),
        }
        return loss, metrics
