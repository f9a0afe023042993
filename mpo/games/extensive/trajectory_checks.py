"""What a run on an extensive-form game needs to be true of its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, cast

import torch
from torch import Tensor

from mpo.games.dynamics.trajectory_checks import measuring_problems
from mpo.games.extensive.protocol import TreeDynamic
from mpo.games.extensive.sequence_form import SequenceForm, normalised


def run_problems(
    dynamic: TreeDynamic[Any],
    form: SequenceForm,
    log_policy: Tensor,
    calls: int,
    recorded: Sequence[int],
    noise: float,
    seed: int | Sequence[int],
    tolerances: Sequence[float],
) -> list[str]:
    """The mistakes in the arguments of `run_tree`, each "field: got …, allowed: …"."""
    found = []
    wanted = f"float64 ({form.sequences}, N), log π(a | i) that sum to 1 in each information set"
    shape = tuple(log_policy.shape)
    if log_policy.ndim != 2 or shape[0] != form.sequences or log_policy.dtype != torch.float64:
        found.append(f"log_policy: got {log_policy.dtype} {shape}, allowed: {wanted}")
    elif not normalised(form, log_policy.exp()):
        found.append(f"log_policy: got sums that aren't 1, allowed: {wanted}")
    else:
        if not dynamic.plays_zero and not bool(log_policy.isfinite().all()):
            found.append("log_policy: got a probability of 0, allowed with this dynamic: above 0")
        values = [
            (field.name, getattr(dynamic, field.name)) for field in fields(cast("Any", dynamic))
        ]
        found += [
            f"{name}: got {len(value)} rows, allowed: {shape[1]}, as log_policy has runs"
            for name, value in values
            if isinstance(value, Tensor) and len(value) != shape[1]
        ]
        if not isinstance(seed, int) and len(seed) != shape[1]:
            found.append(f"seed: got {len(seed)} seeds, allowed: one, or {shape[1]}, one a run")
    return found + measuring_problems(calls, recorded, noise, seed, tolerances)
