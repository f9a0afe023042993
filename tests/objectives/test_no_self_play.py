"""`self_play: false`: opponent and magnet are the initial policy from the first iteration on."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mpo.module import AlignmentModule
from mpo.objectives import MPO
from mpo.snapshots import OPPONENT
from tests.engine import (
    AfterIteration,
    Steps,
    fit,
    same_bits,
    tiny_game,
    tiny_module,
    tiny_policy,
    weights_of,
)

FIELDS: dict[str, Any] = {"symmetric": False, "responses": 4, "inner_steps": 2}


def run(objective: MPO, lr: float = 0.05) -> tuple[AlignmentModule, Steps, list[Any]]:
    """Three iterations; the moving weights of policy, magnet and opponent around each."""
    game, steps = tiny_game(), Steps()
    module = tiny_module(game, objective, policy=tiny_policy(game), iterations=3, lr=lr)
    seen = AfterIteration(
        lambda m: [weights_of(p) for p in (m.policy, m.snapshots["magnet"], m.snapshots[OPPONENT])]
    )
    fit(module, game, callbacks=[steps, seen])
    return module, steps, seen.seen


@pytest.mark.parametrize(
    "fields",
    [
        {"magnet_interval": 1},
        {"magnet_interval": 1, "opponent": "snapshot", "opponent_interval": 1},
    ],
    ids=str,
)
def test_opponent_and_magnet_keep_the_bits_of_the_initial_policy(fields: dict[str, Any]) -> None:
    module, _, seen = run(MPO(self_play=False, **FIELDS, **fields))
    initial = weights_of(tiny_policy(tiny_game()))
    assert len(seen) == 4
    for policy, magnet, opponent in seen:
        assert same_bits(magnet, initial) and same_bits(opponent, initial)
        assert same_bits(policy, initial) == (policy is seen[0][0])
    # One copy in memory, which is the reference too.
    assert set(module.snapshots.copies) == {"0"}


def test_with_self_play_both_would_have_moved() -> None:
    fields = {"magnet_interval": 1, "opponent": "snapshot", "opponent_interval": 1}
    _, _, seen = run(MPO(self_play=True, **FIELDS, **fields))
    for policy, magnet, opponent in seen[1:]:
        assert same_bits(magnet, policy) and same_bits(opponent, policy)


def test_the_opponents_responses_are_those_of_a_policy_that_never_learns() -> None:
    method = MPO(self_play=False, **FIELDS)
    _, learns, _ = run(method)
    # Random numbers are keyed by iteration, prompt and response, not by the policy.
    _, stays, _ = run(method, lr=1e-12)
    for one, other in zip(learns.rollouts, stays.rollouts, strict=True):
        assert one.opponents is not None and other.opponents is not None
        assert torch.equal(one.opponents.ids, other.opponents.ids)
    own = [
        torch.equal(one.responses.ids, other.responses.ids)
        for one, other in zip(learns.rollouts, stays.rollouts, strict=True)
    ]
    assert own[0] and not all(own)
