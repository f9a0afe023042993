"""What the paper claims of plain mirror descent: its last iterate and its average."""

from __future__ import annotations

import torch

from benchmarks.theory.experiments import Config
from benchmarks.theory.theorems.claims import Claim, Curve, curves
from benchmarks.theory.theorems.games import Batch, divergence, gaps, path
from mpo.games.dynamics.mirror import MWU

LAST = Claim(
    "md_last",
    "Section 3.1, MD's last iterate",
    "KL(π* ‖ π_k) < KL(π* ‖ π_{k+1}) where π* plays all actions: away from it at each step",
    "step",
    strict=True,
)
AVERAGE = Claim(
    "md_average",
    "Section 3.1, MD's average iterate",
    "gap of the average of π_0 … π_{k−1} ≤ 2 max log(1/π_0) / (ηk) + η/4",
    "step",
)


def claims(batch: Batch, config: Config) -> list[Curve]:
    """Both sides of each claim on each game of a batch; the first on those with a full support."""
    eta, steps = config["mirror_eta"], config["mirror_steps"]
    logs = path(MWU(eta=eta), batch, steps)
    count = torch.arange(1, steps + 1, dtype=torch.float64)[:, None]
    average = logs[:-1].exp().cumsum(0) / count[..., None]
    farthest = -batch.log_policy.amin(1)
    bound = 2 * farthest / (eta * count) + eta / 4
    mixed = batch.mixed()
    away = divergence(mixed.nash.log(), path(MWU(eta=eta), mixed, steps)) if mixed.names else None
    left, right = (away[:-1], away[1:]) if away is not None else (count[:, :0], count[:, :0])
    return [
        *curves(LAST, mixed, left, right),
        *curves(AVERAGE, batch, gaps(batch.preferences, average.log()), bound),
    ]
