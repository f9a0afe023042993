from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
from torch import Tensor

from mpo.objectives import MPO, MPORT
from mpo.objectives.mpo_rt import reward_to_go
from mpo.objectives.protocol import BEHAVIOUR, MAGNET, compared_pairs, targets_slice
from mpo.objectives.self_play import MPOTargets
from mpo.records import Rollout, Scores
from tests.enumerated_scores import rollout_of

BATCH, COUNT, STEPS = 3, 2, 4
LENGTHS = torch.tensor([[1, 4], [2, 3], [4, 4]])
EXACT = {"rtol": 1e-12, "atol": 1e-14}


def uniform(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some_scores(moved: float = 0.0) -> Scores:
    """Scores of 3 prompts × 2 responses of unequal lengths; `moved` shifts log-probabilities."""
    mask = torch.arange(STEPS) < LENGTHS[..., None]
    shape = (BATCH, COUNT, STEPS)
    logprobs = (-uniform(1, *shape) + moved * uniform(2, *shape)) * mask
    kls = {BEHAVIOUR: uniform(3, *shape) * mask, MAGNET: uniform(4, *shape) * mask}
    other = {MAGNET: -uniform(5, *shape) * mask}
    return Scores(logprobs, uniform(6, *shape) * mask, kls, other, mask, None, BATCH)


def some_rollout(method: MPORT, greedy: bool = False) -> Rollout:
    wins = uniform(7, BATCH, COUNT, COUNT)
    wins = (wins + 1 - wins.transpose(1, 2)) / 2
    best = uniform(8, BATCH, COUNT) if greedy else None
    return rollout_of(wins, compared_pairs(method.needs(), BATCH), best)


def targets_of(method: MPORT) -> MPOTargets:
    return method.targets(some_rollout(method), some_scores())


def tokens() -> list[tuple[int, int, int]]:
    """(prompt, response, position) of every token that counts."""
    return [
        (x, i, t)
        for x, i in itertools.product(range(BATCH), range(COUNT))
        for t in range(int(LENGTHS[x, i]))
    ]


def ratio_to_magnet(x: int, i: int) -> list[float]:
    """log π_k − log μ at each token of a response."""
    scores = some_scores()
    length = int(LENGTHS[x, i])
    return [
        float(scores.logprobs[x, i, t] - scores.other_logprobs[MAGNET][x, i, t])
        for t in range(length)
    ]


@pytest.mark.parametrize("gamma", [1.0, 0.8])
@pytest.mark.parametrize("baseline", ["half", "remax"])
def test_advantages_are_the_discounted_sums_of_each_tokens_reward(
    baseline: str, gamma: float
) -> None:
    method = MPORT(alpha=0.3, gamma=gamma, responses=COUNT, baseline=baseline)
    rollout = some_rollout(method, greedy=True)
    assert rollout.greedy_wins is not None
    advantages = method.targets(rollout, some_scores()).advantages
    for x, i, t in tokens():
        b = 0.5 if baseline == "half" else float(rollout.greedy_wins[x, 1 - i])
        rewards = [-0.3 * each for each in ratio_to_magnet(x, i)]
        rewards[-1] += float(rollout.wins[x, i, 1 - i]) - b
        wanted = sum(gamma ** (j - t) * rewards[j] for j in range(t, len(rewards)))
        assert float(advantages[x, i, t]) == pytest.approx(wanted, rel=1e-12)
    assert not advantages[~some_scores().mask].any()


@pytest.mark.parametrize("gamma", [1.0, 0.8])
def test_advantages_to_the_letter_are_lines_6_and_7_of_algorithm_2(gamma: float) -> None:
    method = MPORT(alpha=0.3, gamma=gamma, responses=COUNT, log_ratio="sequence")
    rollout = some_rollout(method)
    advantages = method.targets(rollout, some_scores()).advantages
    for x, i, t in tokens():
        log_ratio = ratio_to_magnet(x, i)
        reward = float(rollout.wins[x, i, 1 - i]) - 0.3 * sum(log_ratio)
        wanted = sum(gamma ** (j - t) * reward for j in range(t, len(log_ratio))) - 0.5
        assert float(advantages[x, i, t]) == pytest.approx(wanted, rel=1e-10)
    assert not advantages[~some_scores().mask].any()


def test_for_a_response_of_one_token_the_two_readings_are_one() -> None:
    token, sequence = (
        targets_of(MPORT(alpha=0.3, responses=COUNT, log_ratio=reading)).advantages
        for reading in ("token", "sequence")
    )
    assert int(LENGTHS[0, 0]) == 1
    torch.testing.assert_close(token[0, 0], sequence[0, 0], **EXACT)
    assert not torch.allclose(token[0, 1], sequence[0, 1])


def test_the_reward_to_go_is_a_discounted_sum() -> None:
    rewards = uniform(9, 2, 3, 5)
    powers = torch.tensor([[0.7 ** (j - t) if j >= t else 0.0 for t in range(5)] for j in range(5)])
    torch.testing.assert_close(
        reward_to_go(rewards, 0.7), rewards @ powers.double(), rtol=1e-6, atol=0
    )


def test_the_loss_is_equation_9_over_the_trained_responses() -> None:
    method = MPORT(alpha=0.3, eta=0.7, responses=COUNT)
    scores, targets = some_scores(moved=0.4), targets_of(method)
    loss, metrics = method.loss(scores, targets)
    policy = proximal = 0.0
    for at in tokens():
        ratio = math.exp(float(scores.logprobs[at] - targets.behaviour_logprobs[at]))
        policy -= ratio * float(targets.advantages[at])
        proximal += float(scores.kl[BEHAVIOUR][at]) / 0.7
    assert float(loss) == pytest.approx((policy + proximal) / (BATCH * COUNT), rel=1e-12)
    assert float(metrics["policy_loss"].mean) == pytest.approx(policy / (BATCH * COUNT), rel=1e-12)
    # The divisor is the whole iteration's, whatever part of it this is.
    half, _ = method.loss(scores._replace(total_prompts=2 * BATCH), targets)
    torch.testing.assert_close(half, loss / 2, **EXACT)


def test_the_kl_to_the_magnet_is_logged_and_no_part_of_the_loss() -> None:
    method = MPORT(alpha=0.3, responses=COUNT)
    scores, targets = some_scores(moved=0.4), targets_of(method)
    far = scores._replace(kl={**scores.kl, MAGNET: 2 * scores.kl[MAGNET]})
    (loss, metrics), (same, further) = method.loss(scores, targets), method.loss(far, targets)
    assert float(loss) == float(same)
    wanted = float(scores.kl[MAGNET].sum()) / (BATCH * COUNT)
    assert float(metrics["kl_magnet"].mean) == pytest.approx(wanted, rel=1e-12)
    assert float(further["kl_magnet"].mean) == pytest.approx(2 * wanted, rel=1e-12)


def test_it_logs_what_mpo_logs() -> None:
    scores, method = some_scores(), MPORT(responses=COUNT)
    names = method.loss(scores, targets_of(method))[1].keys()
    mpo = MPO(responses=COUNT)
    other = mpo.targets(some_rollout(method), scores)
    assert names == mpo.loss(scores, other)[1].keys()


@pytest.mark.parametrize("cuts", [(0, 2, 3), (0, 1, 2, 3)])
@pytest.mark.parametrize("log_ratio", ["token", "sequence"])
def test_shares_of_micro_batches_add_up(log_ratio: str, cuts: tuple[int, ...]) -> None:
    method = MPORT(responses=COUNT, log_ratio=log_ratio)
    scores, targets = some_scores(moved=0.4), targets_of(method)
    whole, _ = method.loss(scores, targets)
    total = torch.zeros((), dtype=torch.float64)
    for start, stop in itertools.pairwise(cuts):
        part = slice(start, stop)
        few = scores._replace(
            logprobs=scores.logprobs[part],
            entropy=scores.entropy[part],
            kl={name: kl[part] for name, kl in scores.kl.items()},
            mask=scores.mask[part],
        )
        total = total + method.loss(few, targets_slice(targets, part))[0]
    torch.testing.assert_close(total, whole, **EXACT)


def test_needs_are_mpos_and_the_magnets_log_probabilities() -> None:
    for fields in (
        {"responses": 6, "magnet_interval": 7, "inner_steps": 3},
        {"symmetric": False, "opponent": "snapshot", "opponent_interval": 3, "baseline": "remax"},
    ):
        wanted = MPO(**fields).needs()._replace(logprobs_of=(MAGNET,))
        assert MPORT(**fields).needs() == wanted


def test_settings_that_both_methods_have_are_the_same_and_checked_the_same() -> None:
    mine = {field.name: field.default for field in dataclasses.fields(MPORT)}
    theirs = {field.name: field.default for field in dataclasses.fields(MPO)}
    assert mine.pop("log_ratio") == "token"
    assert mine == {name: theirs[name] for name in mine}
    assert MPORT().problems() == []
    bad = {
        "alpha": -1.0,
        "eta": 0.0,
        "eta_schedule": "x",
        "eta_horizon": 0,
        "eta_floor": 0.0,
        "gamma": 2.0,
        "magnet_interval": 0,
        "opponent": "x",
        "opponent_interval": 0,
        "inner_steps": 0,
        "baseline": "x",
        "pairs": "x",
        "responses": 0,
    }
    assert MPORT(**bad).problems() == MPO(**bad).problems()
    assert len(MPORT(**bad).problems()) == len(bad)


def test_a_reading_that_there_is_not_is_refused() -> None:
    (problem,) = MPORT(log_ratio="prefix").problems()
    assert problem == "log_ratio: got 'prefix', allowed is token | sequence"
