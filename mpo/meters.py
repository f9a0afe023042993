"""An iteration's metrics as torchmetrics: right under micro-batches and over ranks."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import MeanMetric

from mpo.records import Metrics


class Meters:
    """Weighted means by name, from one `close` to the next."""

    def __init__(self) -> None:
        self._meters: dict[str, MeanMetric] = {}

    def add(self, name: str, mean: Tensor | float, weight: float = 1.0) -> None:
        """Add a contribution: its mean over what it saw, and the weight of what it saw."""
        value = torch.as_tensor(mean)
        if name not in self._meters:
            self._meters[name] = MeanMetric(nan_strategy="error").to(value.device)
            self._meters[name].set_dtype(torch.float64)
        self._meters[name].update(value, weight)

    def add_all(self, metrics: Metrics) -> None:
        """Add an objective's metrics."""
        for name, (mean, weight) in metrics.items():
            self.add(name, mean, weight)

    def close(self) -> dict[str, float]:
        """The means over everything added on every rank since the last call."""
        means = {}
        for name, meter in self._meters.items():
            if meter.update_called:
                means[name] = float(meter.compute())
                meter.reset()
        return means
