"""Watches a run: the curve, rounds, checkpoints, TensorBoard and progress."""

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
        self.rounds_seen = 0

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
        self.rounds_seen = module.rounds_done

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Prompts,
        batch_idx: int,
    ) -> None:
        """After an iteration: evaluate, record, end the round, save, report."""
        module = _engine(pl_module)
        done, over = module.iterations_done, module.share_done() >= 1.0
        with module.clock.phase("evaluation"):
            self.evaluation.after_iteration(module)
            if done % self.eval_every == 0 or over:
                self._add(module, self.evaluation.row(module))
            # Before the checkpoint, which must hold the round as measured.
            self._end_round(module)
        if done % self.checkpoint_every == 0 and not over:
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
        # A budget of tokens ends the run before its iterations do: then the total is an estimate.
        total = max(done, round(done / module.share_done()))
        self.report({"iteration": done, "iterations": total, **shown})

    def _end_round(self, module: AlignmentModule) -> None:
        """Keep the policy of a round that has just ended, and measure it."""
        if module.settings.rounds > 1 and module.rounds_done > self.rounds_seen:
            self.rounds_seen = module.rounds_done
            file = self.folder / f"policy_round{self.rounds_seen}.safetensors"
            checkpoint.save_policy(module.policy, file)
            self.evaluation.after_round(module, self.rounds_seen, self.folder)

    def _add(self, module: AlignmentModule, measured: dict[str, float]) -> None:
        seconds = sum(s for name, s in module.clock.seconds.items() if name != "evaluation")
        row = {
            "iteration": module.iterations_done,
            **measured,
            **{name: module.logged.get(name, math.nan) for name in TRAINING_COLUMNS},
            **module.counts,
            "seconds": round(seconds, 3),
        }
        # What only some methods have, such as a value loss, comes after the columns of all.
        row |= {name: value for name, value in module.logged.items() if name not in row}
        self.rows.append(row)
        columns = dict.fromkeys(name for each in self.rows for name in each)
        whole = [{name: each.get(name, math.nan) for name in columns} for each in self.rows]
        write_csv(self.folder / "curves.csv", whole)
        if module.logger is not None:
            scalars = {f"evaluation/{name}": value for name, value in measured.items()}
            module.logger.log_metrics(scalars, step=module.iterations_done)


def _engine(module: L.LightningModule) -> AlignmentModule:
    if not isinstance(module, AlignmentModule):
        raise TypeError(f"got {type(module).__name__}, allowed is AlignmentModule")
    return module
