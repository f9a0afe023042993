from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mpo.games.enumerable_lm import EnumerableGame
from mpo.games.zoo import make_game
from tests.oracles import all_responses, response_text, sequence_log_prob

SIZES = [(5, 3), (3, 2), (2, 4), (4, 1)]


def game_of(symbols: int, max_tokens: int, prompts: int = 2) -> EnumerableGame:
    return make_game("bradley_terry", 0, symbols=symbols, max_tokens=max_tokens, prompts=prompts)


def random_next_token(game: EnumerableGame, seed: int) -> torch.Tensor:
    """(X, C, T, V) log-probabilities that depend on the prefix only, as a real policy's do."""
    generator = np.random.default_rng(seed)
    table: dict[tuple[int, ...], np.ndarray] = {}
    rows = np.empty((len(game.prompts), *game.covering.shape, game.vocabulary))
    for x in range(len(game.prompts)):
        for c, word in enumerate(game.covering.tolist()):
            for t in range(game.max_tokens):
                key = (x, *word[:t])
                if key not in table:
                    logits = generator.normal(size=game.vocabulary)
                    table[key] = logits - np.log(np.exp(logits).sum())
                rows[x, c, t] = table[key]
    return torch.from_numpy(rows)


def by_prefix(game: EnumerableGame, next_token: torch.Tensor, x: int) -> dict:
    return {
        tuple(word[:t]): next_token[x, c, t].numpy()
        for c, word in enumerate(game.covering.tolist())
        for t in range(game.max_tokens)
    }


@pytest.mark.parametrize(("symbols", "max_tokens"), SIZES)
def test_enumeration_is_that_of_a_plain_loop(symbols: int, max_tokens: int) -> None:
    game = game_of(symbols, max_tokens)
    expected = all_responses(symbols, max_tokens)
    assert game.num_responses == len(expected)
    for row, length, tokens in zip(
        game.responses.tolist(), game.lengths.tolist(), expected, strict=True
    ):
        assert tuple(row[:length]) == tokens
        assert all(token == game.eos for token in row[length:])
    assert game.texts == tuple(response_text(tokens, game.eos) for tokens in expected)


def test_default_sizes() -> None:
    game = make_game("bradley_terry", 0)
    assert (game.num_responses, game.num_prefixes, game.vocabulary, game.eos) == (156, 31, 6, 5)
    assert tuple(game.covering.shape) == (25, 3)


@pytest.mark.parametrize(("symbols", "max_tokens"), SIZES)
def test_covering_has_every_prefix(symbols: int, max_tokens: int) -> None:
    game = game_of(symbols, max_tokens)
    found = {tuple(w[:t]) for w in game.covering.tolist() for t in range(max_tokens)}
    wanted = {y[:t] for y in all_responses(symbols, max_tokens) for t in range(len(y))}
    assert found == wanted
    assert len(game.covering) == symbols ** (max_tokens - 1)


@pytest.mark.parametrize(("symbols", "max_tokens"), SIZES)
def test_log_probs_are_sums_over_the_tokens_that_count(symbols: int, max_tokens: int) -> None:
    game = game_of(symbols, max_tokens)
    next_token = random_next_token(game, 1)
    got = game.log_probs(next_token)
    assert got.dtype == torch.float64
    for x in range(len(game.prompts)):
        table = by_prefix(game, next_token, x)
        expected = [sequence_log_prob(table, y) for y in all_responses(symbols, max_tokens)]
        np.testing.assert_allclose(got[x].numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(got.exp().sum(1).numpy(), 1, rtol=1e-12)


def test_log_probs_of_a_float32_policy_sum_to_one() -> None:
    game = make_game("bradley_terry", 0)
    next_token = torch.randn(3, 25, 3, 6).log_softmax(-1)
    np.testing.assert_allclose(game.log_probs(next_token).exp().sum(1).numpy(), 1, rtol=1e-6)


def test_log_probs_differentiates() -> None:
    game = game_of(2, 3, prompts=1)
    logits = torch.randn(1, *game.covering.shape, 3, dtype=torch.float64, requires_grad=True)

    def enumerated(values: torch.Tensor) -> torch.Tensor:
        return game.log_probs(values.log_softmax(-1))

    assert torch.autograd.gradcheck(enumerated, (logits,))


def test_prefix_table_follows_the_tree() -> None:
    game = game_of(3, 3)
    next_token = random_next_token(game, 2)
    table = game.prefix_log_probs(next_token)
    for prefix in range(game.num_prefixes):
        words = game.responses[prefix, : int(game.lengths[prefix]) - 1].tolist()
        expected = by_prefix(game, next_token, 1)[tuple(words)]
        np.testing.assert_array_equal(table[1, prefix].numpy(), expected)


def test_truncated_and_ended_responses_are_two() -> None:
    game = game_of(2, 2)
    full = game.responses.tolist().index([0, 1])
    ended = game.responses.tolist().index([0, game.eos])
    assert int(game.lengths[full]) == int(game.lengths[ended]) == 2
    assert (game.texts[full], game.texts[ended]) == ("0 1", "0")
    assert len(set(game.texts)) == game.num_responses


def test_text_stops_at_the_first_eos() -> None:
    game = game_of(5, 3)
    assert game.text([2, 0, 4]) == "2 0 4"
    assert game.text(torch.tensor([2, 5, 4])) == "2"
    assert game.text([5, 5, 5]) == game.text([]) == ""


def test_wrong_next_token_shape_is_named() -> None:
    with pytest.raises(ValueError, match=r"next_token: got shape \(2, 25, 3, 5\)"):
        game_of(5, 3).log_probs(torch.zeros(2, 25, 3, 5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": ((0,), (0,))}, "prompts: got .* all distinct"),
        ({"prompts": ((0,), (5,))}, r"prompts: got \(5,\)"),
        ({"prompts": ((0,), ())}, r"prompts: got \(\)"),
        ({"prompt_weights": torch.tensor([0.5, 0.6], dtype=torch.float64)}, "prompt_weights"),
        ({"prompt_weights": torch.tensor([0.5, 0.5])}, "prompt_weights: got torch.float32"),
        ({"preferences": torch.zeros(2, 156, 156, dtype=torch.float64)}, r"P \+ Pᵀ != 1"),
        ({"preferences": torch.full((2, 156, 156), 1.5, dtype=torch.float64)}, r"outside \[0, 1\]"),
        ({"max_tokens": 2}, "preferences: got torch.float64 of shape"),
        ({"max_tokens": 0}, "max_tokens: got 0"),
        ({"symbols": 0}, "symbols: got 0"),
    ],
)
def test_bad_fields_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(game_of(5, 3), **changes)


def test_framed_prompts_keep_prompts_and_responses_apart() -> None:
    """No prompt with a response reads as another prompt with another response."""
    for seed in range(5):
        game = make_game("smooth", seed, symbols=3, max_tokens=2, prompts=6)
        read = [
            (*prompt, *response[:length])
            for prompt in game.framed_prompts
            for response, length in zip(game.responses.tolist(), game.lengths.tolist(), strict=True)
        ]
        assert len(set(map(tuple, read))) == len(read)
