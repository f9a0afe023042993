"""The stages' engine: one training step is one optimizer step on a batch of records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from mpo.clock import PhaseClock
from mpo.layout import Layout
from mpo.meters import Meters
from mpo.optimization import (
    OptimizerSettings,
    build_optimizer,
    build_schedule,
    current_optimizer,
)
from mpo.policy import Policy
from mpo.records import Metrics
from mpo.strategy import clip_and_step
from mpo.training.packing import micro_batches, pack, packed_layout
from mpo.training.records import Unit

RecordT = TypeVar("RecordT", contravariant=True)
LOSS = "loss"
KEPT_NUMBERS = 2**27
"""Numbers of the frozen trunk's states on held-out records that are kept: half a gibibyte."""


class Trainable(Protocol[RecordT]):
    """What a stage trains: an nn.Module on a policy's backbone that satisfies this.

    The policy's moving parameters and every other parameter that requires a gradient train.
    """

    policy: Policy

    def encode(self, record: RecordT) -> Unit:
        """Token sequences of a record, of any length: the frame leaves out what is too long."""
        ...

    def loss(self, hidden: Tensor, units: Sequence[Unit]) -> tuple[Tensor, Metrics]:
        """The *sum* of the units' loss terms (Σ unit.terms of them), a scalar, and metrics.

        hidden is (N, D): the final hidden states at the wanted positions, unit by unit, sequence by
        sequence, in the order of `wanted`. Never divide: the frame divides by the terms of the
        whole step.
        """
        ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """As nn.Module's."""
        ...


class StageInputError(ValueError):
    """Settings or records that do not fit the model; the message names the field."""


class StageLossError(RuntimeError):
    """A loss or a gradient that is NaN or infinite, with where it happened."""

    def __init__(self, step: int, batch: list[str]):
        self.step, self.batch = step, batch
        super().__init__(
            f"loss or gradient: not finite at step {step}, on records {batch}; lower train.lr, or "
            "raise train.warmup_steps"
        )


@dataclass(frozen=True)
class StageSettings:
    """How a stage trains, whatever it trains."""

    epochs: int
    """Passes over the records."""
    batch_size: int
    """Records an optimizer step; the last step of an epoch has what is left."""
    width: int
    """Longest sequence, and the length of a packed row, in tokens."""
    optimizer: OptimizerSettings
    packing: bool = True
    """Several sequences a row, none of which sees another. Changes time and memory only."""
    micro_rows: int | None = None
    """Rows a micro-batch; None: the whole step at once. Changes time and memory only."""
    eval_every: int = 50
    """Optimizer steps between two held-out losses."""
    seed: int = 0
    """Of the order of the records."""

    def total_steps(self, records: int) -> int:
        """Optimizer steps of the whole stage."""
        return self.epochs * -(-records // self.batch_size)


class Encoded(NamedTuple):
    """Records and their token sequences, one for one."""

    records: tuple[Any, ...]
    units: tuple[Unit, ...]

    def chosen(self, places: Sequence[int]) -> Encoded:
        """The records at the places, in their order."""
        return Encoded(
            tuple(self.records[place] for place in places),
            tuple(self.units[place] for place in places),
        )

    @property
    def terms(self) -> int:
        """Terms of the loss over all units."""
        return sum(unit.terms for unit in self.units)


class StageModule(L.LightningModule):
    """Trains a Trainable on records.

    The order of events in a step: pack the step's units, a backward pass for each micro-batch (its
    losses over the terms of the whole step), clip, step the optimizer and its schedule. `logged`
    holds what happened.
    """

    def __init__(
        self, trainable: Trainable[Any], training: Encoded, settings: StageSettings
    ) -> None:
        super().__init__()
        if not isinstance(trainable, nn.Module):
            raise TypeError(f"trainable: got {type(trainable).__name__}, allowed is an nn.Module")
        self.automatic_optimization = False
        self.trainable: Any = trainable
        self.training_set = training
        self.settings = settings
        self.packed = settings.packing
        if settings.packing and not trainable.policy.shared_prefix:
            raise StageInputError(
                "train.packing: got true, allowed is false for a model whose attention takes no "
                "mask of pairs (flash attention, sliding windows)"
            )
        self.clock = PhaseClock()
        self.meters = Meters()
        self.steps_done = 0
        self.counts = {"records": 0, "tokens": 0, "rows": 0, "row_tokens": 0}
        self.logged: dict[str, float] = {}
        self._kept: tuple[Encoded, list[tuple[Encoded, Layout, Tensor | None]]] | None = None

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """One AdamW: the policy's moving weights, and in a group of its own all that is added."""
        policy = self.trainable.policy
        mine = {id(parameter) for _, parameter in policy.moving_parameters()}
        added = any(p.requires_grad and id(p) not in mine for p in self.trainable.parameters())
        optimizer = build_optimizer(
            self.settings.optimizer, policy, self.trainable if added else None
        )
        total = self.settings.total_steps(len(self.training_set.units))
        schedule = build_schedule(self.settings.optimizer, optimizer, total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        """One optimizer step on the records at the places `batch` (n,)."""
        step = self.training_set.chosen(batch.tolist())
        learning_rate = current_optimizer(self).param_groups[0]["lr"]
        with self.clock.phase("update"):
            for part in self._parts(step):
                layout = self._layout(part)
                loss = self._loss(part, layout, None, self.meters)
                self.manual_backward(loss / step.terms)
                self._count(part, layout)
            norm = clip_and_step(self, self.settings.optimizer.clip_norm)
            self._require_finite(norm, step)
        self.steps_done += 1
        self.logged = {**self.meters.close(), "grad_norm": norm, "lr": learning_rate}
        if self.logger is not None:
            scalars = {f"train/{name}": value for name, value in self.logged.items()}
            self.logger.log_metrics(scalars, step=self.steps_done)

    @torch.no_grad()
    def evaluate(self, held_out: Encoded) -> dict[str, float]:
        """Mean loss and metrics of records, without a gradient; what trains stays as it is.

        What the frozen trunk says of the records is kept for the next call, up to KEPT_NUMBERS.
        """
        meters = Meters()
        with self.clock.phase("evaluation"):
            if self._kept is None or self._kept[0] is not held_out:
                self._kept = held_out, self._laid_out(held_out)
            for part, layout, trunk in self._kept[1]:
                self._loss(part, layout, trunk, meters)
            return meters.close()

    def _laid_out(self, records: Encoded) -> list[tuple[Encoded, Layout, Tensor | None]]:
        """Micro-batches of records, with the trunk's states while they are few."""
        size, places = self.settings.batch_size, range(len(records.units))
        found, numbers = [], 0
        for start in range(0, len(places), size):
            for part in self._parts(records.chosen(places[start : start + size])):
                layout = self._layout(part)
                trunk = None
                if numbers < KEPT_NUMBERS:
                    trunk = self.trainable.policy.trunk_states(layout)
                    numbers += 0 if trunk is None else trunk.numel()
                found.append((part, layout, trunk))
        return found

    def _parts(self, step: Encoded) -> list[Encoded]:
        settings = self.settings
        parts = micro_batches(step.units, settings.width, settings.micro_rows, settings.packing)
        return [step.chosen(part) for part in parts]

    def _layout(self, part: Encoded) -> Layout:
        rows = pack(part.units, self.settings.width, self.settings.packing)
        return packed_layout(part.units, rows, self.trainable.policy.device)

    def _loss(self, part: Encoded, layout: Layout, trunk: Tensor | None, meters: Meters) -> Tensor:
        """The loss terms of a micro-batch, summed and metered; a frozen trunk has no graph."""
        hidden = self.trainable.policy.hidden(layout, trunk)
        loss, metrics = self.trainable.loss(hidden, part.units)
        self._require_finite(loss, part)
        meters.add(LOSS, loss.detach() / part.terms, part.terms)
        # A metric of a part in which nothing counts, such as the accuracy on ties, has no mean.
        meters.add_all({name: each for name, each in metrics.items() if each.weight})
        return loss

    def _count(self, part: Encoded, layout: Layout) -> None:
        self.counts["records"] += len(part.units)
        self.counts["rows"] += layout.ids.shape[0]
        self.counts["row_tokens"] += layout.ids.numel()
        self.counts["tokens"] += sum(len(ids) for unit in part.units for ids in unit.sequences)

    def _require_finite(self, value: Tensor | float, part: Encoded) -> None:
        if not torch.isfinite(torch.as_tensor(value)):
            raise StageLossError(self.steps_done, [str(record) for record in part.records])
