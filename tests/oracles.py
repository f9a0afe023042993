"""Independent maths for the tests: numpy and plain loops, slow and obvious.

Nothing here imports the code under test, except for the types of what it is given.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

Array = NDArray[np.float64]


def random_preferences(size: int, seed: int, scale: float = 2.0) -> Array:
    """(size, size) with P + Pᵀ = 1: logistic of a random antisymmetric matrix."""
    draw = np.random.default_rng(seed).normal(size=(size, size))
    return np.asarray(1 / (1 + np.exp(-scale * (draw - draw.T))))


def random_policy(size: int, seed: int, scale: float = 1.0) -> Array:
    """(size,), softmax of normal logits."""
    weights = np.exp(scale * np.random.default_rng(seed).normal(size=size))
    return np.asarray(weights / weights.sum())


def best_response_value_by_lp(preferences: Array, policy: Array) -> float:
    """max over mixed deviations d of d·P·π, as a linear program over the simplex."""
    size = len(policy)
    solved = linprog(
        c=-(preferences @ policy),
        A_eq=np.ones((1, size)),
        b_eq=[1.0],
        bounds=[(0, 1)] * size,
        method="highs",
    )
    return float(-solved.fun)


def duality_gap_by_lp(preferences: Array, policy: Array) -> float:
    """Gain of the row player plus gain of the column player, each found by its own program."""
    row_gain = best_response_value_by_lp(preferences, policy)
    # The column player minimises π·P·d, which is to maximise d·(−Pᵀ)·π.
    column_value = -best_response_value_by_lp(-preferences.T, policy)
    return row_gain - column_value


def all_responses(symbols: int, max_tokens: int) -> list[tuple[int, ...]]:
    """Tokens that count of every response; ended ones end in EOS = symbols."""
    found: list[tuple[int, ...]] = []
    for length in range(max_tokens):
        for word in itertools.product(range(symbols), repeat=length):
            found.append((*word, symbols))
    found.extend(itertools.product(range(symbols), repeat=max_tokens))
    return found


def response_text(tokens: tuple[int, ...], eos: int) -> str:
    """The text of a response: its symbols joined by spaces."""
    return " ".join(str(token) for token in tokens if token != eos)


def sequence_log_prob(
    next_log_prob: dict[tuple[int, ...], Array], tokens: tuple[int, ...]
) -> float:
    """log π(y): the sum of its tokens' log-probabilities, from a table by prefix."""
    return math.fsum(
        float(next_log_prob[tokens[:position]][token]) for position, token in enumerate(tokens)
    )


def sequential_kl(
    policy: dict[tuple[int, ...], Array],
    other: dict[tuple[int, ...], Array],
    tokens: tuple[int, ...],
) -> float:
    """Σ_t KL(π(·|y_<t) ‖ μ(·|y_<t)) along one response; tables of log-probabilities by prefix."""
    total = 0.0
    for position in range(len(tokens)):
        here, there = policy[tokens[:position]], other[tokens[:position]]
        total += float(np.sum(np.exp(here) * (here - there)))
    return total


def kl(policy: Array, other: Array) -> float:
    """KL(π ‖ μ) of two enumerated distributions; 0 log 0 = 0."""
    return math.fsum(
        p * (math.log(p) - math.log(q)) for p, q in zip(policy, other, strict=True) if p > 0
    )


def next_token_probs(
    responses: list[tuple[int, ...]], policy: Array, prefix: tuple[int, ...], vocabulary: int
) -> Array:
    """(vocabulary,): π(a | prefix), by summing the responses that begin so."""
    mass = np.zeros(vocabulary)
    for tokens, probability in zip(responses, policy, strict=True):
        if len(tokens) > len(prefix) and tokens[: len(prefix)] == prefix:
            mass[tokens[len(prefix)]] += probability
    return mass / mass.sum()


def expected_win_after(
    responses: list[tuple[int, ...]],
    policy: Array,
    preferences: Array,
    prefix: tuple[int, ...],
    token: int,
) -> float:
    """Q^π(s, a) = E[P(y ≻ π) | y begins with s, a], by summing the responses that begin so."""
    wins = preferences @ policy
    start = (*prefix, token)
    total, mass = 0.0, 0.0
    for index, tokens in enumerate(responses):
        if tokens[: len(start)] == start:
            total += float(policy[index] * wins[index])
            mass += float(policy[index])
    return total / mass
