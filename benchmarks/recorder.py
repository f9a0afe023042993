"""Watches a run: the curve, checkpoints, TensorBoard and progress."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L

from benchmarks.atomic import write_csv
from benchmarks.elapsed import Elapsed
from benchmarks.evaluate import Evaluation
from mpo import checkpoint
from mpo.module import AlignmentModule
from mpo.records import Prompts

TRAINING_COLUMNS = ("policy_loss", "win_rate_opponent", "token_entropy", "ratio", "grad_norm", "lr")
"""Means over an iteration's inner steps that the curve repeats from training."""

Report = Callable[[dict[str, Any]], None]


class Recorder(L.Callback):
    """Writes curves.csv every `eval_every` iterations and a checkpoint every `checkpoint_every`."""

    def __init__(
        self,
        evaluation: Evaluation,
        folder: Path,
        eval_every: int,
        checkpoint_every: int,
        resumed: tuple[Path, dict[str, Any]] | None,
        report: Report,
        elapsed: Elapsed,
    ):
        self.evaluation, self.folder, self.report = evaluation, folder, report
        self.elapsed = elapsed
        self.eval_every, self.checkpoint_every = eval_every, checkpoint_every
        self.resumed = resumed
        self.rows: list[dict[str, Any]] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Restore a checkpoint, or measure the initial policy."""
        module = _engine(pl_module)
        if self.resumed is not None:
            path, state = self.resumed
            checkpoint.restore(module, path, state)
            self.rows = state["extra"]["rows"]
            self.elapsed.go_on_from(state["extra"]["elapsed"])
            self.evaluation.resume(module, state["extra"]["evaluation"])
        else:
            with module.clock.phase("evaluation"):
                first = self.evaluation.start(module)
            self._add(module, first)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Prompts,
        batch_idx: int,
    ) -> None:
        """After an iteration: evaluate, record, save, report."""
        module = _engine(pl_module)
        done, total = module.iterations_done, module.settings.iterations
        with module.clock.phase("evaluation"):
            self.evaluation.after_iteration(module)
            if done % self.eval_every == 0 or done == total:
                self._add(module, self.evaluation.row(module))
        if done % self.checkpoint_every == 0 and done < total:
            extra = {
                "rows": self.rows,
                "elapsed": self.elapsed.seconds(),
                "evaluation": self.evaluation.state(),
            }
            checkpoint.save(module, self.folder / "checkpoints", extra)
        shown = {
            name: value
            for name, value in self.rows[-1].items()
            if name.startswith("gap") or name in ("kl_step", "win_rate_opponent")
        }
        self.report({"iteration": done, "iterations": total, **shown})

    def _add(self, module: AlignmentModule, measured: dict[str, float]) -> None:
        seconds = sum(s for name, s in module.clock.seconds.items() if name != "evaluation")
        row = {
            "iteration": module.iterations_done,
            **measured,
            **{name: module.logged.get(name, math.nan) for name in TRAINING_COLUMNS},
            **module.counts,
            "seconds": round(seconds, 3),
        }
        self.rows.append(row)
        write_csv(self.folder / "curves.csv", self.rows)
        if module.logger is not None:
            scalars = {f"evaluation/{name}": value for name, value in measured.items()}
            module.logger.log_metrics(scalars, step=module.iterations_done)


def _engine(module: L.LightningModule) -> AlignmentModule:
    if not isinstance(module, AlignmentModule):
        raise TypeError(f"got {type(module).__name__}, allowed is AlignmentModule")
    return module
