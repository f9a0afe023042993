from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from mpo.objectives.mpo import MPO
from mpo.objectives.protocol import BEHAVIOUR, MAGNET, compared_pairs
from mpo.records import Scores
from mpo.returns import discounts, greedy_win, later_sum, leave_one_out, mean_win
from tests.enumerated_scores import rollout_of

BATCH, COUNT, STEPS = 3, 4, 5
EXACT = {"rtol": 1e-12, "atol": 1e-14}


def uniform(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def lengths_of(seed: int) -> Tensor:
    """(B, n) lengths from 1 to T, both of them present."""
    lengths = 1 + (uniform(BATCH, COUNT, seed=seed) * STEPS).long()
    lengths[0, 0], lengths[-1, -1] = 1, STEPS
    return lengths


def mask_of(lengths: Tensor) -> Tensor:
    return torch.arange(STEPS) < lengths[..., None]


def wins_of(seed: int, own_pairs: bool) -> Tensor:
    """(B, n, n); with own pairs P + Pᵀ = 1."""
    wins = uniform(BATCH, COUNT, COUNT, seed=seed)
    return (wins + 1 - wins.transpose(1, 2)) / 2 if own_pairs else wins


def scores_of(lengths: Tensor, kl: Tensor) -> Scores:
    mask = mask_of(lengths)
    logprobs = -uniform(BATCH, COUNT, STEPS, seed=8) * mask
    kls = {BEHAVIOUR: torch.zeros_like(kl), MAGNET: kl * mask}
    return Scores(logprobs, logprobs, kls, {}, mask, None, BATCH)


def written_out(
    method: MPO, wins: Tensor, greedy: Tensor, lengths: Tensor, kl: Tensor
) -> list[list[list[float]]]:
    """A_t by loops over prompts, responses, opponents and tokens, from the method's words."""
    found = []
    for x in range(BATCH):
        rows = []
        for i in range(COUNT):
            if method.pairs == "all":
                met = [j for j in range(COUNT) if not (method.symmetric and j == i)]
            elif method.symmetric:
                met = [i + 1 if i % 2 == 0 else i - 1]
            else:
                met = [i]
            reward = sum(float(wins[x, i, j]) for j in met) / len(met)
            if method.baseline == "half":
                baseline = 0.5
            elif method.baseline == "remax":
                baseline = sum(float(greedy[x, j]) for j in met) / len(met)
            else:
                others = [
                    float(wins[x, a, b])
                    for a, b in itertools.product(range(COUNT), repeat=2)
                    if method.pairs == "all" or (b == (a ^ 1 if method.symmetric else a))
                    if a != i and not (method.symmetric and (b == i or a == b))
                ]
                baseline = sum(others) / len(others)
            length = int(lengths[x, i])
            row = []
            for t in range(STEPS):
                if t >= length:
                    row.append(0.0)
                    continue
                if method.reward == "terminal":
                    discount = method.gamma ** (length - 1 - t)
                else:
                    discount = math.fsum(method.gamma ** (later - t) for later in range(t, length))
                if method.discount_baseline:
                    advantage = discount * (reward - baseline)
                else:
                    advantage = discount * reward - baseline
                if method.kl_gradient == "sequence":
                    after = math.fsum(float(kl[x, i, later]) for later in range(t + 1, length))
                    advantage -= method.alpha * after
                row.append(advantage)
            rows.append(row)
        found.append(rows)
    return found


CHOICES = [
    {"reward": reward, "gamma": gamma, "discount_baseline": discounted, "kl_gradient": gradient}
    for reward in ("terminal", "every_token")
    for gamma in (1.0, 0.9)
    for discounted in (True, False)
    for gradient in ("sequence", "per_token")
]
PAIRINGS = [
    {"symmetric": symmetric, "pairs": pairs}
    for symmetric in (True, False)
    for pairs in ("all", "disjoint")
]


@pytest.mark.parametrize("baseline", ["half", "remax", "rloo"])
@pytest.mark.parametrize("pairing", PAIRINGS, ids=str)
def test_advantages_are_those_of_the_loops(pairing: dict[str, object], baseline: str) -> None:
    lengths, kl = lengths_of(seed=1), uniform(BATCH, COUNT, STEPS, seed=2)
    wins, greedy = wins_of(3, bool(pairing["symmetric"])), uniform(BATCH, COUNT, seed=4)
    scores = scores_of(lengths, kl)
    seen = []
    for choice in CHOICES:
        method = MPO(alpha=0.3, responses=COUNT, baseline=baseline, **pairing, **choice)
        assert method.problems() == []
        compared = compared_pairs(method.needs(), BATCH)
        shown = torch.where(compared, wins, torch.full_like(wins, 0.5))
        rollout = rollout_of(shown, compared, greedy if baseline == "remax" else None)
        got = method.targets(rollout, scores)
        wanted = torch.tensor(written_out(method, wins, greedy, lengths, kl), dtype=torch.float64)
        torch.testing.assert_close(got.advantages, wanted, **EXACT)
        assert torch.equal(got.behaviour_logprobs, scores.logprobs)
        seen.append(got.advantages)
    # The choices tell apart: none of them is without effect, but γ = 1 under terminal rewards.
    same = [
        (a, b) for a, b in itertools.combinations(range(len(seen)), 2) if seen[a].equal(seen[b])
    ]
    assert all(CHOICES[a]["gamma"] == CHOICES[b]["gamma"] == 1.0 for a, b in same)
    assert all(CHOICES[a]["reward"] == CHOICES[b]["reward"] == "terminal" for a, b in same)


def test_what_lies_beyond_a_response_does_not_count() -> None:
    lengths, kl = lengths_of(seed=1), uniform(BATCH, COUNT, STEPS, seed=2)
    method = MPO(responses=COUNT)
    compared = compared_pairs(method.needs(), BATCH)
    wins = wins_of(3, own_pairs=True)
    noise = torch.where(compared, wins, uniform(BATCH, COUNT, COUNT, seed=12))
    clean = method.targets(rollout_of(wins, compared), scores_of(lengths, kl)).advantages
    noisy = method.targets(rollout_of(noise, compared), scores_of(lengths, kl)).advantages
    assert torch.equal(clean, noisy)
    assert (clean[~mask_of(lengths)] == 0).all()


def test_mean_win_by_hand() -> None:
    wins = torch.tensor([[[0.5, 0.2, 0.9], [0.8, 0.5, 1.0]]], dtype=torch.float64)
    compared = torch.tensor([[[False, True, True], [True, False, False]]])
    wanted = torch.tensor([[0.55, 0.8]], dtype=torch.float64)
    torch.testing.assert_close(mean_win(wins, compared), wanted, **EXACT)
    greedy = torch.tensor([[0.1, 0.4, 0.6]], dtype=torch.float64)
    wanted = torch.tensor([[0.5, 0.1]], dtype=torch.float64)
    torch.testing.assert_close(greedy_win(greedy, compared), wanted, **EXACT)


@pytest.mark.parametrize("pairs, count", [("all", 3), ("all", 5), ("disjoint", 4), ("disjoint", 6)])
def test_leave_one_out_of_own_pairs_is_a_half(pairs: str, count: int) -> None:
    wins = uniform(BATCH, count, count, seed=5)
    wins = (wins + 1 - wins.transpose(1, 2)) / 2
    compared = compared_pairs(MPO(pairs=pairs, responses=count).needs(), BATCH)
    got = leave_one_out(wins, compared, own_pairs=True)
    torch.testing.assert_close(got, torch.full_like(got, 0.5), **EXACT)
    # Leaving out its row alone would not give ½.
    assert ((leave_one_out(wins, compared, own_pairs=False) - 0.5).abs() > 1e-3).any()


def test_leave_one_out_of_separate_opponents_leaves_out_the_row() -> None:
    wins = torch.tensor([[[0.2, 0.4], [0.6, 1.0], [0.0, 0.3]]], dtype=torch.float64)
    everything = torch.ones_like(wins, dtype=torch.bool)
    wanted = torch.tensor([[1.9 / 4, 0.9 / 4, 2.2 / 4]], dtype=torch.float64)
    torch.testing.assert_close(leave_one_out(wins, everything, False), wanted, **EXACT)


def test_leave_one_out_without_another_comparison_is_not_a_number() -> None:
    wins = torch.full((1, 2, 2), 0.5, dtype=torch.float64)
    compared = ~torch.eye(2, dtype=torch.bool)[None]
    assert leave_one_out(wins, compared, own_pairs=True).isnan().all()


@pytest.mark.parametrize("every_token", [True, False])
@pytest.mark.parametrize("gamma", [1.0, 0.5])
def test_discounts_by_hand(gamma: float, every_token: bool) -> None:
    mask = torch.tensor([[[True, True, True], [True, False, False]]])
    wanted = {
        (1.0, False): [[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]],
        (0.5, False): [[0.25, 0.5, 1.0], [1.0, 0.0, 0.0]],
        (1.0, True): [[3.0, 2.0, 1.0], [1.0, 0.0, 0.0]],
        (0.5, True): [[1.75, 1.5, 1.0], [1.0, 0.0, 0.0]],
    }[gamma, every_token]
    got = discounts(mask, gamma, every_token, torch.float64)
    torch.testing.assert_close(got, torch.tensor([wanted], dtype=torch.float64), **EXACT)


def test_later_sum_leaves_out_the_token_itself() -> None:
    values = torch.tensor([[1.0, 2.0, 4.0, 8.0]], dtype=torch.float64)
    assert later_sum(values).tolist() == [[14.0, 12.0, 8.0, 0.0]]
