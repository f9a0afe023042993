from __future__ import annotations

import pytest
import torch
from torch import Tensor

from baselines.gae import generalised_advantages
from baselines.whitening import whiten
from tests.baselines.made_scores import LENGTHS, draw, mask_of

CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def double_sum(rewards: Tensor, values: Tensor, gamma: float, gae_lambda: float) -> Tensor:
    """A_t = Σ_l (γλ)^l δ_{t+l} of one response's own tokens."""
    length = len(rewards)
    found = []
    for t in range(length):
        total = 0.0
        for place in range(t, length):
            after = float(values[place + 1]) if place + 1 < length else 0.0
            error = float(rewards[place]) + gamma * after - float(values[place])
            total += (gamma * gae_lambda) ** (place - t) * error
        found.append(total)
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("gamma, gae_lambda", [(1.0, 0.95), (0.9, 0.7), (1.0, 1.0), (0.8, 0.0)])
def test_the_recursion_is_the_double_sum(gamma: float, gae_lambda: float) -> None:
    mask = mask_of()
    # Noise outside the mask too: padding must not reach a token that counts.
    rewards, values = draw(0, *mask.shape), draw(1, *mask.shape)
    got = generalised_advantages(rewards, values, mask, gamma, gae_lambda)
    for x, row in enumerate(LENGTHS):
        for i, length in enumerate(row):
            mine, theirs = rewards[x, i, :length], values[x, i, :length]
            wanted = double_sum(mine, theirs, gamma, gae_lambda)
            torch.testing.assert_close(got[x, i, :length], wanted, **CLOSE)
            assert bool((got[x, i, length:] == 0).all())


def test_lambda_1_leaves_the_rewards_to_come_less_the_value_here() -> None:
    mask = mask_of()
    rewards, values = draw(2, *mask.shape), draw(3, *mask.shape)
    got = generalised_advantages(rewards, values, mask, 1.0, 1.0)
    for x, row in enumerate(LENGTHS):
        for i, length in enumerate(row):
            for t in range(length):
                wanted = rewards[x, i, t:length].sum() - values[x, i, t]
                torch.testing.assert_close(got[x, i, t], wanted, **CLOSE)


def test_whitening_is_over_the_tokens_that_count() -> None:
    mask = mask_of()
    values = 3.0 + 2.0 * draw(4, *mask.shape)
    seen = [float(value) for value in values[mask]]
    mean = sum(seen) / len(seen)
    variance = sum((value - mean) ** 2 for value in seen) / len(seen)
    plain, kept = whiten(values, mask), whiten(values, mask, keep_mean=True)
    wanted = (values[mask] - mean) / (variance + 1e-8) ** 0.5
    torch.testing.assert_close(plain[mask], wanted, **CLOSE)
    torch.testing.assert_close(kept[mask], wanted + mean, **CLOSE)
    assert bool((plain[~mask] == 0).all()) and bool((kept[~mask] == 0).all())


def test_whitening_what_does_not_vary_gives_zeros() -> None:
    mask = mask_of(((1, 2),))
    assert bool((whiten(torch.full(mask.shape, 7.0), mask) == 0).all())
