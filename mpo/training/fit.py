"""Trains a stage: encode the records, walk through them, keep the curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mpo.trainer import fit_once
from mpo.training.module import Encoded, StageInputError, StageModule, StageSettings, Trainable

Row = dict[str, float]
Report = Callable[[Row, int], None]
"""Called after each step with its row of the curve and the total of steps."""


@dataclass(frozen=True)
class Machine:
    """Where a stage runs."""

    strategy: str = "single"
    """single | deepspeed."""
    zero_stage: int = 2
    device: str = "cpu"
    """cpu | cuda."""


class Fitted(NamedTuple):
    """What training left behind, beside the trainable's weights."""

    curve: list[Row]
    """A row a step, from 0: step, the loss before the step, lr, grad_norm, …, and where it was
    measured held_out_loss, …"""
    counts: dict[str, int]
    seconds: dict[str, float]


class Steps(Dataset[Tensor]):
    """Item k is the places of step k's records: a permutation an epoch, from the seed alone."""

    def __init__(self, records: int, settings: StageSettings):
        self.records, self.settings = records, settings

    def __len__(self) -> int:
        return self.settings.total_steps(self.records)

    def __getitem__(self, step: int) -> Tensor:
        size = self.settings.batch_size
        epoch, place = divmod(step, -(-self.records // size))
        order = np.random.default_rng([self.settings.seed, epoch]).permutation(self.records)
        return torch.from_numpy(order[place * size : (place + 1) * size])


class StepDataModule(L.LightningDataModule):
    """All steps of a stage, in order."""

    def __init__(self, steps: Steps):
        super().__init__()
        self.steps = steps

    def train_dataloader(self) -> DataLoader[Tensor]:
        """One batch a step; items are whole batches already."""
        return DataLoader(self.steps, batch_size=None, shuffle=False)


def encode_all(
    trainable: Trainable[Any], records: Sequence[Any], width: int, name: str
) -> tuple[Encoded, int]:
    """The records' units without those that have a sequence of more than `width` tokens.

    Also returns how many were left out. Raises StageInputError when none is left.
    """
    units = [trainable.encode(record) for record in records]
    fits = [all(len(tokens) <= width for tokens in unit.sequences) for unit in units]
    if not any(fits):
        raise StageInputError(
            f"{name}: got {len(units)} records, of which none fits into train.width = {width} "
            "tokens; allowed is at least one"
        )
    kept = [(r, u) for r, u, fit in zip(records, units, fits, strict=True) if fit]
    return Encoded(tuple(r for r, _ in kept), tuple(u for _, u in kept)), fits.count(False)


def fit_stage(
    trainable: Trainable[Any],
    records: Sequence[Any],
    held_out: Sequence[Any],
    settings: StageSettings,
    folder: Path,
    report: Report,
    machine: Machine = Machine(),
) -> Fitted:
    """Train on the records; TensorBoard in folder/tensorboard.

    The held-out loss is measured before the first step, every `settings.eval_every` steps and
    after the last; no held-out records, no such loss. Everything follows from the arguments.

    Raises StageLossError, and StageInputError when no record fits into a row or the model cannot
    take packed rows.
    """
    training, too_long = encode_all(trainable, records, settings.width, "training records")
    outside, held_out_too_long = Encoded((), ()), 0
    if held_out:
        outside, held_out_too_long = encode_all(
            trainable, held_out, settings.width, "held-out records"
        )
    module = StageModule(trainable, training, settings)
    curve = Curve(outside, report)
    fit_once(
        module,
        StepDataModule(Steps(len(training.units), settings)),
        folder,
        strategy=machine.strategy,
        zero_stage=machine.zero_stage,
        clip_norm=settings.optimizer.clip_norm,
        device=machine.device,
        callbacks=[curve],
    )
    counts = {
        "steps": module.steps_done,
        "training_records": len(training.units),
        "held_out_records": len(outside.units),
        "too_long": too_long,
        "held_out_too_long": held_out_too_long,
        **module.counts,
    }
    if module.logger is not None:
        module.logger.finalize("success")
    return Fitted(curve.rows, counts, dict(module.clock.seconds))


class Curve(L.Callback):
    """A row a step, with the held-out loss where it is due."""

    def __init__(self, held_out: Encoded, report: Report):
        self.held_out, self.report = held_out, report
        self.rows: list[Row] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure the initial model."""
        self._add(pl_module, due=True)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Tensor,
        batch_idx: int,
    ) -> None:
        """After a step: record, measure, report."""
        assert isinstance(pl_module, StageModule)
        done, total = pl_module.steps_done, _total(pl_module)
        self._add(pl_module, done % pl_module.settings.eval_every == 0 or done == total)

    def _add(self, module: L.LightningModule, due: bool) -> None:
        assert isinstance(module, StageModule)
        row: Row = {"step": module.steps_done, **module.logged}
        if due and self.held_out.units:
            measured = module.evaluate(self.held_out)
            row |= {f"held_out_{name}": value for name, value in measured.items()}
            if module.logger is not None:
                scalars = {f"held_out/{name}": value for name, value in measured.items()}
                module.logger.log_metrics(scalars, step=module.steps_done)
        self.rows.append(row)
        self.report(row, _total(module))


def _total(module: StageModule) -> int:
    return module.settings.total_steps(len(module.training_set.units))
