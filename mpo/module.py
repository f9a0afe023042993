"""The engine: one training step is one iteration of self-play."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from mpo.clock import PhaseClock
from mpo.demonstrations import Demonstrations
from mpo.judges.protocol import Judge, RewardFunction
from mpo.meters import Meters
from mpo.objectives.protocol import (
    MAGNET,
    AdaptiveObjective,
    Objective,
    targets_slice,
)
from mpo.optimization import (
    OptimizerSettings,
    build_optimizer,
    build_schedule,
    current_optimizer,
)
from mpo.policy import Policy
from mpo.records import Prompts, Rollout
from mpo.rollout import SamplingSettings, collect
from mpo.scorer import Scorer
from mpo.scoring import Critic
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
    rounds: int = 1
    """Rounds of self-play, each an equal share of the run."""
    token_budget: int | None = None
    """Response tokens after which the run ends, before `iterations` are done; None: no such end."""


class AlignmentModule(L.LightningModule):
    """Self-play of a policy under an objective.

    The order of events in iteration k: sample from π_k (and a snapshot opponent), judge, score
    the frozen models and π_k, targets, m inner steps from θ_k, adapt the objective's own numbers,
    end the round if it is over, move the snapshots that are due to π_{k+1}. `last_rollout` and
    `logged` hold what happened, for evaluation.
    """

    def __init__(
        self,
        policy: Policy,
        objective: Objective[Any],
        judge: Judge,
        sampling: SamplingSettings,
        settings: EngineSettings,
        critic: nn.Module | None = None,
        reward: RewardFunction | None = None,
        demonstrations: Demonstrations | None = None,
    ):
        super().__init__()
        self.automatic_optimization = False
        self.policy = policy
        self.objective = objective
        self.needs = objective.needs()
        for field, wanted, given, why in (
            ("critic", self.needs.values, critic, "values at each token"),
            ("reward", self.needs.rewards, reward, "a reward model"),
            ("demonstrations", self.needs.demonstrations, demonstrations, "demonstrations"),
        ):
            if wanted and given is None:
                raise ValueError(f"{field}: got None, this objective needs {why}")
        self.snapshots = Snapshots(policy, self.needs)
        self.critic: Critic | None = critic
        self.judge, self.reward = judge, reward
        self.state: dict[str, float] = {}
        if isinstance(objective, AdaptiveObjective):
            self.state = objective.initial_state()
        self.sampling = sampling
        self.settings = settings
        self.clock = PhaseClock()
        self.scorer = Scorer(
            policy,
            self.snapshots,
            self.needs,
            settings.micro_prompts,
            settings.logits_chunk,
            self.clock,
            self.critic,
            demonstrations,
        )
        self.meters = Meters()
        self.iterations_done = 0
        self.rounds_done = 0
        self.counts = {"samples": 0, "judge_calls": 0, "tokens": 0}
        self.logged: dict[str, float] = {}
        self.last_rollout: Rollout | None = None

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """One AdamW with named groups, and its learning-rate schedule by optimizer step."""
        optimizer = build_optimizer(self.settings.optimizer, self.policy, self.critic)
        total = self.settings.iterations * self.needs.inner_steps
        share = self.share_done if self.settings.token_budget else None
        schedule = build_schedule(self.settings.optimizer, optimizer, total, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: Prompts, batch_idx: int) -> None:
        """Iteration k on its prompts; see the class for the order of events."""
        rollout = self.rollout(batch)
        self._count(rollout)
        self.learn(rollout)
        self.iterations_done += 1
        self._log(rollout)
        if isinstance(self.objective, AdaptiveObjective):
            self.state = self.objective.next_state(self.state, self.logged)
        before, self.rounds_done = self.rounds_done, self._rounds_over()
        with self.clock.phase("update"):
            self.snapshots.refresh(self.policy, self.iterations_done, self.rounds_done > before)
        if self.share_done() >= 1.0:
            self.trainer.should_stop = True

    def share_done(self) -> float:
        """How much of the run is over, in [0, 1]: by iterations, or by the tokens of its budget."""
        budget = self.settings.token_budget
        by_iterations = self.iterations_done / max(1, self.settings.iterations)
        return max(by_iterations, min(1.0, self.counts["tokens"] / budget) if budget else 0.0)

    def _rounds_over(self) -> int:
        rounds, iterations = self.settings.rounds, max(1, self.settings.iterations)
        by_iterations = self.iterations_done * rounds // iterations
        return max(by_iterations, math.floor(self.share_done() * rounds))

    def _expected_iterations(self) -> int:
        """The run's iterations, estimated from what the first ones took of a token budget."""
        if not self.settings.token_budget or not self.iterations_done:
            return self.settings.iterations
        return max(self.iterations_done + 1, round(self.iterations_done / self.share_done()))

    def rollout(self, prompts: Prompts) -> Rollout:
        """Sample and judge the next iteration."""
        separate = self.needs.opponent_responses and self.needs.opponent_is_snapshot
        return collect(
            self.snapshots[MAGNET] if self.needs.samples_from_magnet else self.policy,
            self.snapshots[OPPONENT] if separate else None,
            self.judge,
            self.reward if self.needs.rewards else None,
            self.needs,
            prompts,
            self.sampling,
            self.iterations_done,
            self._expected_iterations(),
            self.state,
            self.clock,
        )

    def learn(self, rollout: Rollout) -> None:
        """Targets at θ_k, then m inner steps."""
        world = self.trainer.world_size
        parts, first, scores = self.scorer.at_start(rollout, world, self.iterations_done)
        with self.clock.phase("scoring"), torch.no_grad():
            targets = self.objective.targets(rollout, scores)
        for inner_step in range(self.needs.inner_steps):
            with self.clock.phase("update"):
                for part in parts:
                    at_theta = first if inner_step == 0 else None
                    if at_theta is None:
                        at_theta = self.scorer.at_theta(part, scores.total_prompts)
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
                for part in parts:
                    self.meters.add("kl_step", *self.scorer.step_kl(part))

    def _require_finite(
        self, value: Tensor | float, inner_step: int, texts: tuple[str, ...]
    ) -> None:
        if not torch.isfinite(torch.as_tensor(value)):
            raise NonFiniteLossError(self.iterations_done, inner_step, list(texts))

    def _count(self, rollout: Rollout) -> None:
        self.counts["samples"] += rollout.samples
        self.counts["judge_calls"] += rollout.judge_calls
        self.counts["tokens"] += rollout.tokens

    def _log(self, rollout: Rollout) -> None:
        """Close the iteration's meters into `logged` and the logger, by iteration."""
        lengths = rollout.responses.lengths.float()
        self.meters.add("response_length", lengths.mean(), lengths.numel())
        self.meters.add("truncated", (~rollout.responses.ended).float().mean(), lengths.numel())
        if rollout.opponents is not None:
            won = rollout.wins[rollout.compared]
            self.meters.add("win_rate_opponent", won.mean().float(), won.numel())
        self.logged = self.meters.close()
        self.logged["lr"] = current_optimizer(self).param_groups[0]["lr"]
        self.last_rollout = rollout
        scalars = {f"train/{name}": value for name, value in self.logged.items()}
        if self.logger is not None:
            self.logger.log_metrics(scalars, step=self.iterations_done)
