"""Adds a plan's figures, and each run's settings with its final metrics, to TensorBoard."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path

from matplotlib import image
from torch.utils.tensorboard import SummaryWriter

from benchmarks.figures import figure_paths
from benchmarks.plan_results import RunResult, read_plan

FOLDER = "tensorboard"


def write_figures_to_tensorboard(folder: Path) -> Path:
    """Write the figures and a row of hyper-parameters a run to folder/tensorboard.

    What an earlier call wrote there is replaced. Returns the folder written to. Raises PlanError
    when the folder holds no plan.
    """
    results = read_plan(folder)
    place = folder / FOLDER
    if place.exists():
        shutil.rmtree(place)
    with SummaryWriter(str(place)) as writer:
        for file in figure_paths(folder):
            pixels = image.imread(file)[..., :3]
            writer.add_image(f"figures/{file.stem}", pixels, dataformats="HWC")
        for run in results.done():
            writer.add_hparams(settings(run), final_metrics(run), run_name=run.name)
    return place


def settings(run: RunResult) -> dict[str, str | int | float | bool]:
    """The run's config with dotted keys; lists and nulls as words."""
    return {
        key: value if isinstance(value, str | int | float) else str(value)
        for key, value in _flat(run.config).items()
    }


def final_metrics(run: RunResult) -> dict[str, float]:
    """The run's metrics that are single finite numbers, under `final/`."""
    return {
        f"final/{name}": float(value)
        for name, value in run.metrics.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def _flat(section: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in section.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
