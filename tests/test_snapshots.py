"""What magnet, opponent and reference hold after each refresh, and which copies are one."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from mpo.module import AlignmentModule
from mpo.objectives import MPO
from mpo.objectives.protocol import MAGNET, REFERENCE
from mpo.rollout import OPPONENT_STREAM, POLICY_STREAM
from mpo.sampling import keyed_uniforms, sample
from mpo.snapshots import OPPONENT
from tests.engine import (
    AfterIteration,
    Steps,
    Weights,
    fit,
    prompt_set,
    same_bits,
    tiny_game,
    tiny_module,
    tiny_policy,
    weights_of,
)

ITERATIONS = 7


def snapshot_objective(magnet: int | None, opponent: int | None) -> MPO:
    """Algorithm 1 with its two intervals."""
    return MPO(
        responses=4,
        inner_steps=1,
        opponent="snapshot",
        symmetric=False,
        magnet_interval=magnet,
        opponent_interval=opponent,
    )


def look(module: AlignmentModule) -> dict[str, Weights]:
    """The weights of the policy and of every frozen model by name."""
    frozen = {name: weights_of(module.snapshots[name]) for name in module.snapshots.intervals}
    return {"policy": weights_of(module.policy), **frozen}


def last_move(iterations_done: int, interval: int | None) -> int:
    """The iteration after which a copy moved last."""
    return iterations_done - iterations_done % interval if interval else 0


@pytest.mark.parametrize("train_blocks", [None, 1])
@pytest.mark.parametrize(("magnet", "opponent"), [(2, 3), (3, 2), (2, None), (None, 4), (None, 1)])
def test_each_copy_holds_the_policy_of_its_last_move(
    magnet: int | None, opponent: int | None, train_blocks: int | None
) -> None:
    game, seen = tiny_game(), AfterIteration(look)
    policy = tiny_policy(game, train_blocks=train_blocks)
    module = tiny_module(
        game, snapshot_objective(magnet, opponent), policy=policy, iterations=ITERATIONS
    )
    fit(module, game, callbacks=[seen])
    policies = [state["policy"] for state in seen.seen]
    # The cosine schedule's last steps are small but not zero, so all iterates differ.
    assert not any(same_bits(a, b) for a, b in itertools.pairwise(policies))
    # Without an interval of its own a snapshot opponent follows the magnet.
    intervals = {REFERENCE: None, MAGNET: magnet, OPPONENT: opponent or magnet}
    for done, state in enumerate(seen.seen):
        for name, interval in intervals.items():
            assert same_bits(state[name], policies[last_move(done, interval)]), (done, name)
    assert module.snapshots.moves == {
        name: ITERATIONS // interval if interval else 0 for name, interval in intervals.items()
    }


def test_copies_that_move_together_are_one() -> None:
    game = tiny_game()

    def names(objective: MPO) -> tuple[Any, int]:
        snapshots = tiny_module(game, objective).snapshots
        return snapshots, len(snapshots.copies)

    shared, count = names(snapshot_objective(2, None))
    assert shared[MAGNET] is shared[OPPONENT] and count == 2
    assert shared[MAGNET] is not shared[REFERENCE]
    shared, count = names(snapshot_objective(2, 2))
    assert shared[MAGNET] is shared[OPPONENT] and count == 2
    apart, count = names(snapshot_objective(2, 3))
    assert len({id(apart[name]) for name in (MAGNET, OPPONENT, REFERENCE)}) == count == 3
    fixed, count = names(MPO(magnet_interval=None))
    assert fixed[MAGNET] is fixed[REFERENCE] and count == 1
    assert OPPONENT not in fixed.intervals


@pytest.mark.parametrize("train_blocks", [None, 1])
def test_a_fixed_magnet_is_the_reference_to_the_bit(train_blocks: int | None) -> None:
    game = tiny_game()
    policy = tiny_policy(game, train_blocks=train_blocks)
    before = {name: p.detach().clone() for name, p in policy.model.named_parameters()}
    module = tiny_module(game, MPO(responses=4, magnet_interval=None), policy=policy)
    fit(module, game)
    for name in (MAGNET, REFERENCE):
        held = dict(module.snapshots[name].model.named_parameters())
        assert same_bits({key: held[key].detach() for key in before}, before)
    now = {name: p.detach() for name, p in policy.model.named_parameters()}
    moved = {name for name in before if not torch.equal(before[name], now[name])}
    assert moved == {name for name, p in policy.model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("train_blocks", [None, 1])
def test_copies_never_train_and_share_the_frozen_trunk(train_blocks: int | None) -> None:
    game = tiny_game()
    policy = tiny_policy(game, train_blocks=train_blocks)
    module = tiny_module(game, snapshot_objective(2, 3), policy=policy)
    optimised = {
        id(p)
        for group in module.configure_optimizers()["optimizer"].param_groups
        for p in group["params"]
    }
    assert optimised == {id(p) for _, p in policy.moving_parameters()}
    mine = {name: p.data_ptr() for name, p in policy.model.named_parameters()}
    moving = {p.data_ptr() for _, p in policy.moving_parameters()}
    for name in (MAGNET, OPPONENT, REFERENCE):
        copy = module.snapshots[name]
        assert not any(p.requires_grad for _, p in copy.moving_parameters())
        for key, parameter in copy.model.named_parameters():
            assert (parameter.data_ptr() == mine[key]) == (mine[key] not in moving), key


def test_opponents_are_samples_of_the_snapshot_opponent() -> None:
    game, seen, steps = tiny_game(), AfterIteration(look), Steps()
    module = tiny_module(game, snapshot_objective(5, 2), iterations=4, seed=11)
    fit(module, game, callbacks=[seen, steps])
    stand_in = tiny_policy(game)
    prompts = prompt_set(game).batch(range(3))

    def draw(weights: Weights, stream: int, iteration: int) -> torch.Tensor:
        for name, parameter in stand_in.moving_parameters():
            parameter.data.copy_(weights[name])
        uniforms = keyed_uniforms(11, stream, iteration, prompts.keys, 4, game.max_tokens)
        return sample(stand_in, prompts, uniforms, (game.eos,)).ids

    told_apart = False
    for iteration, rollout in enumerate(steps.rollouts):
        policy, opponent = seen.seen[iteration]["policy"], seen.seen[iteration][OPPONENT]
        assert rollout.opponents is not None
        assert torch.equal(rollout.responses.ids, draw(policy, POLICY_STREAM, iteration))
        drawn = draw(opponent, OPPONENT_STREAM, iteration)
        assert torch.equal(rollout.opponents.ids, drawn)
        told_apart |= not torch.equal(draw(policy, OPPONENT_STREAM, iteration), drawn)
    # Otherwise samples of the current policy would have passed as well.
    assert told_apart
