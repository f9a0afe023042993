"""Adds a plan's figures, and each run's settings with its final metrics, to TensorBoard."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import image
from torch.utils.tensorboard import SummaryWriter

from benchmarks.figures import figure_paths
from benchmarks.plan_results import RunResult, read_plan

FOLDER = "tensorboard"
MISSING = "-"
"""The value of a setting that a run's method does not have."""

Setting = str | int | float | bool


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
        runs = results.done()
        metrics = aligned_metrics([final_metrics(run) for run in runs])
        for run, own, final in zip(runs, aligned_settings(runs), metrics, strict=True):
            writer.add_hparams(own, final, run_name=run.name)
    return place


def aligned_settings(runs: Sequence[RunResult]) -> list[dict[str, Setting]]:
    """Each run's config with the dotted keys of all runs, `-` where a run's method has none.

    TensorBoard takes the columns of its view, and their types, from one run: every run must have
    all keys, and a key that is text in one run is text in all.
    """
    flat = [settings(run) for run in runs]
    keys = sorted({key for own in flat for key in own})
    text = {key for key in keys if any(isinstance(own.get(key, MISSING), str) for own in flat)}
    return [
        {key: str(own.get(key, MISSING)) if key in text else own[key] for key in keys}
        for own in flat
    ]


def aligned_metrics(metrics: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Each run's metrics with the names of all runs, nan where a run has none."""
    names = sorted({name for own in metrics for name in own})
    return [{name: own.get(name, math.nan) for name in names} for own in metrics]


def settings(run: RunResult) -> dict[str, Setting]:
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
