"""Intransitive triples, counted by going through all of them."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from mpo.judges.intransitivity import intransitive_share, shuffled_panel_share


def preferences(k: int, seed: int) -> Tensor:
    """A random (k, k) preference matrix with many ties."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(0, 4, (k, k), generator=generator).double()
    return 0.5 + (draws - draws.T) / 6


def counted_share(matrix: Tensor) -> float:
    circles = 0
    triples = list(itertools.combinations(range(len(matrix)), 3))
    for triple in triples:
        for a, b, c in itertools.permutations(triple):
            # A circle of three shows in three of the six orders.
            if matrix[a, b] > 0.5 and matrix[b, c] > 0.5 and matrix[c, a] > 0.5:
                circles += 1
    return circles / 3 / len(triples)


def test_rock_paper_scissors_and_a_ranking() -> None:
    rock = torch.tensor([[0.5, 0.0, 1.0], [1.0, 0.5, 0.0], [0.0, 1.0, 0.5]])
    assert intransitive_share(rock) == 1
    reward = torch.arange(6.0)
    assert intransitive_share(torch.sigmoid(reward[:, None] - reward)) == 0


def test_a_triple_with_a_tie_is_not_intransitive() -> None:
    tied = torch.tensor([[0.5, 0.9, 0.5], [0.1, 0.5, 0.9], [0.5, 0.1, 0.5]])
    assert intransitive_share(tied) == 0


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_count_over_all_triples(seed: int) -> None:
    matrices = torch.stack([preferences(7, seed), preferences(7, seed + 100)])
    counts = [counted_share(matrix) for matrix in matrices]
    assert max(counts) > 0
    assert intransitive_share(matrices[0]) == pytest.approx(counts[0], rel=1e-12)
    assert intransitive_share(matrices) == pytest.approx(sum(counts) / 2, rel=1e-12)


def test_shuffled_panel_against_all_shuffles() -> None:
    # One annotator ties two responses, and a blank response scores -inf with everyone.
    columns = [[1.0, 1.0, 2.0], [3.0, 1.0, -math.inf], *[[0.0, 1.0, 2.0]] * 3]
    exact = 0.0
    for panel in itertools.product(*(itertools.permutations(column) for column in columns)):
        wins = [
            sum((scores[a] > scores[b]) - (scores[a] < scores[b]) for scores in panel)
            for a, b in ((0, 1), (1, 2), (2, 0))
        ]
        exact += (all(win > 0 for win in wins) or all(win < 0 for win in wins)) / 6**5
    # Five rankings without ties give 0.069.
    assert 0 < exact < 0.06
    prompts, draws = 500, 20
    scores = torch.tensor(columns, dtype=torch.float64).T.expand(prompts, 3, 5)
    error = (exact * (1 - exact) / (prompts * draws)) ** 0.5
    assert abs(shuffled_panel_share(scores, 0, draws) - exact) <= 4 * error
    assert shuffled_panel_share(scores[:, :, :1], 0, draws) == 0


@pytest.mark.parametrize(
    ("scores", "draws"), [(torch.ones(3, 3), 1), (torch.ones(1, 3, 0), 1), (torch.ones(1, 3, 2), 0)]
)
def test_bad_scores_are_refused(scores: Tensor, draws: int) -> None:
    with pytest.raises(ValueError, match="want"):
        shuffled_panel_share(scores, 0, draws)


def test_the_seed_decides() -> None:
    scores = torch.arange(60, dtype=torch.float64).view(2, 6, 5)
    assert shuffled_panel_share(scores, 1) == shuffled_panel_share(scores, 1)
    assert shuffled_panel_share(scores, 1) != shuffled_panel_share(scores, 2)


def test_three_rankings_without_ties_give_condorcets_share() -> None:
    scores = torch.arange(3, dtype=torch.float64)[None, :, None].expand(400, 3, 3)
    assert shuffled_panel_share(scores, 0) == pytest.approx(1 / 18, abs=0.005)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (torch.full((2, 3), 0.5), r"\(2, 3\)"),
        (torch.full((2, 2), 0.5), "3 responses"),
        (torch.full((0, 3, 3), 0.5), "0 prompts"),
        (torch.ones(3, 3), "differs from 1"),
        (torch.full((3, 3), float("nan")), "differs from 1"),
    ],
)
def test_bad_preferences_are_refused(matrix: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        intransitive_share(matrix)
