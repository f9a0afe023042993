from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from mpo.games.matrix_families import (
    FAMILIES,
    initial_policies,
    matrix_game,
    rock_paper_scissors,
)
from mpo.games.solve import nash_equilibrium
from mpo.judges.intransitivity import intransitive_share
from tests.oracles import duality_gap_by_lp, random_preferences


def sizes_of(family: str) -> list[int]:
    return [3] if family == "rock_paper_scissors" else [3, 10, 11]


@pytest.mark.parametrize("family", FAMILIES)
def test_constant_sum_to_the_bit(family: str) -> None:
    for actions, seed in itertools.product(sizes_of(family), range(20)):
        wins = matrix_game(family, seed, actions)
        assert wins.dtype == torch.float64 and wins.shape == (actions, actions)
        assert bool((wins + wins.T == 1).all()) and bool((wins.diagonal() == 0.5).all())
        assert bool((wins >= 0).all()) and bool((wins <= 1).all())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_game_is_a_function_of_its_seed(family: str) -> None:
    actions = sizes_of(family)[-1]
    first, again, other = (matrix_game(family, seed, actions) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)


def test_families_do_not_share_their_draws() -> None:
    drawn = [matrix_game(family, 1, 3) for family in FAMILIES]
    for a, b in itertools.combinations(drawn, 2):
        assert not torch.allclose(a, b, atol=1e-6)


def test_random_logistic_is_the_stated_formula() -> None:
    for seed in (0, 200):
        got = matrix_game("random_logistic", seed, 10).numpy()
        np.testing.assert_allclose(got, random_preferences(10, seed, scale=2.0), rtol=1e-12)


def test_starts_follow_the_random_logistic_draw() -> None:
    got = initial_policies([4, 9], 6)
    for row, seed in enumerate([4, 9]):
        generator = np.random.default_rng(seed)
        generator.normal(size=36)
        weights = np.exp(generator.normal(scale=0.5, size=6))
        np.testing.assert_allclose(got[row].numpy(), weights / weights.sum(), rtol=1e-12)
    assert torch.equal(initial_policies(9, 6), got[1:])


@pytest.mark.parametrize("actions", [3, 8, 9])
def test_cyclic_actions_beat_the_next_half_of_the_circle(actions: int) -> None:
    wins = matrix_game("cyclic", 2, actions)
    reach = (actions - 1) // 2
    for i in range(actions):
        beaten = {j for j in range(actions) if wins[i, j] > 0.5}
        assert beaten == {(i + step) % actions for step in range(1, reach + 1)}
    if actions % 2 == 0:
        assert float(wins[0, actions // 2]) == 0.5
    margins = wins[wins > 0.5] - 0.5
    assert float(margins.min()) >= 0.1 and float(margins.max()) <= 0.4
    assert len(set(margins.tolist())) == len(margins)


def test_block_cyclic_equilibrium_is_the_blocks_times_each_blocks_own() -> None:
    wins = matrix_game("block_cyclic", 3, 9)
    blocks = [slice(0, 3), slice(3, 6), slice(6, 9)]
    starts = [block.start for block in blocks]
    between = wins[starts][:, starts]
    for (i, a), (j, b) in itertools.product(enumerate(blocks), enumerate(blocks)):
        if i != j:
            assert bool((wins[a, b] == wins[a.start, b.start]).all())
            margin = abs(float(wins[a, b][0, 0]) - 0.5)
            assert 0.1 <= margin <= 0.4
        else:
            inner = wins[a, b]
            assert float((inner - 0.5).abs()[inner != 0.5].min()) >= 0.025
            assert float((inner - 0.5).abs().max()) <= 0.1
    outer = nash_equilibrium(between).policy
    policy = torch.cat(
        [outer[i] * nash_equilibrium(wins[b, b]).policy for i, b in enumerate(blocks)]
    )
    assert abs(duality_gap_by_lp(wins.numpy(), policy.numpy())) < 1e-7
    assert int((policy > 1e-3).sum()) == 9


def test_bradley_terry_is_a_reward() -> None:
    wins = matrix_game("bradley_terry", 0, 10)
    logits = torch.logit(wins).numpy()
    np.testing.assert_allclose(logits, logits[:, :1] - logits[:, :1].T, atol=1e-9)
    found = nash_equilibrium(wins)
    assert found.support == 1 and int(found.policy.argmax()) == int(logits[:, 0].argmax())


def test_one_annotator_is_transitive_and_panels_are_not() -> None:
    alone = matrix_game("annotator_mixture", 0, 10, annotators=1)
    logits = torch.logit(alone).numpy()
    np.testing.assert_allclose(logits, logits[:, :1] - logits[:, :1].T, atol=1e-9)
    panels = torch.stack([matrix_game("annotator_mixture", seed, 10) for seed in range(30)])
    assert 0.01 < intransitive_share(panels) < 0.25
    mixed = [nash_equilibrium(wins).support > 1 for wins in panels]
    assert 3 <= sum(mixed) <= 27


def test_the_second_annotator_is_single_peaked() -> None:
    """What the second of two annotators adds is 0 or 1 for each pair, a line with one peak."""
    for seed in range(5):
        both = matrix_game("annotator_mixture", seed, 9, annotators=2)
        # The first annotator draws the same numbers whether or not there is a second.
        second: Tensor = 2 * both - matrix_game("annotator_mixture", seed, 9, annotators=1)
        off = ~torch.eye(9, dtype=torch.bool)
        np.testing.assert_allclose(second[off].numpy(), second[off].round().numpy(), atol=1e-12)
        ranking = second.sum(1).argsort(descending=True).tolist()
        assert ranked_by_one_peak(seed, ranking)


def ranked_by_one_peak(seed: int, ranking: list[int]) -> bool:
    """Whether each of the best m actions form an interval of the line, whatever m."""
    number = FAMILIES.index("annotator_mixture")
    place = np.random.default_rng([number, seed]).normal(size=len(ranking))
    rank = np.argsort(np.argsort(place))
    return all(np.ptp(rank[ranking[:best]]) == best - 1 for best in range(1, len(ranking) + 1))


def test_rock_paper_scissors_has_the_stated_equilibrium() -> None:
    wins = rock_paper_scissors([1, 2, 4])
    # Rock beats scissors, scissors beat paper, paper beats rock.
    assert [float(wins[0, 1]), float(wins[1, 2]), float(wins[2, 0])] == [1.0, 0.625, 0.75]
    stated = np.array([1, 2, 4]) / 7
    assert abs(duality_gap_by_lp(wins.numpy(), stated)) < 1e-9
    np.testing.assert_allclose(nash_equilibrium(wins).policy.numpy(), stated, atol=1e-9)
    usual = rock_paper_scissors([0.3, 0.3, 0.3])
    assert usual.tolist() == [[0.5, 1.0, 0.0], [0.0, 0.5, 1.0], [1.0, 0.0, 0.5]]


@pytest.mark.parametrize("weights", [[1, 2], [1, 2, 0], [1, float("nan"), 2], [1, float("inf"), 2]])
def test_bad_weights_are_named(weights: list[float]) -> None:
    with pytest.raises(ValueError, match=r"weights: got .* allowed: three finite numbers above 0"):
        rock_paper_scissors(weights)


def test_every_value_out_of_range_is_named_at_once() -> None:
    with pytest.raises(ValueError) as caught:
        matrix_game("cyclc", -1, 1, annotators=0)
    for part in (
        "family: got 'cyclc', allowed: random_logistic, ",
        "seed: got -1",
        "actions: got 1",
        "annotators: got 0",
    ):
        assert part in str(caught.value)
    for family, actions, allowed in (
        ("bradley_terry", 1, "2 or more"),
        ("cyclic", 2, "3 or more"),
        ("block_cyclic", 2, "3 or more"),
        ("rock_paper_scissors", 4, "3"),
    ):
        with pytest.raises(
            ValueError, match=f"actions: got {actions} for {family}, allowed: {allowed}$"
        ):
            matrix_game(family, 0, actions)
    with pytest.raises(ValueError, match="seed: got -2, allowed: 0 or more; actions: got 1"):
        initial_policies([0, -2], 1)
