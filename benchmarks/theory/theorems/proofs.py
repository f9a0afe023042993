"""Counter-examples to steps of the paper's proofs. The statements may hold for another reason."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.optimize import root
from torch import Tensor

from benchmarks.theory.theorems.findings import ROCK_PAPER_SCISSORS, Finding, Line, logs
from benchmarks.theory.theorems.games import divergence, gaps, payoffs
from benchmarks.theory.theorems.rounds import (
    Array,
    entropic_rounds,
    euclidean_rounds,
    euclidean_steps,
    regularised_equilibria,
)
from mpo.games.dynamics.step import magnetic_step
from mpo.games.solve import EquilibriumNotFound
from mpo.games.win_probabilities import from_margins


def kl_direction() -> Finding:
    """E.3 proves Lemma 3.3 for KL(μ ‖ π); the game (6) has KL(π ‖ μ)."""
    game, alpha, log_magnet = ROCK_PAPER_SCISSORS, 0.5, logs([8, 1, 1])
    log_policy = regularised_equilibria(game[None], log_magnet, alpha)
    magnet, policy = log_magnet[0].exp(), log_policy[0].exp()
    nash = torch.full((3,), 1 / 3, dtype=torch.float64)
    other = torch.from_numpy(reverse_equilibrium(game.numpy(), magnet.numpy(), alpha))
    numbers = {
        "needed_negative": float(((nash - policy) * magnet / policy).sum()),
        "with_the_other_direction": float(((nash - other) * magnet / other).sum()),
        "equilibria_apart": float((policy - other).abs().max()),
        "kl_before": float(divergence(nash.log(), log_magnet[0])),
        "kl_after": float(divergence(nash.log(), log_policy[0])),
    }
    return Finding(
        "kl_direction",
        "Proof of Lemma 3.3 (E.3), against (6)",
        "Σ ⟨∇KL(μ_n ‖ μ_{n+1}), μ_{n+1} − π*⟩ < 0 by Lemma E.4",
        "Lemma E.4 speaks of the regulariser of the game, which in (6) is KL(π ‖ μ), not "
        "KL(μ ‖ π). At (6)'s equilibrium for μ = (0.8, 0.1, 0.1), α = 0.5 on rock-paper-scissors "
        f"the sum is {numbers['needed_negative']:+.4f}; at that of the game with KL(μ ‖ π), "
        f"another point ({numbers['equilibria_apart']:.3f} away), "
        f"0 (to {abs(numbers['with_the_other_direction']):.0e}), not below it: Lemma E.4 "
        "gives ≤. The lemma itself holds: KL(π* ‖ ·) goes from "
        f"{numbers['kl_before']:.3f} to {numbers['kl_after']:.3f}, by Lemma F.2.",
        numbers,
    )


def reverse_equilibrium(game: Array, magnet: Array, alpha: float) -> Array:
    """π of the game regularised by KL(μ ‖ π): P π + α μ/π is the same for all actions, (R,).

    Raises:
        EquilibriumNotFound: that is not so to 1e-9.
    """

    def unequal(values: Array) -> Array:
        policy = np.exp(values[:-1])
        return np.append(game @ policy + alpha * magnet / policy - values[-1], policy.sum() - 1)

    solved = root(unequal, np.append(np.log(magnet), 0.5 + alpha), tol=1e-13)
    if not np.abs(unequal(solved.x)).max() <= 1e-9:
        raise EquilibriumNotFound(f"regularised by KL(μ ‖ π): {solved.message}")
    return np.asarray(np.exp(solved.x[:-1]))


def face() -> Finding:
    """E.4: ν < 0 on a compact set, which holds magnets on the border that do not move."""
    # b ties with a, loses to j; a beats j. An equilibrium plays a with 0.8 or more, b else.
    game = torch.from_numpy(from_margins(np.array([[0, 0, 0.1], [0, 0, -0.4], [0, 0, 0]])))
    alpha, rounds, numbers, lines = 0.1, 120, {}, []
    border = logs([1, 1, 0])
    moved = regularised_equilibria(game[:2, :2][None], border[:, :2], alpha)[0]
    numbers["border_moves"] = float((moved - border[0, :2]).abs().max())
    numbers["border_gap"] = float(gaps(game, border)[0])
    numbers["border_kl"] = float(nearest(border[0])[1])
    for power in (2, 8, 32):
        share = 10.0**-power
        path = entropic_rounds(game[None], logs([0.5, 0.5, share]), alpha, rounds)[:, 0]
        first, second = (float(nearest(log_policy)[1]) for log_policy in path[:2])
        gap = gaps(game, path)
        numbers[f"first_decrease_1e-{power}"] = first - second
        numbers[f"rounds_to_1e-2_1e-{power}"] = float((gap > 1e-2).sum())
        x = torch.arange(rounds + 1, dtype=torch.float64)
        lines.append(Line(f"third action 1e-{power}", x, gap))
    return Finding(
        "theorem_3.4",
        "Proof of Theorem 3.4 (E.4)",
        "from Lemma 3.3 the largest change ν over the compact set Ω is negative",
        "Lemma 3.3 is for interior magnets, and Ω holds magnets on the border. With a third action "
        f"of probability 0, (½, ½, 0) is a magnet that stays where it is, at a gap of "
        f"{numbers['border_gap']:.2g} and a KL of {numbers['border_kl']:.3f} to the equilibria: "
        "ν = 0. Near it no decrease is certain: rounds to a gap of 0.01 are "
        f"{numbers['rounds_to_1e-2_1e-2']:.0f}, {numbers['rounds_to_1e-2_1e-8']:.0f} and "
        f"{numbers['rounds_to_1e-2_1e-32']:.0f} from a third probability of 1e-2, 1e-8 and 1e-32. "
        "These starts arrive in the end; the proof stands only where π* plays all actions.",
        numbers,
        tuple(lines),
    )


def nearest(log_policy: Tensor) -> tuple[Tensor, Tensor]:
    """The share of a in the equilibrium of `face`'s game nearest to (a, b, j), and its KL."""
    a, b = log_policy[:2].exp()
    share = (a / (a + b)).clamp(min=0.8)
    rest = 1 - share
    other = torch.where(rest > 0, rest * (rest / b).log(), 0.0)
    return share, share * (share / a).log() + other


def any_constant() -> Finding:
    """F.4 bounds the error of a round by N^−c for any c, and every round n ≤ N by 1/√N."""
    game, alpha, power = ROCK_PAPER_SCISSORS[None], 0.1, 2
    eta = alpha / float(torch.linalg.matrix_norm(game[0] - 0.5, ord=2)) ** 2
    start = logs([8, 1, 1]).exp()
    first = float(gaps(game, euclidean_rounds(game, start, alpha, 1).log())[1, 0])
    numbers = {"gap_after_round_1": first}
    numbers |= {f"round_1_times_sqrt_{n}": first * math.sqrt(n) for n in (100, 10_000, 1_000_000)}
    for most in (100, 1_000_000):
        steps = 2 * power * math.log(most) / math.log1p(eta * alpha)
        numbers[f"steps_a_round_N_{most}"] = math.ceil(steps)
    lines = []
    for interval, rounds in ((1, 2000), (200, 100)):
        ends = euclidean_steps(game, start, alpha, eta, interval, rounds)
        gap = gaps(game, ends.log())[:, 0]
        numbers[f"gap_T{interval}"] = float(gap[-1])
        count = torch.arange(len(gap), dtype=torch.float64)
        lines.append(Line(f"Euclidean, T = {interval}", count, gap))
    share = 1e-6
    policies = logs([share, 1 - share], [2 * share, 1 - 2 * share])
    change, apart = policies.diff(dim=0).norm(), policies.exp().diff(dim=0).norm()
    numbers["entropy_slope"] = float(change / apart)
    return Finding(
        "theorem_F.4",
        "Theorem F.4 and its proof",
        "ε(π_r^{τ+1}) ≤ O(1/√N) for all 1 ≤ n ≤ N, with ψ L_ψ-smooth, a round's error being N^−c "
        "of what it began with and c > 0 arbitrary",
        f"Not for all n: after the first exact round the gap is {first:.3f} whatever N, "
        f"{numbers['round_1_times_sqrt_1000000']:.0f}/√N at N = 10⁶. And c is not arbitrary: a "
        f"fixed T has no such c. N^−2, which the proof uses, needs T ≥ 4 ln N / ln(1 + ηα) steps a "
        f"round, {numbers['steps_a_round_N_100']:.0f} for N = 100 and "
        f"{numbers['steps_a_round_N_1000000']:.0f} for N = 10⁶ here; with T = 1 the Euclidean gap "
        f"stays at {numbers['gap_T1']:.2f}. The entropy is not smooth (slope of log π "
        f"{numbers['entropy_slope']:.0e} at π = 1e-6), and the proof sets ψ = ½‖·‖²: it does not "
        "speak of KL.",
        numbers,
        tuple(lines),
    )


def slips() -> Finding:
    """Wrong steps that do no harm: E.2's second inequality, F.1's C, E.3's last equality."""
    game, alpha, eta = ROCK_PAPER_SCISSORS[None], 0.5, 2.0
    log_magnet, log_policy, any_policy = logs([1, 1, 1]), logs([8, 1, 1]), logs([1, 2, 5])
    next_policy = magnetic_step(log_policy, payoffs(game, log_policy), log_magnet, alpha, eta)
    # The second line less the third: what is left out of g and of ψ by going over to slopes.
    left_out = (1 + eta * alpha) * divergence(any_policy, next_policy)
    uniform, near = logs([1, 1]), logs([0.51, 0.49])
    distance = (uniform.exp() - near.exp()).abs().sum()
    tied = torch.from_numpy(from_margins(np.array([[0, 0, 0.1], [0, 0, -0.4], [0, 0, 0]])))
    path = entropic_rounds(tied[None], logs([0.45, 0.05, 0.5]), 0.1, 1)[:, 0]
    numbers = {
        "second_less_third_line": float(left_out),
        "distance_over_root_of_KL": float(distance / divergence(uniform, near).sqrt()),
        "nearest_before": float(nearest(path[0])[0]),
        "nearest_after": float(nearest(path[1])[0]),
    }
    return Finding(
        "slips",
        "Proofs of Lemma E.2, Theorem F.1 and Lemma 3.3",
        "E.2: line 2 ≤ line 3; F.1: ‖π − π'‖ ≤ √B; E.3: the nearest equilibrium stays the nearest",
        "Wrong without harm. E.2: convexity gives line 2 ≥ line 3 (by "
        f"{numbers['second_less_third_line']:.2f} in an example); that line 3 ≥ 0 is the first-"
        "order condition itself. F.1: the distance may be "
        f"{numbers['distance_over_root_of_KL']:.3f} √KL, so C lacks √2. E.3: the equilibrium "
        f"nearest to μ_n plays the first action with {numbers['nearest_before']:.2f}, that "
        f"nearest to μ_{{n+1}} with {numbers['nearest_after']:.2f}; “=” should be “≤”.",
        numbers,
    )


PROOFS = (kl_direction, face, any_constant, slips)
