"""How well a judge predicts held-out comparisons: accuracy, log loss, calibration, intransitivity.

Each number has something beside it that it must beat or meet: chance, and what the lengths of the
two responses alone would give.
"""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize, stats
from torch import Tensor
from torchmetrics.functional.classification import binary_calibration_error

from mpo.judges.intransitivity import intransitive_share
from mpo.judges.protocol import Judge, judge_pairs
from mpo.training.records import Comparison

Array = NDArray[np.float64]
LEVEL = 0.95
RESAMPLES = 4999
SEED = 20260101
CALIBRATION_BINS = 10
JUDGED_AT_ONCE = 32
TIE = 1e-9
"""A win probability this close to ½ is a tie."""
SMALLEST = 1e-12
"""Probabilities are kept this far from 0 and 1 in the log loss."""
STEEPEST = 50.0
"""The largest slope of the length model, in root mean squares of the length difference: where
length separates the training pairs the best slope is infinite."""


class Pairs(NamedTuple):
    """All N unordered pairs (y, y′) of some comparisons."""

    wanted: Array
    """(N,) P(y ≻ y′ | x) of the data."""
    longer: Array
    """(N,) characters of y less those of y′."""
    groups: list[str]
    """N groups; pairs of a group are not independent."""


def preference_metrics(
    judge: Judge, training: Sequence[Comparison], held_out: Sequence[Comparison]
) -> dict[str, float]:
    """Metrics of `judge` on `held_out`; `training` fits the length-only model and nothing else.

    On the pairs that the data decide (P ≠ ½; the others are counted as ties):
    accuracy, accuracy_low, accuracy_high: the share on whose winner the judge agrees, an answer of
        ½ counting ½, with a 95 % interval over groups (none for one group); chance is ½;
    accuracy_longer, accuracy_shorter: of always preferring the longer or the shorter response;
    accuracy_length: of σ(b·d), d the difference in characters, b fitted on `training`;
    accuracy_over_length, …_low, …_high: accuracy less accuracy_length, paired.
    On all pairs:
    log_loss: mean of −w log p − (1 − w) log(1 − p) with the data's w; log_loss_length: of σ(b·d);
        log_loss_chance: log 2; log_loss_floor: the least there is, the entropy of w;
    calibration_error: mean |p̄ − w̄| over ten bins of p, weighted by their pairs, in both orders.
    On comparisons of three responses or more, where there are any:
    intransitive_share, intransitive_share_data: circles among triples, of the judge and the data.

    Raises ValueError when no pair is decided.
    """
    pairs, fitted_on = pairs_of(held_out), pairs_of(training)
    tables = judged(judge, held_out)
    given = np.array(
        [float(table[i, j]) for table in tables for i, j in _places(len(table))], dtype=np.float64
    )
    decided = np.abs(pairs.wanted - 0.5) > TIE
    if not decided.any():
        raise ValueError("held_out: got no pair that the data decide, allowed is at least one")
    by_length = sigmoid(length_slope(fitted_on) * pairs.longer)
    groups = [group for group, kept in zip(pairs.groups, decided, strict=True) if kept]

    def agreement(answers: Array) -> Array:
        signs = np.sign(np.where(np.abs(answers - 0.5) > TIE, answers - 0.5, 0.0))
        return (0.5 + 0.5 * signs * np.sign(pairs.wanted - 0.5))[decided]

    correct, correct_by_length = agreement(given), agreement(by_length)
    return {
        "pairs": int(decided.sum()),
        "ties": int((~decided).sum()),
        "groups": len(set(groups)),
        **_mean_with_ends("accuracy", correct, groups),
        "accuracy_longer": float(agreement(0.5 + np.sign(pairs.longer) / 2).mean()),
        "accuracy_shorter": float(agreement(0.5 - np.sign(pairs.longer) / 2).mean()),
        "accuracy_length": float(correct_by_length.mean()),
        **_mean_with_ends("accuracy_over_length", correct - correct_by_length, groups),
        "log_loss": log_loss(given, pairs.wanted),
        "log_loss_length": log_loss(by_length, pairs.wanted),
        "log_loss_chance": math.log(2),
        "log_loss_floor": log_loss(pairs.wanted, pairs.wanted),
        "calibration_error": calibration_error(given, pairs.wanted),
        **_intransitivity(tables, held_out),
    }


def pairs_of(comparisons: Iterable[Comparison]) -> Pairs:
    """Every pair i < j of the responses of every comparison, comparison by comparison."""
    wanted: list[float] = []
    longer: list[float] = []
    groups: list[str] = []
    for comparison in comparisons:
        lengths = [len(text) for text in comparison.responses]
        for i, j in _places(len(lengths)):
            wanted.append(comparison.wins[i][j])
            longer.append(lengths[i] - lengths[j])
            groups.append(comparison.group)
    return Pairs(np.array(wanted, dtype=np.float64), np.array(longer, dtype=np.float64), groups)


def judged(judge: Judge, comparisons: Sequence[Comparison]) -> list[Tensor]:
    """The judge's (K, K) float64 win probabilities of each comparison's K responses."""
    by_size: dict[int, list[int]] = defaultdict(list)
    for place, comparison in enumerate(comparisons):
        by_size[len(comparison.responses)].append(place)
    tables: dict[int, Tensor] = {}
    for size, places in by_size.items():
        for start in range(0, len(places), JUDGED_AT_ONCE):
            chosen = places[start : start + JUDGED_AT_ONCE]
            prompts = [comparisons[place].prompt for place in chosen]
            texts = [comparisons[place].responses for place in chosen]
            met = ~torch.eye(size, dtype=torch.bool).expand(len(chosen), -1, -1)
            answers = judge_pairs(judge, prompts, texts, texts, met, own_pairs=True)
            tables.update(zip(chosen, answers, strict=True))
    return [tables[place] for place in range(len(comparisons))]


def length_slope(pairs: Pairs) -> float:
    """b of P(y ≻ y′) = σ(b·(|y| − |y′|)), by maximum likelihood; 0 without pairs.

    Without an intercept: the order in which a pair is written says nothing.
    """
    scale = math.sqrt(float(np.mean(pairs.longer**2))) if len(pairs.longer) else 0.0
    if scale == 0:
        return 0.0

    def loss(slope: float) -> float:
        margin = slope * pairs.longer / scale
        # −w log σ(m) − (1 − w) log σ(−m) = log(1 + exp(m)) − w·m
        return float(np.mean(np.logaddexp(0, margin) - pairs.wanted * margin))

    found = optimize.minimize_scalar(
        loss, bounds=(-STEEPEST, STEEPEST), method="bounded", options={"xatol": 1e-9}
    )
    return float(found.x) / scale


def sigmoid(margin: Array) -> Array:
    """σ(m), without overflow."""
    return np.exp(-np.logaddexp(0, -margin))


def log_loss(given: Array, wanted: Array) -> float:
    """Mean of −w log p − (1 − w) log(1 − p), in nats."""
    p = np.clip(given, SMALLEST, 1 - SMALLEST)
    return float(np.mean(-wanted * np.log(p) - (1 - wanted) * np.log1p(-p)))


def calibration_error(given: Array, wanted: Array) -> float:
    """Expected calibration error of p against the data's w, soft or hard, both orders of a pair."""
    both = torch.from_numpy(np.concatenate([given, 1 - given]))
    targets = torch.from_numpy(np.concatenate([wanted, 1 - wanted]))
    # torchmetrics checks for labels of 0 and 1 and otherwise averages what it is given.
    error = binary_calibration_error(
        both, targets, n_bins=CALIBRATION_BINS, norm="l1", validate_args=False
    )
    return float(error)


def clustered_interval(values: Array, groups: Sequence[str]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of values (N,), whole groups drawn with replacement.

    nan for a single group. The mean of a resample is Σ values / Σ pairs of the groups drawn.
    """
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for value, group in zip(values.tolist(), groups, strict=True):
        sums[group][0] += value
        sums[group][1] += 1
    totals, counts = np.array(list(sums.values()), dtype=np.float64).reshape(-1, 2).T
    if len(totals) < 2:
        return math.nan, math.nan
    if np.ptp(totals / counts) == 0:
        return float(values.mean()), float(values.mean())

    def ratio(total: Array, count: Array, axis: int = -1) -> Array:
        return np.asarray(total.sum(axis=axis) / count.sum(axis=axis))

    low = high = math.nan
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            # scipy warns where BCa degenerates; the loop then takes the percentile interval.
            warnings.simplefilter("ignore")
            interval = stats.bootstrap(
                (totals, counts),
                ratio,
                n_resamples=RESAMPLES,
                confidence_level=LEVEL,
                method=method,
                paired=True,
                vectorized=True,
                rng=np.random.default_rng(SEED),
            ).confidence_interval
        low, high = float(interval.low), float(interval.high)
        if math.isfinite(low) and math.isfinite(high):
            break
    return low, high


def _mean_with_ends(name: str, values: Array, groups: Sequence[str]) -> dict[str, float]:
    ends = clustered_interval(values, groups)
    mean = {name: float(values.mean())}
    return (
        mean if math.isnan(ends[0]) else {**mean, f"{name}_low": ends[0], f"{name}_high": ends[1]}
    )


def _places(size: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(size) for j in range(i + 1, size)]


def _intransitivity(
    tables: Sequence[Tensor], comparisons: Sequence[Comparison]
) -> dict[str, float]:
    circles, circles_data, triples = 0.0, 0.0, 0
    for table, comparison in zip(tables, comparisons, strict=True):
        count = math.comb(len(comparison.responses), 3)
        if count:
            wanted = torch.tensor(comparison.wins, dtype=torch.float64)
            circles += count * intransitive_share(table)
            circles_data += count * intransitive_share(wanted)
            triples += count
    if not triples:
        return {}
    return {
        "triples": triples,
        "intransitive_share": circles / triples,
        "intransitive_share_data": circles_data / triples,
    }
