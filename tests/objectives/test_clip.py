"""MPO with PPO's clipped ratio in place of the 1/η KL, against Schulman et al. (2017), eq. (7)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mpo.objectives import MPO
from mpo.objectives.mpo import MPOTargets
from mpo.objectives.protocol import BEHAVIOUR, MAGNET
from mpo.records import Scores

CLIP = 0.2
ALPHA = 0.3
METHOD = MPO(alpha=ALPHA, proximal="clip", clip_range=CLIP, responses=2)
RATIOS = [0.5, 0.79, 0.81, 1.0, 1.19, 1.21, 2.0]
ADVANTAGES = [-0.7, 0.4]


def one_prompt(log_ratio: Tensor) -> Scores:
    """Two responses of 7 tokens whose log r_t are given (2, 7), but for one token cut off."""
    mask = torch.ones_like(log_ratio, dtype=torch.bool)
    mask[1, -1] = False
    generator = torch.Generator().manual_seed(0)
    kls = {
        name: torch.rand(log_ratio.shape, generator=generator, dtype=torch.float64) * mask
        for name in (BEHAVIOUR, MAGNET)
    }
    return Scores(
        (log_ratio * mask)[None],
        torch.zeros_like(log_ratio)[None],
        {name: kl[None] for name, kl in kls.items()},
        {},
        mask[None],
        None,
        total_prompts=1,
    )


def some_targets() -> MPOTargets:
    advantages = torch.tensor([[[a] * len(RATIOS) for a in ADVANTAGES]], dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    return MPOTargets(advantages, torch.zeros_like(advantages), one, 2 * one)


def log_ratios() -> Tensor:
    return torch.tensor([RATIOS, RATIOS], dtype=torch.float64).log()


def clipped_by_hand(ratio: float, advantage: float) -> tuple[float, bool]:
    """min(r A, clip(r) A), and whether the clipped side is the smaller."""
    low, high = 1 - CLIP, 1 + CLIP
    if advantage >= 0 and ratio > high:
        return high * advantage, True
    if advantage < 0 and ratio < low:
        return low * advantage, True
    return ratio * advantage, False


def by_hand(scores: Scores) -> tuple[float, float]:
    """(policy loss, share of the tokens that are clipped)."""
    total, clipped, count = 0.0, 0, 0
    for i, advantage in enumerate(ADVANTAGES):
        for t, ratio in enumerate(RATIOS):
            if scores.mask[0, i, t]:
                term, cut = clipped_by_hand(ratio, advantage)
                total, clipped, count = total - term, clipped + cut, count + 1
    return total / 2, clipped / count


def test_the_loss_is_the_smaller_of_the_two_products_and_the_kl_to_the_magnet() -> None:
    scores = one_prompt(log_ratios())
    loss, metrics = METHOD.loss(scores, some_targets())
    policy, clipped = by_hand(scores)
    magnet = ALPHA * float(scores.kl[MAGNET].sum()) / 2
    assert float(loss) == pytest.approx(policy + magnet, rel=1e-12)
    assert float(metrics["policy_loss"].mean) == pytest.approx(policy, rel=1e-12)
    assert float(metrics["clip_fraction"].mean) == pytest.approx(clipped, rel=1e-12)
    assert clipped == pytest.approx(3 / 13)


def test_clipped_tokens_have_no_gradient_and_the_others_have_r_times_a() -> None:
    log_ratio = log_ratios().requires_grad_()
    scores = one_prompt(log_ratio)
    METHOD.loss(scores, some_targets())[0].backward()
    assert log_ratio.grad is not None
    for i, advantage in enumerate(ADVANTAGES):
        for t, ratio in enumerate(RATIOS):
            _, cut = clipped_by_hand(ratio, advantage)
            wanted = 0.0 if cut or not scores.mask[0, i, t] else -ratio * advantage / 2
            assert float(log_ratio.grad[i, t]) == pytest.approx(wanted, rel=1e-12, abs=1e-15)


def test_the_gradient_agrees_with_finite_differences() -> None:
    log_ratio = log_ratios().requires_grad_()
    METHOD.loss(one_prompt(log_ratio), some_targets())[0].backward()
    assert log_ratio.grad is not None
    step = 1e-5
    for i in range(2):
        for t in range(len(RATIOS)):
            values = []
            for sign in (1, -1):
                moved = log_ratios()
                moved[i, t] += sign * step
                values.append(float(METHOD.loss(one_prompt(moved), some_targets())[0]))
            slope = (values[0] - values[1]) / (2 * step)
            assert float(log_ratio.grad[i, t]) == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_the_kl_to_the_start_is_logged_and_no_part_of_the_loss() -> None:
    scores, targets = one_prompt(log_ratios()), some_targets()
    loss, metrics = METHOD.loss(scores, targets)
    far = scores._replace(kl={**scores.kl, BEHAVIOUR: 3 * scores.kl[BEHAVIOUR]})
    assert float(METHOD.loss(far, targets)[0]) == float(loss)
    wanted = float(scores.kl[BEHAVIOUR].sum()) / 2
    assert float(metrics["kl_behaviour"].mean) == pytest.approx(wanted, rel=1e-12)
    # With the KL in the loss and the ratio free, the loss is another.
    free, plain = MPO(alpha=ALPHA, eta=0.5, responses=2).loss(scores, targets)
    assert "clip_fraction" not in plain
    assert abs(float(free) - float(loss)) > 0.1


def test_within_the_range_nothing_is_clipped() -> None:
    small = log_ratios() * math.log(1.1) / math.log(2.0)
    scores, targets = one_prompt(small), some_targets()
    loss, metrics = METHOD.loss(scores, targets)
    none = {**scores.kl, BEHAVIOUR: torch.zeros_like(scores.logprobs)}
    free, _ = MPO(alpha=ALPHA, responses=2).loss(scores._replace(kl=none), targets)
    assert float(metrics["clip_fraction"].mean) == 0.0
    torch.testing.assert_close(loss, free, rtol=1e-12, atol=0)
