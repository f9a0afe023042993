from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mpo.games.dynamics import mmd_step
from mpo.games.enumerable_lm import EnumerableGame
from mpo.games.regularised import (
    regularised_equilibrium,
    regularised_equilibrium_per_token,
    regularised_gaps,
)
from mpo.games.solve import EquilibriumNotFound, duality_gap, nash_equilibrium
from mpo.games.zoo import KINDS, make_game
from tests.oracles import (
    all_responses,
    expected_win_after,
    next_token_probs,
    random_policy,
    random_preferences,
)

ALPHAS = [0.02, 0.1, 0.5]


def magnet_of(game: EnumerableGame, seed: int | None) -> torch.Tensor:
    """(X, C, T, V): softmax of N(0, ½²) logits by prefix; uniform for seed None."""
    logits = torch.zeros(len(game.prompts), game.num_prefixes, game.vocabulary, dtype=torch.float64)
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        logits = 0.5 * torch.randn(logits.shape, generator=generator, dtype=torch.float64)
    prefixes = [row[:length] for row, length in zip(*tree(game), strict=True)]
    rows = [
        [prefixes.index(word[:t]) for t in range(game.max_tokens)]
        for word in game.covering.tolist()
    ]
    return logits.log_softmax(-1)[:, torch.tensor(rows)]


def tree(game: EnumerableGame) -> tuple[list[list[int]], list[int]]:
    ended = [i for i, row in enumerate(game.responses.tolist()) if row[-1] == game.eos]
    return game.responses[ended].tolist(), (game.lengths[ended] - 1).tolist()


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("kind", KINDS)
def test_sequence_equilibrium_is_its_own_answer(kind: str, alpha: float) -> None:
    game = make_game(kind, 0)
    log_magnet = game.log_probs(magnet_of(game, 0))[0].numpy()
    wins = game.preferences[0].numpy()
    policy = regularised_equilibrium(
        game.preferences[0], torch.from_numpy(log_magnet), alpha
    ).numpy()
    answer = np.exp(log_magnet + wins @ policy / alpha)
    np.testing.assert_allclose(policy, answer / answer.sum(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize(("kind", "magnet_seed"), [(k, s) for k in KINDS for s in (None, 0)])
def test_per_token_equilibrium_is_its_own_answer_at_every_prefix(
    kind: str, magnet_seed: int | None, alpha: float
) -> None:
    game = make_game(kind, 0)
    x = 1
    magnet = magnet_of(game, magnet_seed)
    policy = regularised_equilibrium_per_token(game, x, magnet[x], alpha).numpy()
    assert policy.sum() == pytest.approx(1, rel=1e-10)
    responses, wins = all_responses(5, 3), game.preferences[x].numpy()
    for c, word in enumerate(game.covering.tolist()):
        for t in range(3):
            prefix = tuple(word[:t])
            q = [expected_win_after(responses, policy, wins, prefix, a) for a in range(6)]
            answer = np.exp(magnet[x, c, t].numpy() + np.array(q) / alpha)
            got = next_token_probs(responses, policy, prefix, 6)
            np.testing.assert_allclose(got, answer / answer.sum(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("seed", range(1, 21, 5))
@pytest.mark.parametrize("kind", KINDS)
def test_both_are_found_over_seeds_and_magnets(kind: str, seed: int) -> None:
    game = make_game(kind, seed)
    for alpha in (0.02, 0.5):
        gaps = regularised_gaps(game, magnet_of(game, seed), alpha)
        assert 0 < gaps.sequence < 1 and 0 < gaps.per_token < 1


def test_sequence_equilibrium_is_where_slow_mirror_descent_stops() -> None:
    wins = torch.from_numpy(random_preferences(6, 3))
    log_magnet = torch.from_numpy(np.log(random_policy(6, 4)))
    policy = log_magnet.exp()
    for _ in range(4000):
        policy = mmd_step(wins, policy, policy, log_magnet, alpha=0.3, eta=0.3)
    expected = regularised_equilibrium(wins, log_magnet, 0.3)
    np.testing.assert_allclose(policy.numpy(), expected.numpy(), rtol=1e-9)


def test_responses_of_one_token_make_both_the_same() -> None:
    game = make_game("smooth", 2, max_tokens=1)
    magnet = magnet_of(game, 1)
    log_magnet = game.log_probs(magnet)
    for x in range(3):
        sequence = regularised_equilibrium(game.preferences[x], log_magnet[x], 0.1)
        per_token = regularised_equilibrium_per_token(game, x, magnet[x], 0.1)
        np.testing.assert_allclose(per_token.numpy(), sequence.numpy(), rtol=1e-9)


def test_longer_responses_tell_them_apart() -> None:
    game = make_game("smooth", 0)
    gaps = regularised_gaps(game, magnet_of(game, None), 0.1)
    assert abs(gaps.sequence - gaps.per_token) > 1e-3


def test_limits_in_alpha() -> None:
    game = make_game("first_token", 0)
    magnet = magnet_of(game, 0)
    log_magnet = game.log_probs(magnet)
    start = duality_gap(game.preferences, log_magnet.exp(), game.prompt_weights)
    weak = regularised_gaps(game, magnet, 1e6)
    assert weak.sequence == pytest.approx(start, abs=1e-4)
    assert weak.per_token == pytest.approx(start, abs=1e-4)
    for x in range(3):
        strong = regularised_equilibrium(game.preferences[x], log_magnet[x], 1e-3)
        assert duality_gap(game.preferences[x][None], strong[None], torch.ones(1)) < 0.02


def test_a_magnet_at_the_equilibrium_stays_there() -> None:
    wins = torch.tensor([[0.5, 0.9, 0.2], [0.1, 0.5, 0.7], [0.8, 0.3, 0.5]], dtype=torch.float64)
    nash = nash_equilibrium(wins)
    assert nash.support == 3
    got = regularised_equilibrium(wins, nash.policy.log(), 0.05)
    np.testing.assert_allclose(got.numpy(), nash.policy.numpy(), rtol=1e-9)


def test_gaps_are_those_of_the_two_equilibria() -> None:
    game = make_game("bradley_terry", 1)
    magnet = magnet_of(game, 3)
    log_magnet = game.log_probs(magnet)
    sequence, per_token = [], []
    for x in range(3):
        sequence.append(regularised_equilibrium(game.preferences[x], log_magnet[x], 0.1))
        per_token.append(regularised_equilibrium_per_token(game, x, magnet[x], 0.1))
    got = regularised_gaps(game, magnet.requires_grad_(), 0.1)
    expected = [
        duality_gap(game.preferences, torch.stack(rows), game.prompt_weights)
        for rows in (sequence, per_token)
    ]
    assert list(got) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.0, -0.1, math.nan, math.inf])
def test_alpha_out_of_range_is_named(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha: got"):
        regularised_equilibrium(torch.full((2, 2), 0.5), torch.zeros(2), alpha)


def test_giving_up_is_an_error_with_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpo.games.continuation.MAX_STEPS", 2)
    wins = torch.from_numpy(random_preferences(5, 0))
    with pytest.raises(EquilibriumNotFound, match=r"at alpha 0\.02: the curve"):
        regularised_equilibrium(wins, torch.zeros(5), 0.02)


def test_a_magnet_without_numbers_is_an_error_with_a_name() -> None:
    wins = torch.from_numpy(random_preferences(5, 0))
    with pytest.raises(EquilibriumNotFound, match="curve"):
        regularised_equilibrium(wins, torch.full((5,), math.nan), 0.1)


def test_a_residual_that_is_too_large_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpo.games.continuation.NEWTON_TOLERANCE", 1e-2)
    wins = torch.from_numpy(random_preferences(5, 0))
    with pytest.raises(EquilibriumNotFound, match="residual"):
        regularised_equilibrium(wins, torch.zeros(5), 0.1)
