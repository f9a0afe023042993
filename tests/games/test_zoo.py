from __future__ import annotations

import numpy as np
import pytest
import torch

from mpo.games import zoo
from mpo.games.solve import duality_gap, nash_equilibrium
from mpo.games.zoo import KINDS, expects_mixed, make_game


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_values_give_the_same_game(kind: str) -> None:
    first, again, other = make_game(kind, 3), make_game(kind, 3), make_game(kind, 4)
    assert first.name == f"{kind}-3"
    assert first.prompts == again.prompts
    assert torch.equal(first.preferences, again.preferences)
    assert not torch.equal(first.preferences, other.preferences)


@pytest.mark.parametrize("kind", KINDS)
def test_more_prompts_leave_the_first_ones_alone(kind: str) -> None:
    few, many = make_game(kind, 1, prompts=2), make_game(kind, 1, prompts=4)
    assert many.prompts[:2] == few.prompts
    assert torch.equal(many.preferences[:2], few.preferences)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 7])
def test_matrices_are_antisymmetric_to_the_bit_and_differ_by_prompt(kind: str, seed: int) -> None:
    wins = make_game(kind, seed).preferences
    assert bool((wins + wins.transpose(1, 2) == 1).all())
    assert bool((wins.diagonal(dim1=1, dim2=2) == 0.5).all())
    assert bool((wins > 0).all()) and bool((wins < 1).all())
    assert not torch.allclose(wins[0], wins[1], atol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_have_different_lengths(kind: str) -> None:
    game = make_game(kind, 2, prompts=7)
    assert [len(prompt) for prompt in game.prompts] == [1, 2, 3, 1, 2, 3, 1]
    assert len(set(game.prompts)) == 7
    assert float(game.prompt_weights.sum()) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("kind", ["smooth", "first_token"])
@pytest.mark.parametrize("seed", [0, 5])
def test_mixed_kinds_mix_and_have_something_to_learn(kind: str, seed: int) -> None:
    game = make_game(kind, seed)
    assert expects_mixed(kind)
    uniform = 6.0 ** -game.lengths.to(torch.float64)
    for wins in game.preferences:
        policy = nash_equilibrium(wins).policy
        assert int((policy >= zoo.MIN_SHARE).sum()) >= 3
        gap = duality_gap(wins[None], uniform[None], torch.ones(1))
        assert gap >= zoo.MIN_INITIAL_GAP


@pytest.mark.parametrize("seed", [0, 5])
def test_bradley_terry_is_transitive_with_a_pure_equilibrium(seed: int) -> None:
    game = make_game("bradley_terry", seed)
    assert not expects_mixed("bradley_terry")
    for wins in game.preferences:
        assert nash_equilibrium(wins).support == 1
        logits = torch.logit(wins).numpy()
        reward = logits[:, 0]
        np.testing.assert_allclose(logits, reward[:, None] - reward, atol=1e-9)


def test_first_token_kind_depends_on_the_class_up_to_small_bonuses() -> None:
    game = make_game("first_token", 0)
    logits = torch.logit(game.preferences[0])
    first = game.responses[:, 0]
    for row in range(6):
        for column in range(6):
            block = logits[first == row][:, first == column].numpy()
            # What is left beside the class's constant is transitive: rows plus columns.
            left = block - block.mean(1, keepdims=True) - block.mean(0) + block.mean()
            np.testing.assert_allclose(left, 0, atol=1e-9)
            assert block.std() < 10 * zoo.FIRST_TOKEN_BONUS


def test_smooth_kind_has_the_stated_form() -> None:
    game = make_game("smooth", 0)
    logits = torch.logit(game.preferences[0]).numpy()
    # Skew of rank 4 from φᵀSφ' and of rank 2 from the bonus, not more.
    values = np.linalg.svd(logits, compute_uv=False)
    assert values[5] > 1e-6 and values[6] < 1e-9 * values[0]


def test_empty_response_is_no_free_tie() -> None:
    wins = make_game("smooth", 0).preferences[0, 0, 1:]
    assert float((wins - 0.5).abs().max()) > 0.1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "smoth", "seed": 0}, "kind: got 'smoth', allowed: smooth, first_token"),
        ({"kind": "smooth", "seed": -1}, "seed: got -1"),
        ({"kind": "smooth", "seed": 0, "symbols": 1}, "symbols: got 1"),
        ({"kind": "smooth", "seed": 0, "max_tokens": 0}, "max_tokens: got 0"),
        ({"kind": "smooth", "seed": 0, "prompts": 0}, "prompts: got 0"),
        ({"kind": "smooth", "seed": 0, "prompts": 16}, "prompts: got 16, allowed: 1 to 15"),
    ],
)
def test_values_out_of_range_are_named(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_game(**values)


def test_sizes_that_cannot_mix_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "MAX_DRAWS", 5)
    monkeypatch.setattr(zoo, "MIN_MIXED", 4)
    with pytest.raises(ValueError, match="kind: got first_token with 3 responses"):
        make_game("first_token", 0, symbols=2, max_tokens=1)


def test_more_prompts_than_words_of_one_length_still_ends() -> None:
    game = make_game("bradley_terry", 0, symbols=2, prompts=6)
    assert len(set(game.prompts)) == 6
