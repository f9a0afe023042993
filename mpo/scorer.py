"""Scores of a rollout over the inner steps: what changes with θ, and what is computed once."""

from __future__ import annotations

import torch
from torch import Tensor

from mpo.clock import PhaseClock
from mpo.demonstrations import Demonstrations
from mpo.divergences import TokenScores, token_scores
from mpo.objectives.protocol import BEHAVIOUR, Needs
from mpo.policy import Policy
from mpo.records import Rollout, Scores
from mpo.scoring import (
    Critic,
    Part,
    detached,
    frozen_head,
    joined,
    mean_logprobs,
    prepare,
    scores_of,
    with_behaviour,
)
from mpo.snapshots import Snapshots


class Scorer:
    """Scores rollouts in micro-batches of at most `micro_prompts` prompts (None: all at once)."""

    def __init__(
        self,
        policy: Policy,
        snapshots: Snapshots,
        needs: Needs,
        micro_prompts: int | None,
        chunk: int,
        clock: PhaseClock,
        critic: Critic | None,
        demonstrations: Demonstrations | None,
    ):
        self.policy, self.snapshots, self.needs = policy, snapshots, needs
        self.micro_prompts, self.chunk, self.clock = micro_prompts, chunk, clock
        self.critic = critic if needs.values else None
        self.demonstrations = demonstrations if needs.demonstrations else None

    def at_start(
        self, rollout: Rollout, world_size: int, iteration: int
    ) -> tuple[list[Part], Scores | None, Scores]:
        """Frozen models and π_θ at θ = θ_k on the rollout.

        With one micro-batch the first inner step's own forward pass serves as π_k's: its scores
        are returned with their graph, and nothing is computed twice.
        """
        size = len(rollout.prompts.texts)
        step = min(size, self.micro_prompts or size)
        total = size * world_size
        head = frozen_head(self.policy.head)
        parts, scores = [], []
        for start in range(0, size, step):
            with self.clock.phase("scoring"):
                part = prepare(
                    self.policy,
                    self.snapshots,
                    self.needs,
                    rollout.prompts,
                    rollout.responses,
                    slice(start, min(size, start + step)),
                    self.chunk,
                )
                part = self._with_demonstrations(part, iteration)
            with self.clock.phase("update"), torch.set_grad_enabled(step == size):
                names = tuple(part.frozen)
                hidden = self._hidden(part)
                scored = self._token_scores(hidden, part, names)
                part = with_behaviour(part, hidden, head, scored)
                scores.append(self._scores_of(scored, names, part, total))
            parts.append(part)
        return parts, scores[0] if step == size else None, detached(joined(scores))

    def at_theta(self, part: Part, total_prompts: int) -> Scores:
        """π_θ and, where needed, critic and demonstrations on a micro-batch, with their graph."""
        names = tuple(dict.fromkeys((*self.needs.kl_to, *self.needs.logprobs_of)))
        scored = self._token_scores(self._hidden(part), part, names)
        return self._scores_of(scored, names, part, total_prompts)

    @torch.no_grad()
    def step_kl(self, part: Part) -> tuple[Tensor, float]:
        """KL(π_{k+1} ‖ π_k) on the prefixes that π_k visited, summed over tokens; its weight."""
        scored = self._token_scores(self._hidden(part), part, (BEHAVIOUR,))
        responses = part.mask.shape[0] * part.mask.shape[1]
        return scored.kl[0].sum() / responses, float(responses)

    def _scores_of(
        self, scored: TokenScores, names: tuple[str, ...], part: Part, total: int
    ) -> Scores:
        values = None if self.critic is None else self.critic(part.layout, part.trunk)
        shown = self._demonstration_logprobs(part)
        return scores_of(scored, names, part, self.needs, total, values, shown)

    def _token_scores(self, hidden: Tensor, part: Part, names: tuple[str, ...]) -> TokenScores:
        references = [part.frozen[name] for name in names]
        return token_scores(hidden, self.policy.head, part.tokens, references, self.chunk)

    def _hidden(self, part: Part) -> Tensor:
        return self.policy.hidden(part.layout, part.trunk)[part.mask]

    def _with_demonstrations(self, part: Part, iteration: int) -> Part:
        if self.demonstrations is None:
            return part
        prompts, responses = self.demonstrations.batch(iteration, self.policy.device)
        needs = Needs(responses=1)
        shown = prepare(
            self.policy, self.snapshots, needs, prompts, responses, part.prompts, self.chunk
        )
        return part._replace(demonstrated=shown)

    def _demonstration_logprobs(self, part: Part) -> Tensor | None:
        if part.demonstrated is None:
            return None
        scored = self._token_scores(self._hidden(part.demonstrated), part.demonstrated, ())
        return mean_logprobs(scored.logprobs, part.demonstrated.mask)
