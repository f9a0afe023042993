from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from mpo.games.selection import best_and_worst, sampled_best_and_worst, selection_odds
from tests.oracles import Array, random_policy, random_preferences


def by_enumeration(probs: Array, scores: Array | None, wins: Array | None, n: int) -> Array:
    """All Rⁿ sets of samples; scores by response, or by mean win over the other samples."""
    law = np.zeros((len(probs), len(probs)))
    for drawn in itertools.product(range(len(probs)), repeat=n):
        if wins is not None:
            others = [[wins[a, drawn[j]] for j in range(n) if j != i] for i, a in enumerate(drawn)]
            value = [float(np.mean(row)) for row in others]
        else:
            assert scores is not None
            value = [float(scores[y]) for y in drawn]
        best, worst = int(np.argmax(value)), int(np.argmin(value))
        law[drawn[best], drawn[worst]] += np.prod(probs[list(drawn)])
    return law


@pytest.mark.parametrize(("size", "n"), [(2, 2), (4, 2), (4, 3), (5, 4), (3, 6)])
def test_the_law_is_that_of_all_sets_of_samples(size: int, n: int) -> None:
    probs = np.stack([random_policy(size, seed) for seed in (0, 1)])
    rewards = np.random.default_rng(2).normal(size=(2, size))
    got = best_and_worst(torch.from_numpy(probs), torch.from_numpy(rewards), n)
    expected = [by_enumeration(p, r, None, n) for p, r in zip(probs, rewards, strict=True)]
    np.testing.assert_allclose(got.numpy(), np.stack(expected), rtol=1e-12, atol=1e-15)


def test_ties_take_the_first_sample() -> None:
    probs, rewards = random_policy(5, 0), np.array([0.3, -1.0, 0.3, 0.3, -1.0])
    got = best_and_worst(torch.from_numpy(probs)[None], torch.from_numpy(rewards)[None], 3)
    expected = by_enumeration(probs, rewards, None, 3)
    np.testing.assert_allclose(got[0].numpy(), expected, rtol=1e-12, atol=1e-15)
    assert float(torch.diagonal(got[0]).sum()) > 0.1


def test_rare_responses_keep_their_digits() -> None:
    """n p(w) p(l) (n − 1) mⁿ⁻² to first order: differences of powers would give 0."""
    probs = np.array([1e-30, 1 - 2e-30, 1e-30])
    odds = selection_odds(probs, np.array([0.0, 1.0, 2.0]), 4)
    assert odds[2, 0] == pytest.approx(4 * 3, rel=1e-12)
    assert odds[0, 2] == 0 and odds[1, 1] == 0


@pytest.mark.parametrize("n", [2, 3, 4])
def test_selection_by_a_judge_is_estimated_without_bias(n: int) -> None:
    wins, probs = random_preferences(4, 1), random_policy(4, 2)
    expected = by_enumeration(probs, None, wins, n)
    draws = 200_000
    got = sampled_best_and_worst(
        torch.from_numpy(probs)[None], torch.from_numpy(wins)[None], n, draws, 0
    )[0].numpy()
    assert got.sum() == pytest.approx(1)
    np.testing.assert_allclose(got, expected, atol=5 / np.sqrt(draws))


def test_the_judge_sees_every_response_and_the_seed_decides() -> None:
    wins = torch.from_numpy(random_preferences(6, 0))[None]
    probs = torch.tensor([[1 - 5e-12, 1e-12, 1e-12, 1e-12, 1e-12, 1e-12]], dtype=torch.float64)
    one, again = (sampled_best_and_worst(probs, wins, 4, 600, 0) for _ in range(2))
    assert bool((one.sum(1) + one.sum(2) > 0).all())
    assert torch.equal(one, again)
    usual = torch.full((1, 6), 1 / 6, dtype=torch.float64)
    assert not torch.equal(
        sampled_best_and_worst(usual, wins, 4, 600, 0),
        sampled_best_and_worst(usual, wins, 4, 600, 1),
    )


def test_values_out_of_range_are_named() -> None:
    probs = torch.full((1, 3), 1 / 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="n: got 1, allowed: 2 or more"):
        best_and_worst(probs, probs, 1)
    with pytest.raises(ValueError, match=r"rewards: got shape \(1, 2\), allowed: \(1, 3\)"):
        best_and_worst(probs, probs[:, :2], 2)
    with pytest.raises(ValueError, match="n: got 1"):
        sampled_best_and_worst(probs, torch.full((1, 3, 3), 0.5), 1, 10, 0)
