"""Metrics of a judge, by counting, by enumeration of resamples and by closed forms."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mpo.training.metrics import (
    calibration_error,
    clustered_interval,
    length_slope,
    log_loss,
    pairs_of,
    preference_metrics,
)
from mpo.training.records import Comparison


class Answers:
    """Looks P(a ≻ b | x) up; it is asked each unordered pair once."""

    def __init__(self, table: dict[tuple[str, str, str], float]):
        self.table = table
        self.asked = 0

    def win_prob(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> Tensor:
        self.asked += len(prompts)
        return torch.tensor([self.table[key] for key in zip(prompts, a, b, strict=True)])


def two(prompt: str, a: str, b: str, win: float, group: str = "") -> Comparison:
    return Comparison(prompt, (a, b), ((0.5, win), (1 - win, 0.5)), group or prompt)


HELD_OUT = [
    two("x1", "aaa", "b", 1.0, "g1"),
    two("x2", "aaa", "b", 0.0, "g1"),
    two("x3", "a", "bbb", 1.0, "g2"),
    two("x4", "aa", "bb", 0.75, "g3"),
    two("x5", "aaaa", "b", 0.5, "g4"),
]
GIVEN = [0.9, 0.6, 0.8, 0.5, 0.7]
TRAINING = [two("y1", "aa", "b", 1.0), two("y2", "aa", "b", 1.0), two("y3", "aa", "b", 0.0)]


def judge() -> Answers:
    return Answers({(c.prompt, *c.responses): p for c, p in zip(HELD_OUT, GIVEN, strict=True)})


def test_by_hand() -> None:
    asked = judge()
    found = preference_metrics(asked, TRAINING, HELD_OUT)
    assert asked.asked == 5
    assert (found["pairs"], found["ties"], found["groups"]) == (4, 1, 3)
    # Right, wrong, right, and an answer of one half.
    assert found["accuracy"] == pytest.approx(2.5 / 4, rel=1e-12)
    # Longer: right, wrong, wrong, equal lengths.
    assert found["accuracy_longer"] == pytest.approx(1.5 / 4, rel=1e-12)
    assert found["accuracy_shorter"] == pytest.approx(2.5 / 4, rel=1e-12)
    # Of three training pairs the longer wins two: the fitted model prefers the longer.
    assert found["accuracy_length"] == found["accuracy_longer"]
    assert found["accuracy_over_length"] == pytest.approx(1 / 4, rel=1e-12)
    losses = [-math.log(p) for p in (0.9, 0.4, 0.8, 0.5)] + [-math.log(0.7 * 0.3) / 2]
    assert found["log_loss"] == pytest.approx(sum(losses) / 5, rel=1e-6)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert found["log_loss_floor"] == pytest.approx((entropy + math.log(2)) / 5, rel=1e-9)
    # σ(b) = 2/3 for a difference of one character, so b = log 2.
    by_length = [2.0**-d for d in (2, 2, -2, 0, 3)]
    losses = [
        wanted * math.log1p(q) + (1 - wanted) * math.log1p(1 / q)
        for q, wanted in zip(by_length, (1, 0, 1, 0.75, 0.5), strict=True)
    ]
    assert found["log_loss_length"] == pytest.approx(sum(losses) / 5, rel=1e-6)
    assert found["log_loss_chance"] == math.log(2)
    assert "intransitive_share" not in found
    assert all(math.isfinite(value) for value in found.values())


def test_the_order_of_a_pair_changes_nothing() -> None:
    turned = [two(c.prompt, *reversed(c.responses), c.wins[1][0], c.group) for c in HELD_OUT]
    table = {(c.prompt, *c.responses): 1 - p for c, p in zip(turned, GIVEN, strict=True)}
    swapped = preference_metrics(Answers(table), TRAINING, turned)
    straight = preference_metrics(judge(), TRAINING, HELD_OUT)
    assert swapped == pytest.approx(straight, rel=1e-6, abs=1e-6)


def test_the_interval_draws_whole_groups() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.integers(0, 2, 40), 5).astype(float)
    together = [str(place // 5) for place in range(200)]
    low, high = clustered_interval(values, together)
    apart = clustered_interval(values, [str(place) for place in range(200)])
    # Five equal values a group are one value: the interval is √5 times as wide.
    assert (high - low) / (apart[1] - apart[0]) == pytest.approx(math.sqrt(5), rel=0.1)
    assert low < values.mean() < high
    error = values.std() / math.sqrt(40)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_the_interval_of_unequal_groups_against_all_resamples() -> None:
    totals, counts = [3.0, 0.0, 1.0, 2.0, 4.0, 1.0], [3, 2, 2, 3, 4, 4]
    values = [[1.0] * int(t) + [0.0] * (c - int(t)) for t, c in zip(totals, counts, strict=True)]
    groups = [str(g) for g, row in enumerate(values) for _ in row]
    means = np.sort(
        [
            sum(totals[g] for g in drawn) / sum(counts[g] for g in drawn)
            for drawn in itertools.product(range(6), repeat=6)
        ]
    )
    low, high = clustered_interval(np.array(list(itertools.chain(*values))), groups)
    # BCa moves the percentiles; by little where the law is nearly symmetric.
    assert low == pytest.approx(np.quantile(means, 0.025), abs=0.08)
    assert high == pytest.approx(np.quantile(means, 0.975), abs=0.08)


def test_intervals_of_little_data() -> None:
    assert all(math.isnan(end) for end in clustered_interval(np.array([1.0, 0.0]), ["a", "a"]))
    assert clustered_interval(np.array([1.0, 1.0]), ["a", "b"]) == (1.0, 1.0)
    found = preference_metrics(judge(), TRAINING, HELD_OUT[:2])
    assert "accuracy" in found and "accuracy_low" not in found
    with pytest.raises(ValueError, match="no pair that the data decide"):
        preference_metrics(judge(), TRAINING, HELD_OUT[4:])


def test_the_length_slope_solves_its_equation() -> None:
    rng = np.random.default_rng(1)
    pairs = pairs_of(
        two(f"p{n}", "a" * int(x), "b" * int(y), float(w))
        for n, (x, y, w) in enumerate(
            zip(*rng.integers(1, 200, (2, 60)), rng.random(60), strict=True)
        )
    )
    slope = length_slope(pairs)
    # At the maximum of the likelihood Σ d (w − σ(b·d)) = 0.
    residual = pairs.wanted - 1 / (1 + np.exp(-slope * pairs.longer))
    spread = float(np.sum(np.abs(pairs.longer * residual)))
    assert abs(float(np.sum(pairs.longer * residual))) < 1e-6 * spread
    assert length_slope(pairs_of([two("p", "ab", "cd", 1.0)])) == 0
    assert length_slope(pairs_of([])) == 0
    assert length_slope(pairs_of([two("p", "aaa", "b", 0.0)])) < -1


def test_calibration_of_soft_and_hard_labels() -> None:
    rng = np.random.default_rng(2)
    given = rng.random(300)
    for wanted in (rng.random(300), (rng.random(300) < given).astype(float)):
        p, w = np.concatenate([given, 1 - given]), np.concatenate([wanted, 1 - wanted])
        bins = np.floor(p * 10)
        expected = sum(abs((p - w)[bins == b].sum()) for b in range(10)) / 600
        assert calibration_error(given, wanted) == pytest.approx(expected, rel=1e-9)
    assert calibration_error(given, given) == pytest.approx(0, abs=1e-12)


def test_a_confident_mistake_costs_a_finite_log_loss() -> None:
    assert log_loss(np.array([0.0]), np.array([1.0])) == pytest.approx(12 * math.log(10))


def cyclic() -> Any:
    return ((0.5, 1.0, 0.0), (0.0, 0.5, 1.0), (1.0, 0.0, 0.5))


def test_circles_of_the_judge_and_of_the_data() -> None:
    # The data: a > b > c > a, and all beat d. The judge: a loses to all, b > c > d > b.
    data = (*((*row, 1.0) for row in cyclic()), (0.0, 0.0, 0.0, 0.5))
    held_out = [
        Comparison("x", tuple("abcd"), data, "1"),
        Comparison("x", tuple("abc"), cyclic(), "2"),
        two("x", "a", "b", 1.0),
    ]
    wins = {"ab": 0.1, "ac": 0.2, "ad": 0.3, "bc": 0.9, "cd": 0.8, "bd": 0.4}
    found = preference_metrics(
        Answers({("x", *pair): win for pair, win in wins.items()}), held_out, held_out
    )
    # Four triples of abcd, one of abc: the judge goes in a circle on bcd, the data on abc twice.
    assert found["triples"] == 5
    assert found["intransitive_share"] == pytest.approx(1 / 5, rel=1e-12)
    assert found["intransitive_share_data"] == pytest.approx(2 / 5, rel=1e-12)


class ByReward:
    """σ(r_a − r_b), r the number that a response is."""

    def win_prob(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> Tensor:
        margin = [float(x) - float(y) for x, y in zip(a, b, strict=True)]
        return torch.sigmoid(torch.tensor(margin, dtype=torch.float64))


def test_what_a_reward_learned_has_no_circles() -> None:
    held_out = [Comparison("x", ("1", "3", "2"), cyclic(), "x")]
    found = preference_metrics(ByReward(), held_out, held_out)
    assert (found["intransitive_share"], found["intransitive_share_data"]) == (0, 1)
