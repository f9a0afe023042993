"""The engine: one training step is one iteration of self-play."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from mpo.clock import PhaseClock
from mpo.judges.protocol import Judge
from mpo.objectives.protocol import BEHAVIOUR, Objective, targets_slice
from mpo.optimization import OptimizerSettings, build_optimizer, build_schedule
from mpo.policy import Policy
from mpo.records import Metrics, Prompts, Rollout, Scores
from mpo.rollout import SamplingSettings, collect
from mpo.scoring import (
    Critic,
    Part,
    behaviour_scores,
    frozen_head,
    joined,
    prepare,
    scores_of,
    with_behaviour,
)
from mpo.divergences import token_scores
from mpo.snapshots import OPPONENT, Snapshots
from mpo.strategy import clip_and_step


class NonFiniteLossError(RuntimeError):
    """A loss that is NaN or infinite, with where it happened."""

    def __init__(self, iteration: int, inner_step: int, batch: list[str]):
        self.iteration, self.inner_step, self.batch = iteration, inner_step, batch
        super().__init__(
            f"loss: not finite at iteration {iteration}, inner step {inner_step}, on prompts "
            f"{batch}; lower train.lr or method.eta, or raise train.warmup_steps"
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
    π_{k+1}. `last_rollout` and `last_kl_magnet` hold what happened for evaluation and logging.
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
        self.meters = nn.ModuleDict()
        self.iterations_done = 0
        self.counts = {"samples": 0, "judge_calls": 0, "tokens": 0}
        self.logged: dict[str, float] = {}
        self.last_rollout: Rollout | None = None

    def configure_optimizers(self) -> dict[str, Any]:
        """One AdamW with named groups, and its learning-rate schedule by optimizer step."""
        optimizer = build_optimizer(self.settings.optimizer, self.policy, self.critic)
        total = self.settings.iterations * self.needs.inner_steps
        schedule = build_schedule(self.settings.optimizer, optimizer, total)
        return {"optimizer": optimizer, "lr_scheduler": schedule}

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
        parts, first_hidden, scores = self._score_at_start(rollout)
        with self.clock.phase("scoring"), torch.no_grad():
            targets = self.objective.targets(rollout, scores)
        names = tuple(dict.fromkeys((*self.needs.kl_to, *self.needs.logprobs_of)))
        for inner_step in range(self.needs.inner_steps):
            with self.clock.phase("update"):
                for part in parts:
                    reuse = first_hidden if inner_step == 0 else None
                    hidden = self._hidden(part) if reuse is None else reuse
                    references = [part.frozen[name] for name in names]
                    scored = token_scores(
                        hidden,
                        self.policy.head,
                        part.tokens,
                        references,
                        self.settings.logits_chunk,
                    )
                    loss, metrics = self.objective.loss(
                        scores_of(
                            scored, names, part, self.needs, scores.total_prompts, self._values(part)
                        ),
                        targets_slice(targets, part.prompts),
                    )
                    self._require_finite(loss, inner_step, rollout, part)
                    self.manual_backward(loss)
                    self._meter(metrics)
                norm = clip_and_step(self, self.settings.optimizer.clip_norm)
                self._meter_value("grad_norm", norm)
            if not torch.isfinite(torch.as_tensor(norm)):
                raise NonFiniteLossError(
                    self.iterations_done, inner_step, list(rollout.prompts.texts)
                )
        every = self.settings.step_kl_every
        if every and (self.iterations_done + 1) % every == 0:
            with self.clock.phase("evaluation"):
                self._meter_step_kl(parts)

    def _score_at_start(self, rollout: Rollout) -> tuple[list[Part], Tensor | None, Scores]:
        """Frozen models and π_k on the rollout.

        With one micro-batch the first inner step's own forward pass is π_k's (θ = θ_k): its hidden
        states are returned, with their graph, and nothing is computed twice.
        """
        size = len(rollout.prompts.texts)
        step = self.settings.micro_prompts or size
        head = frozen_head(self.policy.head)
        total = size * self.trainer.world_size
        parts, scores, hidden = [], [], None
        single = step >= size
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
            with self.clock.phase("update"), torch.set_grad_enabled(single):
                hidden = self._hidden(part)
            with self.clock.phase("scoring"):
                scored = behaviour_scores(
                    hidden.detach(), head, part, self.settings.logits_chunk
                )
                names = tuple(part.frozen)
                part = with_behaviour(part, hidden.detach(), head, scored)
                with torch.no_grad():
                    values = self._values(part)
                    scores.append(scores_of(scored, names, part, self.needs, total, values))
            parts.append(part)
        return parts, hidden if single else None, joined(scores)

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
            scored = token_scores(
                self._hidden(part),
                self.policy.head,
                part.tokens,
                [part.frozen[BEHAVIOUR]],
                self.settings.logits_chunk,
            )
            responses = part.mask.shape[0] * part.mask.shape[1]
            self._meter_value("kl_step", scored.kl[0].sum() / responses, responses)

    def _require_finite(
        self, loss: Tensor, inner_step: int, rollout: Rollout, part: Part
    ) -> None:
        if not torch.isfinite(loss):
            batch = list(rollout.prompts.texts[part.prompts])
            raise NonFiniteLossError(self.iterations_done, inner_step, batch)

    def _meter(self, metrics: Metrics) -> None:
        for name, (mean, weight) in metrics.items():
            self._meter_value(name, mean, weight)

    def _meter_value(self, name: str, value: Tensor | float, weight: float = 1.0) -> None:
        if name not in self.meters:
            self.meters[name] = MeanMetric(nan_strategy="disable").to(self.policy.device)
        self.meters[name].update(value, weight)

    def _log(self, rollout: Rollout) -> None:
        """Close the iteration's meters into `logged` and the logger, by iteration."""
        lengths = rollout.responses.lengths.float()
        self._meter_value("response_length", lengths.mean(), lengths.numel())
        self._meter_value("truncated", (~rollout.responses.ended).float().mean(), lengths.numel())
        if rollout.opponents is not None:
            won = rollout.wins[rollout.compared]
            self._meter_value("win_rate_opponent", won.mean().float(), won.numel())
        self.counts["samples"] += rollout.samples
        self.counts["judge_calls"] += rollout.judge_calls
        self.counts["tokens"] += rollout.tokens
        self.logged = {name: float(meter.compute()) for name, meter in self.meters.items()}
        for meter in self.meters.values():
            meter.reset()
        optimizer = self.optimizers()
        self.logged["lr"] = optimizer.param_groups[0]["lr"]
        self.last_rollout = rollout
        scalars = {f"train/{name}": value for name, value in self.logged.items()}
        if self.logger is not None:
            self.logger.log_metrics(scalars, step=self.iterations_done)
