"""What reward-based methods converge to with infinitely many samples, solved without learning.

X prompts, R responses. `log_reference` is log π_ref(y | x), normalised or not; what is returned
is normalised.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mpo.games.bradley_terry_fit import Array, NoFiniteFit, fit_scores, never_beaten
from mpo.games.selection import check_selection, sampled_best_and_worst, selection_odds


def tilted_reference(log_reference: Tensor, rewards: Tensor, beta: float) -> Tensor:
    """argmax_π E_π[r] − β KL(π ‖ π_ref) ∝ π_ref exp(r/β): where PPO with a KL penalty goes.

    Args:
        log_reference: (X, R).
        rewards: (X, R).
        beta: β, positive.

    Returns:
        (X, R) log-probabilities.

    Raises:
        ValueError: β isn't positive.
    """
    _check_positive("beta", beta)
    return torch.log_softmax(log_reference + rewards / beta, dim=-1)


def no_self_play(preferences: Tensor, log_initial: Tensor, alpha: float) -> Tensor:
    """π ∝ π_0 exp(P(· ≻ π_0)/α): the opponent and the magnet both stay the initial policy.

    Args:
        preferences: (X, R, R).
        log_initial: (X, R), log π_0, normalised.
        alpha: α, positive.

    Returns:
        (X, R) log-probabilities.

    Raises:
        ValueError: α isn't positive.
    """
    _check_positive("alpha", alpha)
    wins = (preferences @ log_initial.exp()[..., None])[..., 0]
    return tilted_reference(log_initial, wins, alpha)


def population_dpo(
    log_reference: Tensor, pairs: Tensor, beta: float, label_smoothing: float
) -> Tensor:
    """DPO's minimiser over all policies (Rafailov et al. 2023; ε: Mitchell 2023).

    min_π Σ_{w,l} W(w, l) · −[(1 − ε) log σ(z) + ε log σ(−z)], z = β (h(w) − h(l)),
    h = log π/π_ref. In β h it is a Bradley-Terry fit; then π ∝ π_ref exp(h).

    Args:
        log_reference: (X, R).
        pairs: (X, R, R), W, how often w is preferred to l, 0 or more. The diagonal counts nothing.
        beta: β, positive.
        label_smoothing: ε in [0, ½).

    Returns:
        (X, R) log-probabilities.

    Raises:
        ValueError: β or ε is out of range.
        NoFiniteFit: some responses never lose to the others; the message names the prompt.
        FitNotFound: the minimiser wasn't found to the promised accuracy.
    """
    _check_dpo(beta, label_smoothing)
    ones = torch.ones_like(log_reference, dtype=torch.float64)
    return _dpo_round(log_reference, ones, _array(pairs), beta, label_smoothing)


def iterated_population_dpo(
    log_reference: Tensor,
    rewards: Tensor,
    n: int,
    beta: float,
    label_smoothing: float,
    rounds: int,
) -> Tensor:
    """`population_dpo` on best and worst of n samples of the reference, round after round.

    The reference moves to the solution at the end of each round.

    Args:
        log_reference: (X, R), the first round's.
        rewards: (X, R), which choose best and worst.
        n: samples; 2 or more.
        beta: β, positive.
        label_smoothing: ε in (0, ½); at 0 the order is never reversed and no minimum is finite.
        rounds: 1 or more.

    Returns:
        (X, R) log-probabilities after the last round.

    Raises:
        ValueError: a value is out of range.
        NoFiniteFit, FitNotFound: as `population_dpo`.
    """
    _check_dpo(beta, label_smoothing)
    check_selection(log_reference, rewards, n)
    reward = _array(rewards)
    current = torch.log_softmax(log_reference.to(torch.float64), dim=-1)
    for _ in range(rounds):
        probs = _array(current.exp())
        # Odds instead of the law itself: a response may be rarer than the smallest float64.
        odds = np.stack([selection_odds(p, r, n) for p, r in zip(probs, reward, strict=True)])
        current = _dpo_round(current, current.exp(), odds, beta, label_smoothing)
    return current


def iterated_judged_dpo(
    log_reference: Tensor,
    preferences: Tensor,
    n: int,
    beta: float,
    label_smoothing: float,
    rounds: int,
    draws: int,
    seed: int,
) -> Tensor:
    """The same where best and worst are chosen by mean win over the n samples.

    The law of best and worst is `sampled_best_and_worst`'s estimate from `draws` sets with `seed`;
    preferences is (X, R, R), all else as in `iterated_population_dpo`. At ε = 0 a minimum may be
    finite: a cycle reverses orders.
    """
    _check_dpo(beta, label_smoothing)
    current = torch.log_softmax(log_reference.to(torch.float64), dim=-1)
    for _ in range(rounds):
        law = sampled_best_and_worst(current.exp(), preferences, n, draws, seed)
        current = population_dpo(current, law, beta, label_smoothing)
    return current


def _dpo_round(
    log_reference: Tensor, weights: Tensor, pairs: Array, beta: float, label_smoothing: float
) -> Tensor:
    """π_ref exp(h), with W(w, l) = weights(w) weights(l) pairs[w, l]."""
    kept, reversed_share = 1 - label_smoothing, label_smoothing
    tilts = []
    for x, (weight, law) in enumerate(zip(_array(weights), pairs, strict=True)):
        wins = kept * law + reversed_share * law.T
        winners = never_beaten(wins)
        if winners:
            raise NoFiniteFit(
                f"pairs: got prompt {x}, where responses {winners[:5]} never lose to the others, "
                "so that DPO drives their probability ratio to infinity; allowed: a "
                "label_smoothing above 0 and all responses compared, or pairs that occur in both "
                "orders"
            )
        tilts.append(fit_scores(wins, weight))
    return tilted_reference(
        log_reference.to(torch.float64), torch.from_numpy(np.stack(tilts)), beta
    )


def _check_dpo(beta: float, label_smoothing: float) -> None:
    _check_positive("beta", beta)
    if not 0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing: got {label_smoothing}, allowed: 0 to below 0.5")


def _check_positive(field: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ValueError(f"{field}: got {value}, allowed: above 0 and finite")


def _array(tensor: Tensor) -> Array:
    return tensor.detach().to(device="cpu", dtype=torch.float64).numpy()
