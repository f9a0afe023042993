"""What MPO and MPO-RT share: who plays whom, the baseline, and the step size η."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from mpo.objectives.field_checks import FieldChecks
from mpo.objectives.protocol import BEHAVIOUR, MAGNET, Needs
from mpo.records import Metrics, Rollout, Scores, Weighted
from mpo.returns import greedy_win, leave_one_out
from mpo.schedules import eta_at


class SelfPlay(Protocol):
    """The settings that both methods have, under the same names. Each method documents its own."""

    @property
    def alpha(self) -> float: ...
    @property
    def eta(self) -> float: ...
    @property
    def eta_schedule(self) -> str: ...
    @property
    def eta_horizon(self) -> int | None: ...
    @property
    def eta_floor(self) -> float: ...
    @property
    def gamma(self) -> float: ...
    @property
    def magnet_interval(self) -> int | None: ...
    @property
    def opponent(self) -> str: ...
    @property
    def opponent_interval(self) -> int | None: ...
    @property
    def inner_steps(self) -> int: ...
    @property
    def baseline(self) -> str: ...
    @property
    def symmetric(self) -> bool: ...
    @property
    def pairs(self) -> str: ...
    @property
    def responses(self) -> int: ...


class MPOTargets(NamedTuple):
    """What the inner steps of one rollout hold fixed, in MPO and in MPO-RT."""

    advantages: Tensor
    """(B, n, T): A_t."""
    behaviour_logprobs: Tensor
    """(B, n, T): log π_k(y_t | s_t)."""
    inverse_eta: Tensor
    """(B,): 1/η_k, the same for all prompts."""
    responses: Tensor
    """(B,): n, the trained responses a prompt."""


def check_self_play(checks: FieldChecks, method: SelfPlay) -> None:
    """Note every invalid field among the shared settings."""
    checks.not_negative("alpha")
    checks.positive("eta")
    checks.choice("eta_schedule", "constant", "linear")
    checks.count_or_none("eta_horizon", "the run's iterations")
    checks.require("eta_floor", 0 < method.eta_floor <= 1, "a number in (0, 1]")
    checks.require("gamma", 0 < method.gamma <= 1, "a number in (0, 1]")
    checks.count_or_none("magnet_interval", "never; `never` is the same")
    checks.choice("opponent", "policy", "snapshot")
    checks.count_or_none("opponent_interval", "moves with the magnet")
    checks.count("inner_steps")
    checks.choice("baseline", "half", "remax", "rloo")
    checks.choice("pairs", "disjoint", "all")
    checks.require(
        "symmetric",
        not (method.symmetric and method.opponent == "snapshot"),
        "false when opponent is snapshot: its responses are not samples of the policy",
    )
    if method.symmetric:
        even = method.pairs == "all" or method.responses % 2 == 0
        good = method.responses >= 2 and even
        checks.require("responses", good, "≥ 2, and even for disjoint pairs")
        enough = method.responses >= (3 if method.pairs == "all" else 4)
    else:
        checks.count("responses")
        enough = method.responses >= 2
    checks.require(
        "baseline",
        method.baseline != "rloo" or enough,
        "half | remax with so few responses: rloo needs a comparison without the response "
        "(responses ≥ 4 in disjoint symmetric pairs, 3 in all symmetric pairs, 2 otherwise)",
    )


def self_play_needs(method: SelfPlay) -> Needs:
    """Samples of π_k and of the opponent, and exact KLs to π_k and μ.

    Both KLs are logged, whether the loss has them or not: rows of different methods then show the
    same quantity. A KL that is only logged costs nothing under a frozen head, which policy and
    frozen models share, and one more product with the head where the head trains.
    """
    follows = method.opponent_interval is None
    return Needs(
        responses=method.responses,
        opponent_responses=0 if method.symmetric else method.responses,
        opponent_is_snapshot=method.opponent == "snapshot",
        all_pairs=method.pairs == "all",
        greedy=method.baseline == "remax",
        kl_to=(BEHAVIOUR, MAGNET),
        inner_steps=method.inner_steps,
        magnet_interval=method.magnet_interval,
        opponent_interval=method.magnet_interval if follows else method.opponent_interval,
    )


def win_baseline(method: SelfPlay, rollout: Rollout) -> Tensor:
    """b of each trained response: (B, n). Raises ValueError for remax without greedy wins."""
    if method.baseline == "half":
        return torch.full(rollout.wins.shape[:2], 0.5, dtype=rollout.wins.dtype)
    if method.baseline == "rloo":
        return leave_one_out(rollout.wins, rollout.compared, own_pairs=method.symmetric)
    if rollout.greedy_wins is None:
        raise ValueError("baseline: remax needs the rollout's greedy_wins, got None")
    return greedy_win(rollout.greedy_wins, rollout.compared)


def step_targets(
    method: SelfPlay, rollout: Rollout, scores: Scores, advantages: Tensor
) -> MPOTargets:
    """The targets with these advantages (B, n, T), and 1/η of the rollout's iteration."""
    batch = rollout.wins.shape[0]
    horizon = method.eta_horizon or max(1, rollout.iterations)
    eta = eta_at(rollout.iteration, method.eta, method.eta_schedule, horizon, method.eta_floor)
    return MPOTargets(
        advantages * scores.mask,
        scores.logprobs,
        advantages.new_full((batch,), 1.0 / eta),
        advantages.new_full((batch,), float(method.responses)),
    )


def step_metrics(scores: Scores, ratio: Tensor, policy_sum: Tensor) -> Metrics:
    """Means a response of the policy term and of both KLs, means a token of r_t and the entropy.

    ratio is (B, n, T), policy_sum the policy term of the loss before it is divided.
    """
    weight = float(scores.mask.shape[0] * scores.mask.shape[1])
    return {
        "policy_loss": Weighted(policy_sum.detach() / weight, weight),
        "kl_magnet": Weighted(scores.kl[MAGNET].detach().sum() / weight, weight),
        "kl_behaviour": Weighted(scores.kl[BEHAVIOUR].detach().sum() / weight, weight),
        "ratio": token_mean(ratio, scores),
        "token_entropy": token_mean(scores.entropy, scores),
    }


def token_mean(values: Tensor, scores: Scores) -> Weighted:
    """The mean of (B, n, T) over the tokens that count."""
    return Weighted(values.detach()[scores.mask].mean(), float(scores.mask.sum()))
