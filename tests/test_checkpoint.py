"""A run that stops and goes on is the run that never stopped, to the bit."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mpo import checkpoint
from mpo.checkpoint import CheckpointError
from mpo.module import AlignmentModule
from mpo.objectives import MPO
from mpo.objectives.protocol import MAGNET
from mpo.snapshots import OPPONENT
from tests.engine import Steps, fit, same_bits, tiny_game, tiny_module, tiny_policy, weights_of
from tests.test_other_objectives import ActorCritic, TokenCritic

GAME = tiny_game()
OBJECTIVES = {
    "moving": MPO(responses=4, inner_steps=2, magnet_interval=2),
    "fixed": MPO(responses=4, inner_steps=2, magnet_interval=None),
    "snapshot": MPO(
        responses=4,
        inner_steps=2,
        opponent="snapshot",
        symmetric=False,
        magnet_interval=2,
        opponent_interval=5,
        eta_schedule="linear",
    ),
}


class Saves(L.Callback):
    """Saves after one iteration."""

    def __init__(self, folder: Path, after: int) -> None:
        self.folder, self.after = folder, after

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if pl_module.iterations_done == self.after:
            checkpoint.save(pl_module, self.folder, {"note": [1, "two", torch.ones(3)]})


class Restores(L.Callback):
    """Restores a checkpoint once the trainer has set the module up."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        checkpoint.restore(pl_module, self.path, checkpoint.read(self.path))


def build(name: str, train_blocks: int | None = None, **settings: Any) -> AlignmentModule:
    """Six iterations in float32, as real runs are."""
    policy = tiny_policy(GAME, dtype=torch.float32, train_blocks=train_blocks)
    settings = {"iterations": 6, "step_kl_every": 2, "warmup_steps": 3, **settings}
    return tiny_module(GAME, OBJECTIVES[name], policy=policy, **settings)


def optimizer_state(trainer: L.Trainer) -> list[torch.Tensor]:
    """Everything AdamW keeps, in order."""
    state = trainer.optimizers[0].state_dict()["state"]
    return [value for key in sorted(state) for value in state[key].values()]


def saved_after(
    folder: Path, after: int, name: str = "moving", **settings: Any
) -> tuple[Path, Steps]:
    """A run that ends after `after` iterations, with the checkpoint that it leaves."""
    seen = Steps()
    fit(build(name, **settings), GAME, stop=after, callbacks=[seen, Saves(folder, after)])
    return checkpoint.saved(folder)[-1], seen


@pytest.mark.parametrize("train_blocks", [None, 1])
@pytest.mark.parametrize("after", [1, 3, 5])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_resumed_run_is_the_uninterrupted_one(
    name: str, after: int, train_blocks: int | None, tmp_path: Path
) -> None:
    whole, seen = build(name, train_blocks), Steps()
    trainer = fit(whole, GAME, callbacks=[seen])
    path, first = saved_after(tmp_path, after, name, train_blocks=train_blocks)
    # Another process starts with other random states and other weights in memory.
    torch.manual_seed(99)
    resumed, second = build(name, train_blocks), Steps()
    for _, parameter in resumed.policy.moving_parameters():
        parameter.data.add_(1.0)
    again = fit(resumed, GAME, start=after, callbacks=[Restores(path), second])
    assert resumed.iterations_done == 6 and len(second.logged) == 6 - after
    assert first.logged + second.logged == seen.logged
    for left, right in zip(seen.weights, [*first.weights, *second.weights], strict=True):
        assert same_bits(left, right)
    assert same_bits(weights_of(whole.policy), weights_of(resumed.policy))
    for copy in whole.snapshots.intervals:
        held, kept = whole.snapshots[copy], resumed.snapshots[copy]
        assert same_bits(weights_of(held), weights_of(kept)), copy
    for left, right in zip(optimizer_state(trainer), optimizer_state(again), strict=True):
        assert torch.equal(left, right)
    assert whole.counts == resumed.counts
    assert whole.snapshots.moves == resumed.snapshots.moves


def test_every_random_state_is_restored(tmp_path: Path) -> None:
    path, _ = saved_after(tmp_path, 2)
    drawn = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        module = build("moving")
        fit(module, GAME, start=6, stop=7, callbacks=[Restores(path)])
        checkpoint.restore(module, path, checkpoint.read(path))
        drawn.append((torch.rand(3).tolist(), random.random(), np.random.rand()))
    assert drawn[0] == drawn[1]


def test_what_evaluation_needs_comes_back(tmp_path: Path) -> None:
    path, _ = saved_after(tmp_path, 2)
    state = checkpoint.read(path)
    note = state["extra"]["note"]
    assert note[:2] == [1, "two"] and torch.equal(note[2], torch.ones(3))
    assert state["iterations_done"] == 2
    assert path.name == "iteration-000002"


def test_only_the_newest_is_kept(tmp_path: Path) -> None:
    callbacks = [Saves(tmp_path, after) for after in (1, 2, 4)]
    fit(build("moving"), GAME, callbacks=callbacks)
    assert [path.name for path in tmp_path.iterdir()] == ["iteration-000004"]


def test_a_checkpoint_that_was_being_written_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = saved_after(tmp_path, 2)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    # Killed between the weights and the state.
    monkeypatch.setattr(checkpoint.torch, "save", killed)
    module = build("moving")
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(module, GAME, start=2, stop=4, callbacks=[Restores(path), Saves(tmp_path, 4)])
    assert len(list(tmp_path.iterdir())) == 2
    assert checkpoint.saved(tmp_path) == [path]
    monkeypatch.undo()
    fit(module := build("moving"), GAME, start=2, callbacks=[Restores(path)])
    assert module.iterations_done == 6


def test_no_folder_holds_no_checkpoints(tmp_path: Path) -> None:
    assert checkpoint.saved(tmp_path / "none") == []


def test_another_schema_is_refused(tmp_path: Path) -> None:
    path, _ = saved_after(tmp_path, 1)
    state = torch.load(path / "state.pt", weights_only=True)
    torch.save({**state, "schema": 7}, path / "state.pt")
    with pytest.raises(CheckpointError, match=r"schema: got 7, allowed is 2"):
        checkpoint.read(path)


def test_another_model_is_refused(tmp_path: Path) -> None:
    path, _ = saved_after(tmp_path, 1)
    other = build("moving", train_blocks=1)
    before = weights_of(other.policy)
    with pytest.raises(CheckpointError, match=r"another model.*policy/0\."):
        fit(other, GAME, callbacks=[Restores(path)])
    assert same_bits(weights_of(other.policy), before)


def test_other_snapshots_are_refused(tmp_path: Path) -> None:
    path, _ = saved_after(tmp_path, 1)
    with pytest.raises(CheckpointError, match=r"another model.*snapshot/"):
        fit(build("fixed"), GAME, callbacks=[Restores(path)])


def test_a_checkpoint_holds_no_frozen_trunk(tmp_path: Path) -> None:
    path, _ = saved_after(tmp_path, 1, "snapshot", train_blocks=1)
    module = build("snapshot", train_blocks=1)
    names = set(load_file(path / "weights.safetensors"))
    moving = [name for name, _ in module.policy.moving_parameters()]
    intervals = {module.snapshots.intervals[name] for name in (MAGNET, OPPONENT)} | {0}
    expected = {f"policy/{name}" for name in moving}
    expected |= {f"snapshot/{each}/{name}" for each in intervals for name in moving}
    assert names == expected


def test_a_critic_comes_back(tmp_path: Path) -> None:
    def make() -> tuple[AlignmentModule, TokenCritic]:
        critic = TokenCritic(GAME.vocabulary)
        return tiny_module(GAME, ActorCritic(), critic=critic, critic_lr=0.3, iterations=4), critic

    whole, critic = make()
    fit(whole, GAME)
    fit(make()[0], GAME, stop=2, callbacks=[Saves(tmp_path, 2)])
    resumed, other = make()
    fit(resumed, GAME, start=2, callbacks=[Restores(checkpoint.saved(tmp_path)[-1])])
    assert same_bits(weights_of(whole.policy), weights_of(resumed.policy))
    assert torch.equal(critic.table.weight, other.table.weight)


def test_a_policys_weights_come_back_from_their_file(tmp_path: Path) -> None:
    game, file = tiny_game(), tmp_path / "policy.safetensors"
    trained, other = tiny_policy(game, seed=1), tiny_policy(game, seed=2)
    checkpoint.save_policy(trained, file)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    pairs = list(zip(trained.moving_parameters(), other.moving_parameters(), strict=True))
    assert any(not torch.equal(mine, theirs) for (_, mine), (_, theirs) in pairs)
    checkpoint.load_policy(other, file)
    assert all(torch.equal(mine, theirs) for (_, mine), (_, theirs) in pairs)
    with pytest.raises(CheckpointError, match="another model"):
        checkpoint.load_policy(tiny_policy(game, train_blocks=1), file)
