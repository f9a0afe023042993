from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mpo.objectives.mpo import MPO, MPOTargets
from mpo.objectives.protocol import BEHAVIOUR, MAGNET, compared_pairs, targets_slice
from mpo.records import Metrics, Scores
from tests.enumerated_scores import rollout_of

BATCH, COUNT, STEPS = 4, 2, 3
EXACT = {"rtol": 1e-12, "atol": 1e-14}


def uniform(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some_scores(seed: int = 0, moved: float = 0.2) -> Scores:
    """Scores of 4 prompts × 2 responses of unequal lengths; `moved` shifts log-probabilities."""
    lengths = torch.tensor([[1, 3], [2, 2], [3, 1], [3, 3]])
    mask = torch.arange(STEPS) < lengths[..., None]
    shape = (BATCH, COUNT, STEPS)
    logprobs = (-uniform(*shape, seed=1) + moved * uniform(*shape, seed=seed + 10)) * mask
    kls = {
        BEHAVIOUR: uniform(*shape, seed=seed + 2) * mask,
        MAGNET: uniform(*shape, seed=seed + 3) * mask,
    }
    return Scores(logprobs, logprobs, kls, {}, mask, None, BATCH)


def targets_of(method: MPO, iteration: int = 0, iterations: int = 1) -> MPOTargets:
    wins = uniform(BATCH, COUNT, COUNT, seed=5)
    wins = (wins + 1 - wins.transpose(1, 2)) / 2
    compared = compared_pairs(method.needs(), BATCH)
    rollout = rollout_of(wins, compared, iteration=iteration, iterations=iterations)
    return method.targets(rollout, some_scores(moved=0.0))


def scores_slice(scores: Scores, part: slice) -> Scores:
    return scores._replace(
        logprobs=scores.logprobs[part],
        entropy=scores.entropy[part],
        kl={name: kl[part] for name, kl in scores.kl.items()},
        mask=scores.mask[part],
    )


def pooled(shares: list[Metrics]) -> dict[str, float]:
    """The weighted means over all shares."""
    found = {}
    for name in shares[0]:
        weight = sum(share[name].weight for share in shares)
        found[name] = sum(float(s[name].mean) * s[name].weight for s in shares) / weight
    return found


METHOD = MPO(alpha=0.3, eta=0.7, responses=COUNT)


@pytest.mark.parametrize("cuts", [(0, 2, 4), (0, 1, 4), (0, 1, 2, 3, 4)])
def test_shares_of_micro_batches_add_up(cuts: tuple[int, ...]) -> None:
    scores, targets = some_scores(), targets_of(METHOD)
    whole, metrics = METHOD.loss(scores, targets)
    parts = [slice(start, stop) for start, stop in itertools.pairwise(cuts)]
    shares = [METHOD.loss(scores_slice(scores, p), targets_slice(targets, p)) for p in parts]
    torch.testing.assert_close(sum(loss for loss, _ in shares), whole, **EXACT)
    assert pooled([m for _, m in shares]) == pytest.approx(pooled([metrics]), rel=1e-12)


def test_terms_are_averaged_over_trained_responses() -> None:
    scores, targets = some_scores(), targets_of(METHOD)
    loss, _ = METHOD.loss(scores, targets)
    total = 0.0
    for x in range(BATCH):
        for i in range(COUNT):
            for t in range(int(scores.mask[x, i].sum())):
                at = (x, i, t)
                ratio = math.exp(float(scores.logprobs[at] - targets.behaviour_logprobs[at]))
                total -= ratio * float(targets.advantages[at])
                total += 0.3 * float(scores.kl[MAGNET][at])
                total += float(scores.kl[BEHAVIOUR][at]) / 0.7
    assert float(loss) == pytest.approx(total / (BATCH * COUNT), rel=1e-10)
    # The divisor is the whole iteration's, whatever part of it this is.
    half, _ = METHOD.loss(scores._replace(total_prompts=2 * BATCH), targets)
    torch.testing.assert_close(half, loss / 2, **EXACT)


def test_metrics_are_means_a_response() -> None:
    scores, targets = some_scores(), targets_of(METHOD)
    loss, metrics = METHOD.loss(scores, targets)
    responses = BATCH * COUNT
    magnet = float(scores.kl[MAGNET].sum()) / responses
    behaviour = float(scores.kl[BEHAVIOUR].sum()) / responses
    assert float(metrics["kl_magnet"].mean) == pytest.approx(magnet, rel=1e-12)
    assert float(metrics["kl_behaviour"].mean) == pytest.approx(behaviour, rel=1e-12)
    policy = float(loss) - 0.3 * magnet - behaviour / 0.7
    assert float(metrics["policy_loss"].mean) == pytest.approx(policy, rel=1e-6)
    ratios = torch.exp(scores.logprobs - targets.behaviour_logprobs)[scores.mask]
    assert float(metrics["ratio"].mean) == pytest.approx(float(ratios.mean()), rel=1e-12)


def test_positions_outside_the_mask_add_nothing() -> None:
    scores, targets = some_scores(), targets_of(METHOD)
    outside = ~scores.mask
    noise = scores._replace(logprobs=scores.logprobs + 5.0 * outside)
    assert float(METHOD.loss(noise, targets)[0]) == float(METHOD.loss(scores, targets)[0])
    # It would have shown: the same shift inside the mask does.
    inside = scores._replace(logprobs=scores.logprobs + 0.1 * scores.mask)
    assert float(METHOD.loss(inside, targets)[0]) != float(METHOD.loss(scores, targets)[0])


@pytest.mark.parametrize(
    "fields, iteration, iterations, wanted",
    [
        ({}, 3, 10, 0.7),
        ({"eta_schedule": "linear"}, 0, 10, 0.7),
        ({"eta_schedule": "linear"}, 4, 10, 0.42),
        ({"eta_schedule": "linear", "eta_horizon": 5}, 4, 10, 0.14),
        ({"eta_schedule": "linear", "eta_horizon": 5, "eta_floor": 0.1}, 8, 10, 0.07),
    ],
)
def test_eta_of_the_iteration_weighs_the_kl_to_the_start(
    fields: dict[str, object], iteration: int, iterations: int, wanted: float
) -> None:
    method = replace(METHOD, **fields)
    scores = some_scores()
    targets = targets_of(method, iteration, iterations)
    none = scores._replace(kl={**scores.kl, BEHAVIOUR: torch.zeros_like(scores.logprobs)})
    added = float(method.loss(scores, targets)[0] - method.loss(none, targets)[0])
    mean = float(scores.kl[BEHAVIOUR].sum()) / (BATCH * COUNT)
    assert added == pytest.approx(mean / wanted, rel=1e-10)


def test_targets_hold_no_gradient_and_are_cut_by_prompt() -> None:
    targets = targets_of(METHOD)
    assert all(not part.requires_grad and part.shape[0] == BATCH for part in targets)
    cut = targets_slice(targets, slice(1, 3))
    assert isinstance(cut, MPOTargets)
    assert torch.equal(cut.advantages, targets.advantages[1:3])
    assert len(cut.inverse_eta) == 2


def test_remax_without_the_greedy_response_is_refused() -> None:
    with pytest.raises(ValueError, match="baseline: remax needs the rollout's greedy_wins"):
        targets_of(replace(METHOD, baseline="remax"))
