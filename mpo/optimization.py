"""One AdamW with named parameter groups, and its schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from mpo.policy import Policy
from mpo.schedules import learning_rate_factor


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW and its schedule (paper, Table 7: AdamW, cosine with warm-up, gradient norm 1)."""

    lr: float
    """Peak learning rate of the policy."""
    critic_lr: float | None = None
    """Peak learning rate of a critic; None: the policy's."""
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    schedule: str = "cosine"
    """cosine | constant."""
    warmup_steps: int = 0
    """Optimizer steps of linear warm-up."""
    clip_norm: float = 1.0
    """Largest gradient norm."""


def build_optimizer(
    settings: OptimizerSettings, policy: Policy, critic: Any
) -> torch.optim.Optimizer:
    """Fused AdamW over the policy's moving weights and, in a group of its own, a critic's."""
    groups: list[dict[str, Any]] = [
        {"name": "policy", "params": [p for _, p in policy.moving_parameters()]}
    ]
    if isinstance(critic, nn.Module):
        mine = {id(parameter) for parameter in groups[0]["params"]}
        own = [p for p in critic.parameters() if p.requires_grad and id(p) not in mine]
        groups.append({"name": "critic", "params": own, "lr": settings.critic_lr or settings.lr})
    return torch.optim.AdamW(
        groups,
        lr=settings.lr,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def build_schedule(
    settings: OptimizerSettings,
    optimizer: torch.optim.Optimizer,
    total_steps: int,
    share_done: Callable[[], float] | None = None,
) -> LambdaLR:
    """The learning rate's factor by optimizer step, the same for every group.

    `share_done` says how much of the run is over where its number of steps is not known ahead.
    """

    def factor(step: int) -> float:
        if share_done is not None and step >= settings.warmup_steps:
            step = max(settings.warmup_steps, round(share_done() * total_steps))
        return learning_rate_factor(step, total_steps, settings.warmup_steps, settings.schedule)

    return LambdaLR(optimizer, factor)


def current_optimizer(module: L.LightningModule) -> LightningOptimizer:
    """The module's one optimizer, once the trainer has set it up."""
    optimizer = module.optimizers()
    assert isinstance(optimizer, LightningOptimizer)
    return optimizer


def current_schedule(module: L.LightningModule) -> LambdaLR:
    """The module's one learning-rate schedule, once the trainer has set it up."""
    schedule = module.lr_schedulers()
    assert isinstance(schedule, LambdaLR)
    return schedule
