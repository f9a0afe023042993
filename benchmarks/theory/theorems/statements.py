"""Counter-examples to statements of the paper: equations, algorithm, lemmas and theorems."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.theory.theorems.findings import (
    NEAR_UNIFORM,
    ROCK_PAPER_SCISSORS,
    Finding,
    Line,
    logs,
    small,
    transitive,
)
from benchmarks.theory.theorems.games import divergence, follow, gaps, payoffs
from benchmarks.theory.theorems.moving_magnet import round_rate
from benchmarks.theory.theorems.rounds import entropic_rounds, regularised_equilibria
from mpo.games.dynamics.magnetic import MMD, MPO
from mpo.games.dynamics.mirror import MWU
from mpo.games.dynamics.protocol import Dynamic
from mpo.games.equilibrium_set import equilibrium_set
from mpo.games.win_probabilities import from_logits, from_margins


def opponent() -> Finding:
    """(7) and Algorithm 1 take the magnet for the opponent."""
    alpha, eta, interval, rounds = 0.2, 0.5, 50, 100
    ends = {}
    for name in ("policy", "snapshot"):
        dynamic = MPO(alpha=alpha, eta=eta, magnet_interval=interval, opponent=name)
        ends[name] = _run(dynamic, ROCK_PAPER_SCISSORS, NEAR_UNIFORM, rounds * interval)[::interval]
    gap = {name: gaps(ROCK_PAPER_SCISSORS, path)[:, 0] for name, path in ends.items()}
    # The payoff P μ is the same in all steps of a round, which sum to one step of MD.
    stepsize = (1 - (1 + eta * alpha) ** -interval) / alpha
    mirror = _run(MWU(eta=stepsize), ROCK_PAPER_SCISSORS, NEAR_UNIFORM, rounds)
    apart = float((ends["snapshot"].exp() - mirror.exp()).abs().max())
    x = interval * torch.arange(rounds + 1, dtype=torch.float64)
    numbers = {
        "gap_policy": float(gap["policy"][-1]),
        "gap_magnet": float(gap["snapshot"][-1]),
        "apart_from_mirror_descent": apart,
    }
    return Finding(
        "opponent",
        "(7), (8) and Algorithm 1",
        "the opponent y₂ is a sample of the magnet",
        f"On rock-paper-scissors the gap ends at {numbers['gap_magnet']:.3g} with the magnet as "
        f"the opponent and at {numbers['gap_policy']:.1e} with the policy, as (4) and the theorems "
        f"have it. The magnets are mirror descent's iterates with stepsize {stepsize:.3g}, to "
        f"{apart:.0e}, which spiral out.",
        numbers,
        (
            Line("opponent: policy", x, gap["policy"]),
            Line("opponent: magnet", x, gap["snapshot"]),
        ),
        "step",
    )


def sign() -> Finding:
    """In (6) π_1 minimises P(π_1 ≻ π_2): both players look for the worst response."""
    game, alpha, rounds = transitive(), 0.1, 40
    start = torch.full((1, len(game)), -math.log(len(game)), dtype=torch.float64)
    # min over π_1 of P(π_1 ≻ π_2) + α KL is solved by π ∝ μ exp(−P π / α): the game Pᵀ.
    paths = {
        "π_1 maximises, (3)": entropic_rounds(game[None], start, alpha, rounds),
        "π_1 minimises, (6)": entropic_rounds(game.T[None], start, alpha, rounds),
    }
    right, wrong = paths.values()
    worst = int(game.mean(1).argmin())
    numbers = {
        "gap_maximising": float(gaps(game, right)[-1, 0]),
        "gap_minimising": float(gaps(game, wrong)[-1, 0]),
        "probability_of_worst_minimising": float(wrong[-1, 0, worst].exp()),
        "largest_gap_possible": float(2 * game.amax() - 1),
    }
    x = torch.arange(rounds + 1, dtype=torch.float64)
    return Finding(
        "sign",
        "(6), and F in §2.2 and (5)",
        "min over π_1, max over π_2 of P(π_1 ≻ π_2) + α KL(π_1 ‖ μ) − α KL(π_2 ‖ μ)",
        "So π_1 minimises its own win rate. On a transitive game of four actions the moving magnet "
        f"then puts {numbers['probability_of_worst_minimising']:.4f} on the *worst* action, gap "
        f"{numbers['gap_minimising']:.3f}; maximising, as in (3), it ends at a gap of "
        f"{small(numbers['gap_maximising'])}.",
        numbers,
        tuple(Line(name, x, gaps(game, path)[:, 0]) for name, path in paths.items()),
    )


def uniqueness() -> Finding:
    """§2.2: the equilibrium is unique."""
    doubled = _doubled(ROCK_PAPER_SCISSORS)
    rewards = np.array([1.0, 1.0, 0.0])
    tied = torch.from_numpy(from_logits(rewards[:, None] - rewards))
    numbers = {}
    for name, game, starts in (
        ("duplicate", doubled, logs([4, 1, 1, 1], [1, 4, 1, 1])),
        ("tie", tied, logs([4, 1, 1], [1, 4, 1])),
    ):
        ends = _run(MPO(alpha=0.1, eta=0.4, magnet_interval=100), game, starts, 10000)[-1]
        held = equilibrium_set(game)
        numbers[f"{name}_lowest_first"] = float(held.lowest[0])
        numbers[f"{name}_highest_first"] = float(held.highest[0])
        numbers[f"{name}_apart"] = float(0.5 * (ends[0].exp() - ends[1].exp()).abs().sum())
        numbers[f"{name}_gap"] = float(gaps(game, ends).max())
    return Finding(
        "uniqueness",
        "§2.2, and π* in Theorems 3.4 and 3.7",
        "the equilibrium strategies are unique",
        "With rock doubled in rock-paper-scissors an equilibrium may play the first rock with any "
        f"probability from {numbers['duplicate_lowest_first']:.2g} to "
        f"{numbers['duplicate_highest_first']:.3f}; with two tied best actions, from "
        f"{numbers['tie_lowest_first']:.2g} to {numbers['tie_highest_first']:.2g}. MPO from two "
        f"starts ends at equilibria {numbers['duplicate_apart']:.2f} and "
        f"{numbers['tie_apart']:.2f} apart in total variation, gaps at most "
        f"{small(max(numbers['duplicate_gap'], numbers['tie_gap']))}.",
        numbers,
    )


def one_target() -> Finding:
    """Lemma 3.6 has one π_r* for all rounds, and no condition on η."""
    alpha, eta, interval, rounds = 0.1, 0.4, 100, 10
    game, start = ROCK_PAPER_SCISSORS, logs([8, 1, 1])
    magnets = _run(
        MPO(alpha=alpha, eta=eta, magnet_interval=interval), game, start, rounds * interval
    )[::interval]
    first = regularised_equilibria(game[None], start, alpha)
    away = divergence(first.expand_as(magnets), magnets)[:, 0]
    shrink = (1 + eta * alpha) ** -interval
    coarse, few = 4.0, 20
    path = _run(MPO(alpha=alpha, eta=coarse, magnet_interval=few), game, start, few)
    left, right = round_rate(
        game[None], path[::few], alpha, torch.tensor([[coarse]], dtype=torch.float64), few
    )
    numbers = {
        "after_round_1": float(away[1]),
        "after_last_round": float(away[-1]),
        "second_round_over_bound": float(away[2] / (away[1] * shrink)),
        "large_eta_over_bound": float(left[0, 0] / right[0, 0]),
    }
    return Finding(
        "lemma_3.6",
        "Lemma 3.6",
        "KL(π_r* ‖ π_r^{τ+1}) ≤ KL(π_r* ‖ π_r^τ) (1 + ηα)^−T_k for all τ, with one π_r* and any η",
        "Each magnet has a π_r* of its own. Held against that of the first round, the KL falls to "
        f"{numbers['after_round_1']:.1e} in it and then rises to "
        f"{numbers['after_last_round']:.1e}; it is {numbers['second_round_over_bound']:.0f} times "
        "the bound in the second round. And η ≤ α/L² is missing: at η = "
        f"{coarse:g} (α = {alpha:g}, T = {few}) a round ends at "
        f"{numbers['large_eta_over_bound']:.0f} times the bound, even with "
        "its own π_r*.",
        numbers,
    )


def short_rounds() -> Finding:
    """Theorem 3.7 for a fixed T_k: with short rounds the magnets diverge."""
    alpha, eta, steps = 0.1, 0.4, 2000
    game, numbers, lines = ROCK_PAPER_SCISSORS, {}, []
    turning = 1 / (2 * math.sqrt(3))  # σ of the uniform equilibrium
    for interval in (1, 5, 9, 10, 100):
        dynamic = MPO(alpha=alpha, eta=eta, magnet_interval=interval)
        magnets = _run(dynamic, game, NEAR_UNIFORM, steps - steps % interval)[::interval]
        gap = gaps(game, magnets)[:, 0]
        numbers[f"gap_{interval}"] = float(gap[-1])
        numbers[f"factor_{interval}"] = round_factor(alpha, eta, interval, turning)
        x = interval * torch.arange(len(gap), dtype=torch.float64)
        lines.append(Line(f"T = {interval}", x, gap))
        if interval == 1:
            left, right = round_rate(
                game[None], magnets, alpha, torch.tensor([[eta]], dtype=torch.float64), 1
            )
            numbers["lemma_3.6_worst_ratio"] = float((left / right).max())
    return Finding(
        "theorem_3.7",
        "Theorem 3.7",
        "if Lemma 3.6 holds, the magnets converge to π*, for any T_k",
        f"With T_k = 1 MPO is mirror descent with stepsize η/(1 + ηα). On rock-paper-scissors (α = "
        f"{alpha:g}, η = α/L² = {eta:g}) Lemma 3.6 holds in every round (largest left/right "
        f"{numbers['lemma_3.6_worst_ratio']:.3f}), and the gap rises to {numbers['gap_1']:.2f}; "
        f"near the equilibrium a round multiplies the distance by {numbers['factor_1']:.4f} (T = "
        f"1), {numbers['factor_9']:.4f} (9), {numbers['factor_10']:.4f} (10), "
        f"{numbers['factor_100']:.3f} (100): T must be 10 or more here.",
        numbers,
        tuple(lines),
        "step",
    )


def which_gap() -> Finding:
    """Theorem F.1's ε is not that of §2.2."""
    alpha, eta, steps = 0.2, 0.5, 400
    game, start = ROCK_PAPER_SCISSORS, logs([8, 1, 1])
    path = _run(MMD(alpha=alpha, eta=eta), game, start, steps)
    slope = alpha * (path - start) - payoffs(game, path)
    own = (path.exp() * slope).sum(2) - slope.amin(2)
    numbers = {"gap_regularised": float(own[-1, 0]), "gap_original": float(gaps(game, path[-1])[0])}
    return Finding(
        "theorem_F.1",
        "Theorem F.1",
        "the duality gap ε, defined in §2.2 for the original game, falls at rate (1 + ηα)^(−k/2)",
        "What falls is the gap of the regularised game, sup ⟨G(π_k), π_k − π⟩. After "
        f"{steps} steps with a fixed magnet it is {small(numbers['gap_regularised'])}, and "
        f"the ε of §2.2 is {numbers['gap_original']:.3f} and stays there.",
        numbers,
    )


STATEMENTS = (opponent, sign, uniqueness, one_target, short_rounds, which_gap)


def round_factor(alpha: float, eta: float, interval: int, turning: float) -> float:
    """By how much a round of T steps multiplies a small distance from an interior equilibrium.

    A mode of A with eigenvalue iσ: a step from z with the magnet z_0 is
    ((1 + iησ) z + ηα z_0) / (1 + ηα), its fixed point z_0 / (1 − iσ/α).
    """
    step = (1 + 1j * eta * turning) / (1 + eta * alpha)
    return abs((1 - step**interval) / (1 - 1j * turning / alpha) + step**interval)


def _run(dynamic: Dynamic[Any], game: Tensor, start: Tensor, steps: int) -> Tensor:
    """log π_0 … log π_K from each start on one game, (K + 1, N, R)."""
    return follow(dynamic, dynamic.initial(start), game[None], steps)


def _doubled(game: Tensor) -> Tensor:
    """The game with its first action twice."""
    rows = [0, *range(len(game))]
    return torch.from_numpy(from_margins((game[rows][:, rows] - 0.5).numpy()))
