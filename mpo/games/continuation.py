"""Solves π = answer(β S π) by following the curve of its solutions from β = 0.

Newton's method from an arbitrary start isn't reliable at large β, where answers are nearly pure.
At β = 0 the solution is known, v = 0 in v = β S answer(v), and from there the curve of solutions
(v, β) is followed by arc length. Following β itself would stop where the curve turns back, which
it may do where the answer isn't the gradient of a convex function (``per_token``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mpo.games.solve import EquilibriumNotFound

Array = NDArray[np.float64]
Answer = Callable[[Array], tuple[Array, Array]]
"""Scaled payoffs (R,) -> policy (R,) and its Jacobian (R, R)."""

NEWTON_TOLERANCE = 1e-13
FIRST_STEP = 0.5
SHARPEST_TURN = 0.8  # cosine between neighbouring tangents: keeps to the curve at sharp bends
QUICK_ROUNDS = 5
MAX_ROUNDS = 12
MAX_STEPS = 2000
SHORTEST_STEP = 1e-9


def follow(answer: Answer, skew: Array, alpha: float) -> Array:
    """Pseudo-arc-length continuation of v = β S answer(v) from (0, 0) to β = 1/α.

    Args:
        answer: the policy that answers scaled payoffs.
        skew: (R, R), S = P − ½.
        alpha: α, positive and finite.

    Returns:
        (R,) the policy at β = 1/α on the curve that starts at answer(0).

    Raises:
        ValueError: α is out of range.
        EquilibriumNotFound: the curve didn't arrive within ``MAX_STEPS`` steps, or a step became
            too short.
    """
    if not 0 < alpha < float("inf"):
        raise ValueError(f"alpha: got {alpha}, allowed: above 0 and finite")
    goal, size, step = 1 / alpha, len(skew), FIRST_STEP
    last_row = np.append(np.zeros(size), 1.0)
    point, tangent = np.zeros(size + 1), last_row
    tangent = _tangent(_equation(answer, skew, point)[1], tangent)
    for _ in range(MAX_STEPS):
        left = goal - point[-1]
        arrives = tangent[-1] > 0 and left <= step * tangent[-1]
        length = left / tangent[-1] if arrives else step
        start = point + length * tangent
        # The last leg holds β at the goal; the others may move it, to get round a fold.
        found, rounds = _correct(answer, skew, start, last_row if arrives else tangent)
        if found is not None:
            if arrives:
                return answer(found[:-1])[0]
            turned = _tangent(_equation(answer, skew, found)[1], tangent)
            if turned @ tangent >= SHARPEST_TURN:
                point, tangent = found, turned
                step = step * 2 if rounds <= QUICK_ROUNDS else step
                continue
        step = min(step, length) / 2
        if step < SHORTEST_STEP:
            break
    raise EquilibriumNotFound(
        f"regularised equilibrium at alpha {alpha}: the curve was followed to 1/alpha "
        f"{point[-1]:.4g} only, wanted {goal:.4g}"
    )


def _equation(answer: Answer, skew: Array, point: Array) -> tuple[Array, Array]:
    """v − β S answer(v) at point (v, β): value (R,) and Jacobian (R, R + 1)."""
    payoffs, beta = point[:-1], point[-1]
    policy, slope = answer(payoffs)
    wins = skew @ policy
    jacobian = np.column_stack([np.eye(len(payoffs)) - beta * (skew @ slope), -wins])
    return payoffs - beta * wins, jacobian


def _tangent(jacobian: Array, before: Array) -> Array:
    """The unit vector along the curve that goes on in the direction ``before``."""
    ahead = np.append(np.zeros(len(jacobian)), 1.0)
    tangent: Array = np.linalg.solve(np.vstack([jacobian, before]), ahead)
    return tangent / np.linalg.norm(tangent)


def _correct(answer: Answer, skew: Array, start: Array, normal: Array) -> tuple[Array | None, int]:
    """Newton's method in the plane through ``start`` across ``normal``; None if it isn't quick."""
    point, change = start, float("inf")
    for rounds in range(1, MAX_ROUNDS + 1):
        value, jacobian = _equation(answer, skew, point)
        matrix, target = np.vstack([jacobian, normal]), np.append(value, normal @ (point - start))
        try:
            move = np.linalg.solve(matrix, target)
        except np.linalg.LinAlgError:
            break  # a start where the equation is singular: a shorter step will avoid it
        point = point - move
        before, change = change, float(np.abs(move).max())
        if change <= NEWTON_TOLERANCE * max(1.0, float(np.abs(point).max())):
            return point, rounds
        if not change < 2 * before:
            break
    return None, MAX_ROUNDS
