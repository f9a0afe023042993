"""Checkpoints that a run resumes from bit for bit, written aside and renamed.

A checkpoint is a folder: weights.safetensors (the policy's and the snapshots' moving weights) and
state.pt (optimizer, schedule, counters, random states, evaluation state).
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from mpo.module import AlignmentModule
from mpo.optimization import current_optimizer, current_schedule
from mpo.policy import Policy

SCHEMA = 2
ASIDE = ".aside-"
"""How the name of a checkpoint that is still being written begins."""


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used, with the field that differs."""


def save(module: AlignmentModule, folder: Path, extra: dict[str, Any]) -> Path:
    """Write the module's state after `iterations_done` iterations; earlier ones are removed.

    `extra` is what evaluation needs to go on: plain numbers, strings, lists and tensors.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / f"iteration-{module.iterations_done:06d}"
    for torn in folder.glob(f"{ASIDE}*"):
        shutil.rmtree(torn, ignore_errors=True)
    aside = folder / f"{ASIDE}{done.name}"
    aside.mkdir()
    save_file(_weights(module), aside / "weights.safetensors")
    python_state = random.getstate()
    numpy_state = np.random.get_state(legacy=False)
    state = {
        "schema": SCHEMA,
        "iterations_done": module.iterations_done,
        "rounds_done": module.rounds_done,
        "objective": dict(module.state),
        "counts": dict(module.counts),
        "seconds": dict(module.clock.seconds),
        "moves": dict(module.snapshots.moves),
        "optimizer": _torch_optimizer(module).state_dict(),
        "schedule": current_schedule(module).state_dict(),
        "torch_rng": torch.get_rng_state(),
        "python_rng": [python_state[0], list(python_state[1]), python_state[2]],
        "numpy_rng": {**numpy_state, "state": _listed(numpy_state["state"])},
        "extra": extra,
    }
    torch.save(state, aside / "state.pt")
    for name in ("weights.safetensors", "state.pt"):
        _flush(aside / name)
    shutil.rmtree(done, ignore_errors=True)
    aside.rename(done)
    for old in saved(folder):
        if old != done:
            shutil.rmtree(old, ignore_errors=True)
    return done


def saved(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(folder.glob("iteration-*")) if folder.is_dir() else []


def read(checkpoint: Path) -> dict[str, Any]:
    """The state of a checkpoint, without the weights.

    Raises CheckpointError when it has another schema.
    """
    state = torch.load(checkpoint / "state.pt", weights_only=True)
    if state.get("schema") != SCHEMA:
        raise CheckpointError(
            f"checkpoint {checkpoint}: schema: got {state.get('schema')!r}, allowed is {SCHEMA}"
        )
    return dict(state)


def restore(module: AlignmentModule, checkpoint: Path, state: dict[str, Any]) -> None:
    """Put weights, optimizer, schedule, counters and random states back.

    Called once the trainer has set the module up. Raises CheckpointError when the weights are
    another model's.
    """
    _take(_weights(module), checkpoint / "weights.safetensors")
    module.iterations_done = state["iterations_done"]
    module.rounds_done = state["rounds_done"]
    module.state = dict(state["objective"])
    module.counts = dict(state["counts"])
    module.clock.seconds = dict(state["seconds"])
    module.snapshots.moves = dict(state["moves"])
    _torch_optimizer(module).load_state_dict(state["optimizer"])
    _refresh_master_weights(module)
    current_schedule(module).load_state_dict(state["schedule"])
    torch.set_rng_state(state["torch_rng"])
    version, words, gauss = state["python_rng"]
    random.setstate((version, tuple(words), gauss))
    kept = state["numpy_rng"]
    words = np.asarray(kept["state"]["key"], dtype=np.uint32)
    np.random.set_state({**kept, "state": {**kept["state"], "key": words}})


def _listed(state: dict[str, Any]) -> dict[str, Any]:
    return {**state, "key": state["key"].tolist()}


def save_policy(policy: Policy, file: Path) -> None:
    """Write the moving weights to a safetensors file, aside and renamed."""
    aside = file.with_name(ASIDE + file.name)
    save_file({name: p.data for name, p in policy.moving_parameters()}, aside)
    _flush(aside)
    os.replace(aside, file)


def load_policy(policy: Policy, file: Path) -> None:
    """Take over the moving weights of a file that `save_policy` wrote.

    Raises CheckpointError when they are another model's, or of other blocks.
    """
    _take({name: p.data for name, p in policy.moving_parameters()}, file)


def _flush(file: Path) -> None:
    with open(file, "rb") as written:
        os.fsync(written.fileno())


def _take(mine: dict[str, torch.Tensor], file: Path) -> None:
    weights = load_file(file)
    if {n: w.shape for n, w in weights.items()} != {n: w.shape for n, w in mine.items()}:
        differing = sorted(set(weights) ^ set(mine)) or "the shapes"
        raise CheckpointError(f"{file}: weights of another model: {differing}")
    with torch.no_grad():
        for name, weight in mine.items():
            weight.copy_(weights[name])


def _weights(module: AlignmentModule) -> dict[str, torch.Tensor]:
    policy = {f"policy/{name}": p.data for name, p in module.policy.moving_parameters()}
    frozen = {f"snapshot/{name}": p.data for name, p in module.snapshots.weights().items()}
    critic = {}
    if isinstance(module.critic, torch.nn.Module):
        critic = {
            f"critic/{name}": p.data
            for name, p in module.critic.named_parameters()
            if p.requires_grad
        }
    return {**policy, **frozen, **critic}


def _torch_optimizer(module: AlignmentModule) -> torch.optim.Optimizer:
    """The AdamW itself: under DeepSpeed it stands inside the ZeRO optimizer."""
    outer = current_optimizer(module).optimizer
    inner = getattr(outer, "optimizer", outer)
    assert isinstance(inner, torch.optim.Optimizer)
    return inner


def _refresh_master_weights(module: AlignmentModule) -> None:
    """Tell a ZeRO optimizer, which keeps a copy of the weights of its own, that they changed."""
    refresh = getattr(current_optimizer(module).optimizer, "refresh_fp32_params", None)
    if refresh is not None:
        refresh()
