from __future__ import annotations

import pytest
import torch

from mpo.games.zoo import make_game
from mpo.judges.matrix import MatrixGameJudge, MatrixGameReward


def test_win_prob_is_the_matrix_entry() -> None:
    game = make_game("bradley_terry", 0)
    judge = MatrixGameJudge(game)
    prompts = [game.prompt_texts[2], game.prompt_texts[0]]
    got = judge.win_prob(prompts, ["", "1 2 3"], ["4 4", "0"])
    assert tuple(got.shape) == (2,)
    assert got.dtype == torch.float64
    # Numbers by hand: "4 4" is 1 + 5 + 5·4 + 4, "1 2 3" is 1 + 5 + 25 + 25·1 + 5·2 + 3.
    assert float(got[0]) == float(game.preferences[2, 0, 30])
    assert float(got[1]) == float(game.preferences[0, 69, 1])


def test_antisymmetric_to_the_bit_over_all_pairs() -> None:
    game = make_game("smooth", 0)
    judge = MatrixGameJudge(game)
    every = [game.texts] * len(game.prompts)
    wins = judge.win_matrix(game.prompt_texts, every, every)
    assert torch.equal(wins, game.preferences)
    assert bool((wins + wins.transpose(1, 2) == 1).all())


def test_win_matrix_is_win_prob_pair_by_pair() -> None:
    game = make_game("first_token", 0)
    judge = MatrixGameJudge(game)
    prompts = [game.prompt_texts[1], game.prompt_texts[0]]
    a = [["", "0", "3 3 3"], ["1", "2 2", "1"]]
    b = [["4", "4 4"], ["", "0 1 2"]]
    got = judge.win_matrix(prompts, a, b)
    assert tuple(got.shape) == (2, 3, 2)
    for i in range(2):
        for j in range(3):
            for k in range(2):
                alone = judge.win_prob([prompts[i]], [a[i][j]], [b[i][k]])
                assert float(got[i, j, k]) == float(alone[0])


def test_nothing_to_judge() -> None:
    judge = MatrixGameJudge(make_game("bradley_terry", 0))
    assert tuple(judge.win_prob([], [], []).shape) == (0,)
    assert tuple(judge.win_matrix([], [], []).shape) == (0, 0, 0)


def test_unknown_texts_and_uneven_lists_are_named() -> None:
    game = make_game("bradley_terry", 0)
    judge, prompt = MatrixGameJudge(game), game.prompt_texts[0]
    with pytest.raises(ValueError, match="prompts: got 'hello'"):
        judge.win_prob(["hello"], ["0"], ["1"])
    with pytest.raises(ValueError, match="a: got '7'"):
        judge.win_prob([prompt], ["7"], ["1"])
    with pytest.raises(ValueError, match="b: got '0 0 0 0'"):
        judge.win_matrix([prompt], [["0"]], [["0 0 0 0"]])
    with pytest.raises(ValueError, match="got 1, 2 and 1 texts"):
        judge.win_prob([prompt], ["0", "1"], ["1"])
    with pytest.raises(ValueError, match="got 1, 1 and 0 rows"):
        judge.win_matrix([prompt], [["0"]], [])
    with pytest.raises(ValueError, match=r"a: got rows of \[1, 2\] responses"):
        judge.win_matrix([prompt, prompt], [["0"], ["0", "1"]], [["0"], ["1"]])


def test_rewards_are_looked_up_by_text() -> None:
    game = make_game("bradley_terry", 0)
    table = torch.arange(3.0 * game.num_responses).reshape(3, -1)
    reward = MatrixGameReward(game, table)
    prompts = [game.prompt_texts[2], game.prompt_texts[0]]
    got = reward.rewards(prompts, [["", "4 4"], ["1 2 3", "0"]])
    assert got.dtype == torch.float64
    # The numbers of the texts are those by hand above.
    assert got.tolist() == [
        [float(table[2, 0]), float(table[2, 30])],
        [float(table[0, 69]), float(table[0, 1])],
    ]
    assert tuple(reward.rewards([], []).shape) == (0, 0)


def test_rewards_of_another_game_are_refused() -> None:
    game = make_game("bradley_terry", 0)
    with pytest.raises(ValueError, match=r"rewards: got shape \(2, 156\), allowed: \(3, 156\)"):
        MatrixGameReward(game, torch.zeros(2, 156))
    reward, prompt = MatrixGameReward(game, torch.zeros(3, 156)), game.prompt_texts[0]
    with pytest.raises(ValueError, match="responses: got '7'"):
        reward.rewards([prompt], [["0", "7"]])
    with pytest.raises(ValueError, match="prompts: got 'hello'"):
        reward.rewards(["hello"], [["0"]])
    with pytest.raises(ValueError, match="got 2 and 1 rows"):
        reward.rewards([prompt, prompt], [["0"]])
    with pytest.raises(ValueError, match=r"responses: got rows of \[1, 2\] responses"):
        reward.rewards([prompt, prompt], [["0"], ["0", "1"]])
