"""What the engine asks of a judge, and how it asks for a whole table of comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


class Judge(Protocol):
    """A general preference P(y ≻ y′ | x); any object with this method can judge."""

    def win_prob(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> Tensor:
        """P(a ≻ b | x) of N comparisons: (N,), in [0, 1], with P(a, b) + P(b, a) = 1."""
        ...


@runtime_checkable
class TableJudge(Protocol):
    """A judge that compares all pairs of a prompt's responses at once, each response read once."""

    def win_matrix(
        self, prompts: Sequence[str], a: Sequence[Sequence[str]], b: Sequence[Sequence[str]]
    ) -> Tensor:
        """P(a_i ≻ b_j | x): (B, n, k) for B prompts with n and k responses."""
        ...


class RewardFunction(Protocol):
    """A scalar reward r(x, y), such as a Bradley-Terry reward model's."""

    def rewards(self, prompts: Sequence[str], responses: Sequence[Sequence[str]]) -> Tensor:
        """r(x, y_i): (B, n) float64 for B prompts with n responses each."""
        ...


def ask_rewards(
    reward: RewardFunction, prompts: Sequence[str], responses: Sequence[Sequence[str]]
) -> Tensor:
    """Rewards of B × n responses: (B, n) float64. Raises ValueError when they are not finite."""
    rewards = torch.as_tensor(reward.rewards(prompts, responses)).to(torch.float64)
    wanted = (len(responses), len(responses[0]))
    if tuple(rewards.shape) != wanted:
        raise ValueError(
            f"reward: got rewards of shape {tuple(rewards.shape)}, allowed is {wanted}"
        )
    if not torch.isfinite(rewards).all():
        x, i = (~torch.isfinite(rewards)).nonzero()[0].tolist()
        raise ValueError(
            f"reward: got {rewards[x, i].item()!r} for the response {responses[x][i]!r}, allowed "
            "is a finite number"
        )
    return rewards


def judge_pairs(
    judge: Judge,
    prompts: Sequence[str],
    a: Sequence[Sequence[str]],
    b: Sequence[Sequence[str]],
    compared: Tensor,
    own_pairs: bool,
) -> Tensor:
    """Win probabilities of the compared pairs: (B, n, k) float64, ½ where `compared` is False.

    With `own_pairs` the two sides are the same responses: each unordered pair is asked once and
    the other order is its complement. Raises ValueError when the judge's answers are not
    probabilities, or not one a pair.
    """
    if not compared.any():
        return torch.full(compared.shape, 0.5, dtype=torch.float64)
    if isinstance(judge, TableJudge):
        wins = judge.win_matrix(prompts, a, b).to(torch.float64)
        _check_shape("win_matrix", wins, tuple(compared.shape))
    else:
        asked = compared & torch.ones_like(compared).triu(1) if own_pairs else compared
        index = asked.nonzero().tolist()
        answers = judge.win_prob(
            [prompts[x] for x, _, _ in index],
            [a[x][i] for x, i, _ in index],
            [b[x][j] for x, _, j in index],
        )
        answers = torch.as_tensor(answers, dtype=torch.float64)
        _check_shape("win_prob", answers, (len(index),))
        wins = torch.full(compared.shape, 0.5, dtype=torch.float64)
        wins[asked] = answers
        if own_pairs:
            wins.transpose(1, 2)[asked] = 1.0 - answers
    check_probabilities(wins, compared)
    return torch.where(compared, wins, torch.full_like(wins, 0.5))


def _check_shape(method: str, answers: Tensor, wanted: tuple[int, ...]) -> None:
    if tuple(answers.shape) != wanted:
        raise ValueError(
            f"judge: {method} gave answers of shape {tuple(answers.shape)}, allowed is {wanted}"
        )


def check_probabilities(wins: Tensor, compared: Tensor) -> None:
    """Raise ValueError naming the first compared pair whose answer is not in [0, 1]."""
    bad = compared & ~((wins >= 0) & (wins <= 1))
    if bad.any():
        where = tuple(bad.nonzero()[0].tolist())
        raise ValueError(
            f"judge: pair (prompt, response, opponent) = {where} got {wins[where].item()!r}, "
            "allowed is a probability in [0, 1]"
        )
