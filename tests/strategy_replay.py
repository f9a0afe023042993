"""Runs one rollout sequence under several strategies; a script, because DeepSpeed keeps state.

Usage: python tests/strategy_replay.py OUT. Writes what each run ended with to OUT.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from mpo import checkpoint
from mpo.module import AlignmentModule
from mpo.objectives import MPO
from mpo.objectives.mpo import MPOTargets
from mpo.objectives.protocol import MAGNET
from mpo.records import Metrics, Prompts, Rollout, Scores
from mpo.strategy import build_strategy
from tests.engine import AfterIteration, fit, tiny_game, tiny_module, tiny_policy, weights_of

ITERATIONS = 3
CLIP_NORM = 0.05
"""Below every gradient's norm, so that clipping acts at each step."""

UNCLIPPED = 1e9

RUNS: dict[str, tuple[str, int, int | None, float]] = {
    "single": ("single", 0, None, CLIP_NORM),
    "single, micro-batches": ("single", 0, 1, CLIP_NORM),
    "single, unclipped": ("single", 0, None, UNCLIPPED),
    "zero 2": ("deepspeed", 2, None, CLIP_NORM),
    "zero 2, micro-batches": ("deepspeed", 2, 1, CLIP_NORM),
    "zero 2, unclipped": ("deepspeed", 2, None, UNCLIPPED),
    "zero 1": ("deepspeed", 1, None, CLIP_NORM),
    "zero 1, micro-batches": ("deepspeed", 1, 2, CLIP_NORM),
}
"""Name to strategy, ZeRO stage, prompts a micro-batch and largest gradient norm."""


@dataclass(frozen=True)
class Shares(MPO):
    """MPO that keeps each part's share of the loss."""

    shares: list[float] = field(default_factory=list)

    def loss(self, scores: Scores, targets: MPOTargets) -> tuple[Tensor, Metrics]:
        loss, metrics = super().loss(scores, targets)
        self.shares.append(float(loss.detach()))
        return loss, metrics


class Replay(AlignmentModule):
    """Trains on rollouts that were recorded before, or records them."""

    def __init__(self, *arguments: Any, tape: list[Rollout], record: bool) -> None:
        super().__init__(*arguments)
        self.tape, self.record = tape, record

    def rollout(self, prompts: Prompts) -> Rollout:
        if self.record:
            self.tape.append(super().rollout(prompts))
        return self.tape[self.iterations_done]


def build(
    tape: list[Rollout],
    record: bool = False,
    micro_prompts: int | None = None,
    clip_norm: float = CLIP_NORM,
) -> Replay:
    """The same initial weights for every run, in float32 as DeepSpeed has them."""
    game = tiny_game()
    objective = Shares(responses=4, inner_steps=2, magnet_interval=2)
    policy = tiny_policy(game, dtype=torch.float32)
    module = tiny_module(
        game,
        objective,
        policy=policy,
        iterations=ITERATIONS,
        micro_prompts=micro_prompts,
        clip_norm=clip_norm,
    )
    parts = (module.policy, objective, module.judge, module.sampling, module.settings)
    return Replay(*parts, tape=tape, record=record)


def run(name: str, tape: list[Rollout]) -> dict[str, Any]:
    """Train under the strategy of that name."""
    strategy, stage, micro_prompts, clip_norm = RUNS[name]
    module = build(tape, not tape, micro_prompts, clip_norm)
    seen = AfterIteration(lambda m: (weights_of(m.policy), weights_of(m.snapshots[MAGNET])))
    norms = AfterIteration(lambda m: m.logged.get("grad_norm"))
    fit(
        module,
        tiny_game(),
        callbacks=[seen, norms],
        strategy=build_strategy(strategy, stage, clip_norm, "cpu"),
    )
    shares, steps = module.objective.shares, ITERATIONS * 2
    parts = len(shares) // steps
    return {
        "losses": [sum(shares[s * parts : (s + 1) * parts]) for s in range(steps)],
        "weights": [weights for weights, _ in seen.seen],
        "magnets": [magnet for _, magnet in seen.seen],
        "norms": norms.seen[1:],
        "parts": parts,
    }


def resume(tape: list[Rollout], out: Path) -> dict[str, Any]:
    """Two iterations under ZeRO-2, a checkpoint, and the third in a new trainer."""

    def save(module: AlignmentModule) -> None:
        if module.iterations_done == 2:
            checkpoint.save(module, out.parent / "checkpoints", {})

    class Restore(AfterIteration):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            path = checkpoint.saved(out.parent / "checkpoints")[-1]
            checkpoint.restore(pl_module, path, checkpoint.read(path))

    def zero() -> Any:
        return build_strategy("deepspeed", 2, CLIP_NORM, "cpu")

    first = build(tape)
    fit(first, tiny_game(), stop=2, callbacks=[AfterIteration(save)], strategy=zero())
    second = build(tape)
    fit(second, tiny_game(), start=2, callbacks=[Restore(lambda m: None)], strategy=zero())
    return {"weights": weights_of(second.policy), "magnet": weights_of(second.snapshots[MAGNET])}


def main(out: Path) -> None:
    """All runs, then the resumed one."""
    torch.set_num_threads(1)
    tape: list[Rollout] = []
    results: dict[str, Any] = {name: run(name, tape) for name in RUNS}
    torch.save(results, out)
    torch.save(resume(tape, out), out.with_name("resumed.pt"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
