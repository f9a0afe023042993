from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from mpo.judges.protocol import TableJudge, check_probabilities, judge_pairs

PROMPTS = ["p", "q"]
MINE = [["a", "b", "c", "a"], ["d", "e", "", "f"]]
THEIRS = [["x", "y"], ["z", ""]]


def preference(prompt: str, a: str, b: str) -> float:
    """A made-up P(a ≻ b | prompt) with P(a, b) + P(b, a) = 1."""
    strength = {text: ord(text) % 7 for text in "abcdefxyz"}
    bias = 3 if prompt == "p" else 1
    left, right = (strength.get(text, 0) + bias * (text < "d") for text in (a, b))
    return 0.5 + (left - right) / 32


class PlainJudge:
    """Answers pair by pair, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []

    def win_prob(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> Tensor:
        assert len(prompts) == len(a) == len(b)
        pairs = list(zip(prompts, a, b, strict=True))
        self.asked += pairs
        return torch.tensor([preference(*pair) for pair in pairs])


class ListJudge(PlainJudge):
    """Answers with a plain list of numbers."""

    def win_prob(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> list[float]:
        return [preference(*pair) for pair in zip(prompts, a, b, strict=True)]


class FullJudge:
    """Answers a whole table at once, and refuses single pairs."""

    def win_prob(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> Tensor:
        raise AssertionError("asked pair by pair")

    def win_matrix(
        self, prompts: Sequence[str], a: Sequence[Sequence[str]], b: Sequence[Sequence[str]]
    ) -> Tensor:
        return torch.tensor(
            [
                [[preference(prompt, left, right) for right in b[x]] for left in a[x]]
                for x, prompt in enumerate(prompts)
            ]
        )


class FixedJudge:
    """Always gives the same answers."""

    def __init__(self, answers: Sequence[float]):
        self.answers = torch.tensor(answers, dtype=torch.float64)

    def win_prob(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> Tensor:
        return self.answers


def disjoint(count: int) -> Tensor:
    return torch.eye(count)[torch.arange(count) ^ 1].bool().expand(len(PROMPTS), count, count)


def all_others(count: int) -> Tensor:
    return ~torch.eye(count, dtype=torch.bool).expand(len(PROMPTS), count, count)


def test_which_judges_give_tables() -> None:
    assert isinstance(FullJudge(), TableJudge)
    assert not isinstance(PlainJudge(), TableJudge)


@pytest.mark.parametrize("compared", [disjoint(4), all_others(4)], ids=["disjoint", "all"])
@pytest.mark.parametrize("judge", [PlainJudge(), ListJudge(), FullJudge()])
def test_own_pairs(judge: object, compared: Tensor) -> None:
    wins = judge_pairs(judge, PROMPTS, MINE, MINE, compared, own_pairs=True)
    assert wins.dtype == torch.float64
    for x, prompt in enumerate(PROMPTS):
        for i in range(4):
            for j in range(4):
                met = bool(compared[x, i, j])
                wanted = preference(prompt, MINE[x][i], MINE[x][j]) if met else 0.5
                assert float(wins[x, i, j]) == pytest.approx(wanted, abs=1e-7)


def test_own_pairs_are_each_asked_once_and_sum_to_one() -> None:
    judge = PlainJudge()
    wins = judge_pairs(judge, PROMPTS, MINE, MINE, all_others(4), own_pairs=True)
    wanted = [
        (prompt, MINE[x][i], MINE[x][j])
        for x, prompt in enumerate(PROMPTS)
        for i in range(4)
        for j in range(i + 1, 4)
    ]
    assert sorted(judge.asked) == sorted(wanted)
    assert torch.equal(wins + wins.transpose(1, 2), torch.ones_like(wins))


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("judge", [PlainJudge(), FullJudge()])
def test_separate_opponents(judge: object, every: bool) -> None:
    mine = [row[:2] for row in MINE]
    compared = torch.ones(2, 2, 2, dtype=torch.bool)
    if not every:
        compared = torch.eye(2, dtype=torch.bool).expand(2, 2, 2)
    wins = judge_pairs(judge, PROMPTS, mine, THEIRS, compared, own_pairs=False)
    for x, prompt in enumerate(PROMPTS):
        for i in range(2):
            for j in range(2):
                met = every or i == j
                wanted = preference(prompt, mine[x][i], THEIRS[x][j]) if met else 0.5
                assert float(wins[x, i, j]) == pytest.approx(wanted, abs=1e-7)


def test_separate_opponents_are_asked_for_the_compared_pairs_only() -> None:
    judge = PlainJudge()
    compared = torch.eye(2, dtype=torch.bool).expand(2, 2, 2)
    judge_pairs(judge, PROMPTS, [row[:2] for row in MINE], THEIRS, compared, own_pairs=False)
    assert sorted(judge.asked) == [
        ("p", "a", "x"),
        ("p", "b", "y"),
        ("q", "d", "z"),
        ("q", "e", ""),
    ]


@pytest.mark.parametrize("bad", [-0.01, 1.01, float("nan"), float("inf"), float("-inf")])
def test_an_answer_that_is_no_probability_is_named(bad: float) -> None:
    everything = torch.ones(1, 2, 2, dtype=torch.bool)
    judge = FixedJudge([0.5, 0.0, bad, 1.0])
    with pytest.raises(ValueError, match=r"judge: pair .* = \(0, 1, 0\) got .*allowed is") as error:
        judge_pairs(judge, ["p"], [["a", "b"]], [["x", "y"]], everything, own_pairs=False)
    assert f"got {bad!r}" in str(error.value)


def test_the_ends_of_the_range_are_probabilities() -> None:
    everything = torch.ones(1, 2, 2, dtype=torch.bool)
    judge = FixedJudge([0.0, 1.0, 0.5, 0.25])
    wins = judge_pairs(judge, ["p"], [["a", "b"]], [["x", "y"]], everything, own_pairs=False)
    assert wins.tolist() == [[[0.0, 1.0], [0.5, 0.25]]]


def test_a_bad_answer_to_a_pair_that_is_not_compared_does_no_harm() -> None:
    wins = torch.tensor([[[float("nan"), 0.3], [0.7, float("nan")]]], dtype=torch.float64)
    off_diagonal = ~torch.eye(2, dtype=torch.bool)[None]
    check_probabilities(wins, off_diagonal)
    with pytest.raises(ValueError, match="judge: pair"):
        check_probabilities(wins, ~off_diagonal)


def test_a_judge_that_gives_too_few_answers_is_refused() -> None:
    everything = torch.ones(1, 2, 2, dtype=torch.bool)
    judge = FixedJudge([0.1, 0.2, 0.3])
    with pytest.raises((ValueError, RuntimeError)):
        judge_pairs(judge, ["p"], [["a", "b"]], [["x", "y"]], everything, own_pairs=False)


def test_a_judge_that_gives_one_answer_for_all_is_refused() -> None:
    everything = torch.ones(1, 2, 2, dtype=torch.bool)
    with pytest.raises((ValueError, RuntimeError)):
        judge_pairs(
            FixedJudge([0.7]), ["p"], [["a", "b"]], [["x", "y"]], everything, own_pairs=False
        )


def test_a_table_of_another_shape_is_refused() -> None:
    class NarrowJudge(FullJudge):
        def win_matrix(
            self, prompts: Sequence[str], a: Sequence[Sequence[str]], b: Sequence[Sequence[str]]
        ) -> Tensor:
            return super().win_matrix(prompts, a, b)[..., :1]

    everything = torch.ones(2, 2, 2, dtype=torch.bool)
    with pytest.raises((ValueError, RuntimeError)):
        judge_pairs(
            NarrowJudge(), PROMPTS, [row[:2] for row in MINE], THEIRS, everything, own_pairs=False
        )
