"""The Bradley-Terry model that fits a game best, with infinitely many comparisons.

A reward model trained on pairs of samples of ρ, each labelled by P, minimises

    L(r) = −Σ_{y,y'} ρ(y) ρ(y') P(y ≻ y') log σ(r(y) − r(y'))      (Bradley and Terry 1952)

which is convex, strictly so but for a constant. Its minimum is finite if and only if no group of
responses is beaten by nobody outside of it (Ford 1957).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.special import expit
from torch import Tensor

Array = NDArray[np.float64]

GRADIENT_TOLERANCE = 1e-12
"""Largest |gradient| of a score, as a share of its comparisons, that counts as zero."""
MAX_STEPS = 500


class NoFiniteFit(ValueError):
    """The likelihood has no maximum: some scores go to infinity."""


class FitNotFound(RuntimeError):
    """Newton's method ended without a gradient of the promised size."""


def population_reward(preferences: Tensor, probs: Tensor) -> Tensor:
    """argmin_r −Σ ρ(y) ρ(y') P(y ≻ y') log σ(r(y) − r(y')) for each prompt.

    Args:
        preferences: (X, R, R), P + Pᵀ = 1.
        probs: (X, R), ρ, positive: who draws the responses that are compared.

    Returns:
        (X, R) float64, r, with Σ_y ρ(y) r(y) = 0; max_y |∂L/∂r(y)| / ρ(y) is at most 1e-12.

    Raises:
        ValueError: shapes don't fit, or a probability isn't positive.
        NoFiniteFit: some responses never lose to the others; the message names the prompt.
        FitNotFound: the gradient stayed larger.
    """
    prompts, responses = probs.shape
    if tuple(preferences.shape) != (prompts, responses, responses):
        raise ValueError(
            f"preferences: got shape {tuple(preferences.shape)}, "
            f"allowed: {(prompts, responses, responses)}, as probs has {(prompts, responses)}"
        )
    if not bool((probs > 0).all()):
        raise ValueError(f"probs: got a smallest of {float(probs.min())}, allowed: above 0")
    wins, weights = _array(preferences), _array(probs)
    for x in range(prompts):
        winners = never_beaten(wins[x])
        if winners:
            raise NoFiniteFit(
                f"preferences: got prompt {x}, where responses {winners[:5]} never lose to the "
                "others, so that their Bradley-Terry rewards are infinite; allowed: every group of "
                "responses loses to one outside of it with positive probability"
            )
    return torch.from_numpy(np.stack([fit_scores(wins[x], weights[x]) for x in range(prompts)]))


def never_beaten(wins: Array) -> list[int]:
    """A group of responses to which nobody outside of it wins; [] when there is none.

    Args:
        wins: (R, R), above 0 where y wins against y' at times.
    """
    count, group = connected_components(wins > 0, directed=True, connection="strong")
    if count == 1:
        return []
    for each in range(count):
        inside = group == each
        if not (wins[~inside][:, inside] > 0).any():
            return [int(y) for y in np.flatnonzero(inside)]
    raise AssertionError("the groups of a directed graph have no cycle, so one has no way in")


def fit_scores(wins: Array, weights: Array) -> Array:
    """argmin_z −Σ_{y,y'} w(y) w(y') wins[y, y'] log σ(z(y) − z(y')), with Σ_y w(y) z(y) = 0.

    Newton's method with the damped step log(1 + d)/d, d the spread of the Newton direction. It
    can't fail to descend, as |f‴| ≤ f″ for f(z) = −log σ(z) (Sun and Tran-Dinh 2019, theorem 2,
    ν = 2). Rows are divided by their own comparisons, so that rare responses count as much as
    others: a weight may even underflow to 0.

    Args:
        wins: (R, R), 0 or more, for which `never_beaten` gives []. The diagonal counts nothing.
        weights: (R,), w, 0 or more.

    Returns:
        (R,) z; max_y |∂/∂z(y)| / (w(y) · comparisons of y) is at most 1e-12.

    Raises:
        FitNotFound: the gradient stayed larger.
    """
    won = wins * weights
    lost = wins.T * weights
    np.fill_diagonal(won, 0)
    np.fill_diagonal(lost, 0)
    comparisons = (won + lost).sum(1)
    if not (comparisons > 0).all():
        raise FitNotFound(
            f"scores: response {int(comparisons.argmin())} meets no other with positive weight"
        )
    won, lost = won / comparisons[:, None], lost / comparisons[:, None]
    mass = weights * comparisons
    gauge = np.tile(mass / mass.sum(), (len(weights), 1))
    scores = np.zeros(len(weights))
    largest = np.inf
    for _ in range(MAX_STEPS):
        difference = scores[:, None] - scores
        above, below = expit(difference), expit(-difference)
        gradient = (lost * above - won * below).sum(1)
        largest = float(np.abs(gradient).max())
        if largest <= GRADIENT_TOLERANCE:
            return scores - weights @ scores / weights.sum()
        curvature = (won + lost) * above * below
        hessian = np.diag(curvature.sum(1)) - curvature
        direction = -np.linalg.solve(hessian + gauge, gradient)
        spread = float(np.ptp(direction))
        scores = scores + direction * (np.log1p(spread) / spread)
    raise FitNotFound(
        f"scores: gradient {largest:.1e} after {MAX_STEPS} steps, allowed: {GRADIENT_TOLERANCE}"
    )


def _array(tensor: Tensor) -> Array:
    return tensor.detach().to(device="cpu", dtype=torch.float64).numpy()
