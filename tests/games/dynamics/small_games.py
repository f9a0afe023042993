"""Small games for the tests of the dynamics, and the minimum of a loss over all policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from mpo.games.dynamics.oracle import exact_payoffs
from mpo.games.dynamics.protocol import Dynamic
from tests.oracles import Array, random_policy, random_preferences

ROCK_PAPER_SCISSORS = torch.tensor(
    [[[0.5, 1.0, 0.0], [0.0, 0.5, 1.0], [1.0, 0.0, 0.5]]], dtype=torch.float64
)


def random_games(rows: int, actions: int, first_seed: int = 0) -> tuple[Tensor, Tensor]:
    """(rows, actions, actions) preferences and (rows, actions) logarithms of a policy."""
    seeds = range(first_seed, first_seed + rows)
    preferences = np.stack([random_preferences(actions, seed, scale=0.7) for seed in seeds])
    policies = np.stack([random_policy(actions, 100 + seed, scale=0.5) for seed in seeds])
    return torch.from_numpy(preferences), torch.from_numpy(np.log(policies))


def after(dynamic: Dynamic[Any], preferences: Tensor, log_policy: Tensor, steps: int) -> Any:
    """The state after so many steps with exact payoffs."""
    payoffs, state = exact_payoffs(preferences), dynamic.initial(log_policy)
    for _ in range(steps):
        state = dynamic.step(state, payoffs)
    return state


def minimiser(loss: Callable[[Array], float], start: Array) -> Array:
    """The policy of the smallest loss, by a general optimiser over logits, gradients by numbers."""

    def of_logits(logits: Array) -> float:
        weights = np.exp(logits - logits.max())
        return float(loss(weights / weights.sum()))

    # Newton-like first; the simplex search then gets the digits that differences of losses hide.
    rough = minimize(of_logits, np.log(start), method="BFGS", options={"gtol": 1e-9}).x
    fine = {"xatol": 1e-12, "fatol": 1e-18, "maxiter": 5000, "maxfev": 5000}
    found = minimize(of_logits, rough, method="Nelder-Mead", options=fine).x
    weights = np.exp(found - found.max())
    return np.asarray(weights / weights.sum())


def gaps(preferences: Tensor, log_policy: Tensor) -> Tensor:
    """(N,), 2 (max_y P(y ≻ π) − ½)."""
    return 2 * (torch.einsum("nij,nj->ni", preferences, log_policy.exp()).amax(1) - 0.5)
