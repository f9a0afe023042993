"""What a trajectory needs to be true of its arguments; all mistakes are named together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

SUM_TOLERANCE = 1e-9


def trajectory_problems(
    preferences: Tensor,
    log_policy: Tensor,
    calls: int,
    recorded: Sequence[int],
    noise: float,
    seed: int | Sequence[int],
    tolerances: Sequence[float],
    row_values: dict[str, Tensor],
) -> list[str]:
    """The mistakes in the arguments of ``run``, each "field: got …, allowed: …".

    ``row_values`` are the dynamic's hyper-parameters that are tensors.
    """
    found = _policy_problems(log_policy)
    if not found:
        rows, actions = log_policy.shape
        shapes = ((rows, actions, actions), (1, actions, actions))
        if tuple(preferences.shape) not in shapes or preferences.dtype != torch.float64:
            found.append(
                f"preferences: got {preferences.dtype} {tuple(preferences.shape)}, allowed: "
                f"float64 {shapes[0]} or {shapes[1]}, as log_policy has {(rows, actions)}"
            )
        elif not bool(((preferences + preferences.mT - 1).abs() <= SUM_TOLERANCE).all()):
            found.append("preferences: got a matrix with P + Pᵀ not 1, allowed: P + Pᵀ = 1")
        found += [
            f"{name}: got {len(value)} rows, allowed: {rows}, as log_policy has"
            for name, value in row_values.items()
            if len(value) != rows
        ]
        if not isinstance(seed, int) and len(seed) != rows:
            found.append(f"seed: got {len(seed)} seeds, allowed: one, or {rows}, a row each")
    return found + measuring_problems(calls, recorded, noise, seed, tolerances)


def measuring_problems(
    calls: int,
    recorded: Sequence[int],
    noise: float,
    seed: int | Sequence[int],
    tolerances: Sequence[float],
) -> list[str]:
    """The same for what a run asks and measures, whatever the kind of game."""
    found = []
    if calls < 0:
        found.append(f"calls: got {calls}, allowed: 0 or more")
    rising = all(a < b for a, b in pairwise(recorded))
    if not recorded or not rising or recorded[0] < 0 or recorded[-1] > max(calls, 0):
        found.append(f"record: got {list(recorded)}, allowed: rising numbers from 0 to {calls}")
    if not 0 <= noise < math.inf:
        found.append(f"noise: got {noise}, allowed: a finite number of 0 or more")
    if any(one < 0 for one in ([seed] if isinstance(seed, int) else seed)):
        found.append(f"seed: got {seed}, allowed: 0 or more")
    if any(not 0 < one < math.inf for one in tolerances):
        found.append(f"tolerances: got {list(tolerances)}, allowed: finite numbers above 0")
    return found


def _policy_problems(log_policy: Tensor) -> list[str]:
    allowed = "float64 (N, R), finite, each row the logarithms of probabilities that sum to 1"
    shape = tuple(log_policy.shape)
    if log_policy.ndim != 2 or log_policy.dtype != torch.float64 or 0 in shape:
        return [f"log_policy: got {log_policy.dtype} {shape}, allowed: {allowed}"]
    if shape[1] < 2:
        return [f"log_policy: got {shape[1]} action, allowed: 2 actions or more"]
    finite = log_policy.isfinite().all(1)
    normalised = (log_policy.exp().sum(1) - 1).abs() <= SUM_TOLERANCE
    for row in (~(finite & normalised)).nonzero()[:1].flatten().tolist():
        return [f"log_policy: got {log_policy[row].tolist()} in row {row}, allowed: {allowed}"]
    return []
