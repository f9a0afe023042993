"""The engine: one training step is one iteration of self-play."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from mpo.clock import PhaseClock
from mpo.divergences import TokenScores, token_scores
from mpo.judges.protocol import Judge
from mpo.meters import Meters
from mpo.objectives.protocol import BEHAVIOUR, Objective, targets_slice
from mpo.optimization import (
    OptimizerSettings,
    build_optimizer,
    build_schedule,
    current_optimizer,
)
from mpo.policy import Policy
from mpo.records import Prompts, Rollout, Scores
from mpo.rollout import SamplingSettings, collect
from mpo.scoring import (
    Critic,
    Part,
    detached,
    frozen_head,
    joined,
    prepare,
    scores_of,
    with_behaviour,
)
from mpo.snapshots import OPPONENT, Snapshots
from mpo.strategy import clip_and_step


class NonFiniteLossError(RuntimeError):
    """A loss or a gradient that is NaN or infinite, with where it happened."""

    def __init__(self, iteration: int, inner_step: int, batch: list[str]):
        self.iteration, self.inner_step, self.batch = iteration, inner_step, batch
        super().__init__(
            f"loss or gradient: not finite at iteration {iteration}, inner step {inner_step}, on "
            f"prompts {batch}; lower train.lr or method.eta, or raise train.warmup_steps"
        )


@dataclass(frozen=True)
class EngineSettings:
    """How the engine runs, whatever the method."""

    iterations: int
    """Rollouts in the whole run."""
    optimizer: OptimizerSettings
    micro_prompts: int | None = None
    """Prompts a micro-batch; None: the whole batch at once. Changes memory and time only."""
    logits_chunk: int = 2**23
    """Logits in memory at a time: positions × vocabulary of a chunk."""
    step_kl_every: int | None = None
    """Iterations between measurements of KL(π_{k+1} ‖ π_k) on the rollout; None: never."""


class AlignmentModule(L.LightningModule):
    """Self-play of a policy under an objective.

    The order of events in iteration k: sample from π_k (and a snapshot opponent), judge, score
    the frozen models and π_k, targets, m inner steps from θ_k, move the snapshots that are due to
    π_{k+1}. `last_rollout` and `logged` hold what happened, for evaluation.
    """

    def __init__(
        self,
        policy: Policy,
        objective: Objective[Any],
        judge: Judge,
        sampling: SamplingSettings,
        settings: EngineSettings,
        critic: nn.Module | None = None,
    ):
        super().__init__()
        self.automatic_optimization = False
        self.policy = policy
        self.objective = objective
        self.needs = objective.needs()
        if self.needs.values and critic is None:
            raise ValueError("critic: got None, this objective needs values at each token")
        self.snapshots = Snapshots(policy, self.needs)
        self.critic: Critic | None = critic
        self.judge = judge
        self.sampling = sampling
        self.settings = settings
        self.clock = PhaseClock()
        self.meters = Meters()
        self.iterations_done = 0
        self.counts = {"samples": 0, "judge_calls": 0, "tokens": 0}
        self.logged: dict[str, float] = {}
        self.last_rollout: Rollout | None = None

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """One AdamW with named groups, and its learning-rate schedule by optimizer step."""
        optimizer = build_optimizer(self.settings.optimizer, self.policy, self.critic)
        total = self.settings.iterations * self.needs.inner_steps
        schedule = build_schedule(self.settings.optimizer, optimizer, total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: Prompts, batch_idx: int) -> None:
        """Iteration k on its prompts; see the class for the order of events."""
        rollout = self.rollout(batch)
        self.learn(rollout)
        self.iterations_done += 1
        with self.clock.phase("update"):
            self.snapshots.refresh(self.policy, self.iterations_done)
        self._log(rollout)

    def rollout(self, prompts: Prompts) -> Rollout:
        """Sample and judge the next iteration."""
        separate = self.needs.opponent_responses and self.needs.opponent_is_snapshot
        return collect(
            self.policy,
            self.snapshots[OPPONENT] if separate else None,
            self.judge,
            self.needs,
            prompts,
            self.sampling,
            self.iterations_done,
            self.settings.iterations,
            self.clock,
        )

    def learn(self, rollout: Rollout) -> None:
        """Targets at θ_k, then m inner steps."""
        parts, first, scores = self._score_at_start(rollout)
        with self.clock.phase("scoring"), torch.no_grad():
            targets = self.objective.targets(rollout, scores)
        for inner_step in range(self.needs.inner_steps):
            with self.clock.phase("update"):
                for part in parts:
                    at_theta = first if inner_step == 0 and first else self._score(part, scores)
                    loss, metrics = self.objective.loss(
                        at_theta, targets_slice(targets, part.prompts)
                    )
                    self._require_finite(loss, inner_step, rollout.prompts.texts[part.prompts])
                    self.manual_backward(loss)
                    self.meters.add_all(metrics)
                norm = clip_and_step(self, self.settings.optimizer.clip_norm)
                self._require_finite(norm, inner_step, rollout.prompts.texts)
                self.meters.add("grad_norm", norm)
        every = self.settings.step_kl_every
        if every and (self.iterations_done + 1) % every == 0:
            with self.clock.phase("evaluation"):
                self._meter_step_kl(parts)

    def _score_at_start(self, rollout: Rollout) -> tuple[list[Part], Scores | None, Scores]:
        """Frozen models and π_θ at θ = θ_k on the rollout.

        With one micro-batch the first inner step's own forward pass serves as π_k's: its scores
        are returned with their graph, and nothing is computed twice.
        """
        size = len(rollout.prompts.texts)
        step = min(size, self.settings.micro_prompts or size)
        total = size * self.trainer.world_size
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
                    self.settings.logits_chunk,
                )
            with self.clock.phase("update"), torch.set_grad_enabled(step == size):
                names = tuple(part.frozen)
                hidden = self._hidden(part)
                scored = self._token_scores(hidden, part, names)
                part = with_behaviour(part, hidden, head, scored)
                scores.append(scores_of(scored, names, part, self.needs, total, self._values(part)))
            parts.append(part)
        return parts, scores[0] if step == size else None, detached(joined(scores))

    def _score(self, part: Part, at_start: Scores) -> Scores:
        """π_θ and, where needed, the critic on a micro-batch."""
        names = tuple(dict.fromkeys((*self.needs.kl_to, *self.needs.logprobs_of)))
        scored = self._token_scores(self._hidden(part), part, names)
        total = at_start.total_prompts
        return scores_of(scored, names, part, self.needs, total, self._values(part))

    def _token_scores(self, hidden: Tensor, part: Part, names: tuple[str, ...]) -> TokenScores:
        references = [part.frozen[name] for name in names]
        chunk = self.settings.logits_chunk
        return token_scores(hidden, self.policy.head, part.tokens, references, chunk)

    def _hidden(self, part: Part) -> Tensor:
        return self.policy.hidden(part.layout, part.trunk)[part.mask]

    def _values(self, part: Part) -> Tensor | None:
        if not self.needs.values or self.critic is None:
            return None
        return self.critic(part.layout, part.trunk)

    @torch.no_grad()
    def _meter_step_kl(self, parts: list[Part]) -> None:
        """KL(π_{k+1} ‖ π_k) on the prefixes that π_k visited, summed over tokens."""
        for part in parts:
            scored = self._token_scores(self._hidden(part), part, (BEHAVIOUR,))
            responses = part.mask.shape[0] * part.mask.shape[1]
            self.meters.add("kl_step", scored.kl[0].sum() / responses, responses)

    def _require_finite(
        self, value: Tensor | float, inner_step: int, texts: tuple[str, ...]
    ) -> None:
        if not torch.isfinite(torch.as_tensor(value)):
            raise NonFiniteLossError(self.iterations_done, inner_step, list(texts))

    def _log(self, rollout: Rollout) -> None:
        """Close the iteration's meters into `logged` and the logger, by iteration."""
        lengths = rollout.responses.lengths.float()
        self.meters.add("response_length", lengths.mean(), lengths.numel())
        self.meters.add("truncated", (~rollout.responses.ended).float().mean(), lengths.numel())
        if rollout.opponents is not None:
            won = rollout.wins[rollout.compared]
            self.meters.add("win_rate_opponent", won.mean().float(), won.numel())
        self.counts["samples"] += rollout.samples
        self.counts["judge_calls"] += rollout.judge_calls
        self.counts["tokens"] += rollout.tokens
        self.logged = self.meters.close()
        self.logged["lr"] = current_optimizer(self).param_groups[0]["lr"]
        self.last_rollout = rollout
        scalars = {f"train/{name}": value for name, value in self.logged.items()}
        if self.logger is not None:
            self.logger.log_metrics(scalars, step=self.iterations_done)
