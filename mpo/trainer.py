"""One Lightning trainer for self-play and for the stages before it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger

from mpo.strategy import build_strategy


def fit_once(
    module: L.LightningModule,
    data: L.LightningDataModule,
    folder: Path,
    *,
    strategy: str = "single",
    zero_stage: int = 2,
    clip_norm: float = 1.0,
    device: str = "cpu",
    callbacks: Sequence[L.Callback] = (),
    purge_step: int | None = None,
) -> None:
    """Train over the data once, with TensorBoard in folder/tensorboard.

    `strategy` and `zero_stage` as in build_strategy; `device` is cpu or cuda; `purge_step` is where
    a resumed run's events go on. Raises ValueError for an unknown strategy.
    """
    with warnings.catch_warnings():
        # The engine chooses the modules' mode itself, and reads batches in the main process.
        warnings.filterwarnings("ignore", message=".*module.s. in eval mode.*")
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        trainer = L.Trainer(
            max_epochs=1,
            accelerator="cpu" if device == "cpu" else "cuda",
            strategy=build_strategy(strategy, zero_stage, clip_norm, device),
            logger=TensorBoardLogger(folder, name="tensorboard", version="", purge_step=purge_step),
            log_every_n_steps=1,
            callbacks=list(callbacks),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        trainer.fit(module, data)
