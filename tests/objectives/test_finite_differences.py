"""The gradient of each loss in the policy's weights, away from θ_k, against finite differences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mpo.objectives import MPO, MPORT
from mpo.objectives.protocol import BEHAVIOUR, MAGNET, compared_pairs
from mpo.policy import Policy
from mpo.records import Scores
from tests.enumerated_scores import detached, engine_scores, rollout_of
from tests.kl_oracles import directional_differences, flat_gradient, unit_directions
from tests.tiny_llama import frozen_twin, prompts_of, responses_of, tiny_llama

CLIP = 0.05
SHARED = {"alpha": 0.3, "eta": 0.5, "gamma": 0.9, "responses": 2}
LOSSES = {
    "kl sequence": MPO(**SHARED, kl_gradient="sequence"),
    "kl per_token": MPO(**SHARED, kl_gradient="per_token"),
    "kl every_token": MPO(**SHARED, reward="every_token", discount_baseline=False),
    "clip": MPO(**SHARED, proximal="clip", clip_range=CLIP),
    "rt token": MPORT(**SHARED, log_ratio="token"),
    "rt sequence": MPORT(**SHARED, log_ratio="sequence"),
}


WINS = torch.tensor([[[0.5, 0.8], [0.2, 0.5]], [[0.5, 0.1], [0.9, 0.5]]]).double()


class Moved:
    """A policy that has moved away from π_k, and the scores of four responses under it."""

    def __init__(self) -> None:
        self.policy = Policy(tiny_llama(4), 1)
        self.frozen = {
            BEHAVIOUR: frozen_twin(self.policy, seed=2, scale=0.1),
            MAGNET: frozen_twin(self.policy, seed=1),
        }
        self.prompts = prompts_of([[1, 2], [0]])
        self.responses = responses_of([[(0, 3), (1, 2, 0)], [(3,), (2, 2, 3)]], eos=3)

    def scores(self, policy: Policy) -> Scores:
        return engine_scores(policy, self.frozen, self.prompts, self.responses)

    def targets(self, method: Any) -> Any:
        compared = compared_pairs(method.needs(), 2)
        start = detached(self.scores(self.frozen[BEHAVIOUR]))
        return method.targets(rollout_of(WINS, compared), start)


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_that_of_the_loss(name: str) -> None:
    method: Any = LOSSES[name]
    moved = Moved()
    parameters = [p for _, p in moved.policy.moving_parameters()]
    targets = moved.targets(method)

    def loss() -> Tensor:
        return method.loss(moved.scores(moved.policy), targets)[0]

    got = flat_gradient(loss(), parameters)
    assert float(got.norm()) > 0.1
    directions = unit_directions(8, len(got), seed=3)
    wanted = directional_differences(loss, parameters, directions)
    torch.testing.assert_close(directions @ got, wanted, rtol=1e-6, atol=1e-9)


def test_some_tokens_are_clipped_and_none_is_at_the_edge() -> None:
    # What the differences of `clip` above rely on.
    moved, method = Moved(), LOSSES["clip"]
    scores, targets = moved.scores(moved.policy), moved.targets(method)
    ratio = (scores.logprobs - targets.behaviour_logprobs)[scores.mask].exp()
    assert all(bool(((ratio - edge).abs() > 0.01).all()) for edge in (1 - CLIP, 1 + CLIP))
    assert 0.2 < float(method.loss(scores, targets)[1]["clip_fraction"].mean) < 0.8
