"""Interval estimates of means, paired differences and ratios (design.md section 1, point 3).

Intervals are bootstrap intervals of scipy.stats.bootstrap with a fixed seed, so that the same
results always give the same table. Few values give a bootstrap interval that is too narrow;
`Difference.resolved` therefore also asks Student's interval.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

LEVEL = 0.95
POWER = 0.80
RESAMPLES = 4999
SEED = 20260101

Array = NDArray[np.float64]


class Interval(NamedTuple):
    """A point estimate with the ends of its 95 % interval; nan where none can be given."""

    value: float
    low: float
    high: float
    n: int


class Difference(NamedTuple):
    """A paired difference first - second with two intervals and what it could have seen.

    low, high are the bootstrap's ends, student_low and student_high those of Student's t;
    minimum_detectable is the smallest true difference that a test at 5 % finds with 80 % power.
    unit says what n counts: seeds or prompts.
    """

    value: float
    low: float
    high: float
    n: int
    student_low: float
    student_high: float
    minimum_detectable: float
    unit: str = "seeds"

    @property
    def resolved(self) -> bool:
        """True when both intervals exclude 0."""
        below = self.high < 0 and self.student_high < 0
        above = self.low > 0 and self.student_low > 0
        return below or above


def _finite(values: ArrayLike, field: str) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{field}: got an array of shape {array.shape}, allowed is (n,)")
    if not np.isfinite(array).all():
        bad = np.flatnonzero(~np.isfinite(array)).tolist()
        raise ValueError(f"{field}: not finite at positions {bad}, allowed are finite numbers")
    return array


def _bootstrap(
    data: Sequence[Array], statistic: Callable[..., Array], seed: int, resamples: int
) -> tuple[float, float]:
    """Ends of the BCa interval, or of the percentile interval where BCa is not defined."""
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            # scipy warns where BCa degenerates; the loop then takes the percentile interval.
            warnings.simplefilter("ignore")
            interval = stats.bootstrap(
                tuple(data),
                statistic,
                n_resamples=resamples,
                confidence_level=LEVEL,
                method=method,
                paired=len(data) > 1,
                vectorized=True,
                rng=np.random.default_rng(seed),
            ).confidence_interval
        low, high = float(interval.low), float(interval.high)
        if math.isfinite(low) and math.isfinite(high):
            break
    return low, high


def _mean(sample: Array, axis: int = -1) -> Array:
    return np.asarray(np.mean(sample, axis=axis))


def _ratio(first: Array, second: Array, axis: int = -1) -> Array:
    return np.asarray(np.mean(first, axis=axis) / np.mean(second, axis=axis))


def mean_interval(values: ArrayLike, seed: int = SEED, resamples: int = RESAMPLES) -> Interval:
    """Mean of values (n,) with its 95 % bootstrap interval.

    n = 0 gives nan, n = 1 the point without an interval, equal values the point as interval.
    Raises ValueError for a value that is not finite.
    """
    array = _finite(values, "values")
    if array.size == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(array.mean())
    if array.size == 1:
        return Interval(mean, math.nan, math.nan, 1)
    if np.ptp(array) == 0:
        point = float(array[0])
        return Interval(point, point, point, array.size)
    low, high = _bootstrap([array], _mean, seed, resamples)
    return Interval(mean, low, high, array.size)


def paired_difference(
    first: ArrayLike, second: ArrayLike, seed: int = SEED, resamples: int = RESAMPLES
) -> Difference:
    """Mean of first - second, both (n,) and paired by position.

    Raises ValueError when the lengths differ or a value is not finite.
    """
    a, b = _paired(first, second)
    delta = a - b
    if delta.size < 2 or np.ptp(delta) == 0:
        low = high = student_low = student_high = detectable = math.nan
        value = float(delta.mean()) if delta.size else math.nan
        if delta.size > 1:
            low = high = student_low = student_high = value
            detectable = 0.0
        return Difference(value, low, high, delta.size, student_low, student_high, detectable)

    def difference(x: Array, y: Array, axis: int = -1) -> Array:
        return np.asarray(np.mean(x - y, axis=axis))

    low, high = _bootstrap([a, b], difference, seed, resamples)
    student = student_interval(delta)
    return Difference(
        float(delta.mean()),
        low,
        high,
        delta.size,
        student.low,
        student.high,
        minimum_detectable(delta),
    )


def paired_ratio(
    first: ArrayLike, second: ArrayLike, seed: int = SEED, resamples: int = RESAMPLES
) -> Interval:
    """mean(first) / mean(second), both (n,) and paired by position; nan where mean(second) is 0.

    Raises ValueError when the lengths differ or a value is not finite.
    """
    a, b = _paired(first, second)
    if a.size == 0 or float(b.mean()) == 0.0:
        return Interval(math.nan, math.nan, math.nan, a.size)
    ratio = float(a.mean() / b.mean())
    if a.size == 1 or (b <= 0).any():
        # A resample's mean(second) could be 0 or change sign: the ratio then has no interval.
        return Interval(ratio, math.nan, math.nan, a.size)
    if np.ptp(a) == 0 and np.ptp(b) == 0:
        return Interval(ratio, ratio, ratio, a.size)
    low, high = _bootstrap([a, b], _ratio, seed, resamples)
    return Interval(ratio, low, high, a.size)


def student_interval(values: ArrayLike) -> Interval:
    """Mean of values (n,) with Student's 95 % interval; nan ends for n < 2."""
    array = _finite(values, "values")
    if array.size == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = float(array.mean())
    if array.size == 1:
        return Interval(mean, math.nan, math.nan, 1)
    half = float(stats.t.ppf((1 + LEVEL) / 2, array.size - 1)) * standard_error(array)
    return Interval(mean, mean - half, mean + half, array.size)


def share_interval(hits: int, n: int) -> Interval:
    """Share of n cases with Wilson's 95 % interval, which also holds at 0 and at n; nan for n = 0.

    Wilson (1927): the shares p at which the score (hits/n − p) / √(p (1 − p)/n) is within z.
    """
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    ends = stats.binomtest(hits, n).proportion_ci(LEVEL, method="wilson")
    return Interval(hits / n, float(ends.low), float(ends.high), n)


def standard_error(values: ArrayLike) -> float:
    """Standard error of the mean of values (n,); nan for n < 2."""
    array = _finite(values, "values")
    if array.size < 2:
        return math.nan
    return float(array.std(ddof=1) / math.sqrt(array.size))


def minimum_detectable(values: ArrayLike) -> float:
    """Smallest true mean that a two-sided test at 5 % tells from 0 with 80 % power.

    (t_{0.975} + t_{0.8}) standard errors with n - 1 degrees of freedom, which is 2.8 standard
    errors for large n; nan for n < 2.
    """
    array = _finite(values, "values")
    if array.size < 2:
        return math.nan
    freedom = array.size - 1
    factor = stats.t.ppf((1 + LEVEL) / 2, freedom) + stats.t.ppf(POWER, freedom)
    return float(factor) * standard_error(array)


def mean_band(curves: ArrayLike, seed: int = SEED) -> tuple[Array, Array, Array]:
    """Mean (K,) of curves (n, K) with its pointwise 95 % percentile band: mean, low, high.

    One run has no band: low and high are then nan.
    """
    array = np.asarray(curves, dtype=np.float64)
    mean = array.mean(axis=0)
    if array.shape[0] < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    draws = np.random.default_rng(seed).integers(array.shape[0], size=(1999, array.shape[0]))
    means = array[draws].mean(axis=1)
    tail = (1 - LEVEL) / 2
    return mean, np.quantile(means, tail, axis=0), np.quantile(means, 1 - tail, axis=0)


def _paired(first: ArrayLike, second: ArrayLike) -> tuple[Array, Array]:
    a, b = _finite(first, "first"), _finite(second, "second")
    if a.size != b.size:
        raise ValueError(f"first and second: got {a.size} and {b.size} values, must be as many")
    return a, b
