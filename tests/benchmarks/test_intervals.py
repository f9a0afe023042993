"""Intervals against closed forms, coverage by simulation, and degenerate data without warnings."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from benchmarks.intervals import (
    mean_band,
    mean_interval,
    minimum_detectable,
    paired_difference,
    paired_ratio,
    student_interval,
)


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """Every test here fails on any warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_mean_interval_matches_the_normal_limit_for_many_values() -> None:
    values = np.random.default_rng(0).normal(0.3, 0.2, 400)
    found = mean_interval(values)
    half = 1.96 * values.std() / math.sqrt(400)
    assert found.value == pytest.approx(values.mean(), rel=1e-12)
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert found.n == 400


def test_intervals_cover_the_mean_about_as_often_as_they_say() -> None:
    draws = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        found = mean_interval(draws.exponential(1.0, 60), resamples=499)
        hits += found.low <= 1.0 <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_the_same_values_give_the_same_interval_and_another_seed_another() -> None:
    values = np.random.default_rng(2).random(12)
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval(values, seed=1) != mean_interval(values, seed=2)


@pytest.mark.parametrize("n", [2, 5, 128])
def test_equal_values_give_the_point(n: int) -> None:
    assert mean_interval([0.25] * n) == (0.25, 0.25, 0.25, n)


def test_one_value_has_no_interval_and_none_no_value() -> None:
    one, none = mean_interval([0.3]), mean_interval([])
    assert (one.value, one.n) == (0.3, 1)
    assert math.isnan(one.low) and math.isnan(one.high)
    assert math.isnan(none.value) and none.n == 0


def test_one_value_that_differs_still_gives_a_finite_interval() -> None:
    found = mean_interval([0.0] * 127 + [1.0])
    assert 0 <= found.low <= found.value <= found.high < 0.1


def test_not_finite_values_are_refused_with_their_place() -> None:
    with pytest.raises(ValueError, match=r"values: not finite at positions \[1\]"):
        mean_interval([0.1, math.nan])


def test_pairing_removes_what_the_pairs_share() -> None:
    draws = np.random.default_rng(3)
    shared = draws.normal(0, 5, 50)
    first, second = shared + draws.normal(0.2, 0.1, 50), shared + draws.normal(0, 0.1, 50)
    found = paired_difference(first, second)
    test = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert (found.student_low, found.student_high) == pytest.approx((test.low, test.high), rel=1e-9)
    assert found.high - found.low < 0.1
    assert found.resolved and found.value == pytest.approx((first - second).mean())


def test_a_difference_is_resolved_only_when_students_interval_agrees() -> None:
    # The bootstrap's interval of five like-signed values always excludes 0.
    found = paired_difference([0.0] * 5, [0.001, 0.001, 0.001, 0.001, 1.0])
    assert found.high < 0 < found.student_high
    assert not found.resolved


def test_equal_pairs_and_single_pairs() -> None:
    equal = paired_difference([0.1, 0.2], [0.1, 0.2])
    assert equal[:3] == (0.0, 0.0, 0.0) and not equal.resolved
    shifted = paired_difference([0.25, 0.75], [0.5, 1.0])
    assert shifted[:3] == (-0.25, -0.25, -0.25) and shifted.resolved
    single = paired_difference([0.1], [0.3])
    assert single.value == pytest.approx(-0.2) and math.isnan(single.low) and not single.resolved
    assert math.isnan(paired_difference([], []).value)


def test_pairs_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="got 2 and 1 values"):
        paired_difference([0.1, 0.2], [0.1])


def test_ratio_is_of_the_means() -> None:
    found = paired_ratio([0.1, 0.3, 0.2], [0.4, 0.8, 0.6])
    assert found.value == pytest.approx(0.6 / 1.8)
    assert found.low <= found.value <= found.high
    assert paired_ratio([0.5, 0.5], [1.0, 1.0]) == (0.5, 0.5, 0.5, 2)


def test_ratio_to_zero_is_not_a_number() -> None:
    assert math.isnan(paired_ratio([0.1, 0.2], [0.0, 0.0]).value)
    partly = paired_ratio([0.1, 0.2], [0.0, 0.4])
    assert partly.value == pytest.approx(0.75) and math.isnan(partly.low)
    assert math.isnan(paired_ratio([], []).value)


def test_minimum_detectable_is_2_8_standard_errors_for_many_values() -> None:
    values = np.random.default_rng(4).normal(0, 1, 5000)
    assert minimum_detectable(values) == pytest.approx(2.8 * values.std() / 5000**0.5, rel=0.01)
    assert math.isnan(minimum_detectable([0.1]))


def test_minimum_detectable_is_found_with_about_the_power_it_says() -> None:
    pilot = np.tile([-1.0, 1.0], 10)
    draws = np.random.default_rng(5)
    samples = draws.normal(minimum_detectable(pilot), pilot.std(ddof=1), (4000, 20))
    found = stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05
    assert 0.74 <= found.mean() <= 0.86


def test_student_interval_of_few_values() -> None:
    assert math.isnan(student_interval([]).value)
    assert math.isnan(student_interval([1.0]).low)
    found = student_interval([1.0, 3.0])
    assert found.high - 2.0 == pytest.approx(stats.t.ppf(0.975, 1) * 1.0)


def test_band_is_pointwise_and_encloses_the_mean() -> None:
    curves = np.random.default_rng(6).random((5, 7))
    curves[:, 3] = 0.5
    mean, low, high = mean_band(curves)
    np.testing.assert_allclose(mean, curves.mean(axis=0), rtol=1e-12)
    assert (low <= mean).all() and (mean <= high).all()
    assert low[3] == high[3] == 0.5
    assert (low >= curves.min(axis=0)).all() and (high <= curves.max(axis=0)).all()


def test_band_of_one_run_is_no_band() -> None:
    mean, low, high = mean_band([[0.1, 0.2]])
    assert mean.tolist() == [0.1, 0.2]
    assert np.isnan(low).all() and np.isnan(high).all()
