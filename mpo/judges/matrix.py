"""The judge of a game and its reward model: numbers looked up by text in the game's tables."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mpo.games.enumerable_lm import EnumerableGame


class MatrixGameJudge:
    """P(y ≻ y' | x) of an ``EnumerableGame``, by the texts of x, y and y'.

    P(a, b) + P(b, a) == 1 to the bit, as the game's matrix has it.
    """

    def __init__(self, game: EnumerableGame) -> None:
        self._preferences = game.preferences
        self._prompts = {text: index for index, text in enumerate(game.prompt_texts)}
        self._responses = {text: index for index, text in enumerate(game.texts)}

    def win_prob(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> Tensor:
        """(N,) float64: P(a_i ≻ b_i | x_i).

        Raises:
            ValueError: the three differ in length, or a text isn't of this game.
        """
        if not len(prompts) == len(a) == len(b):
            raise ValueError(
                f"prompts, a, b: got {len(prompts)}, {len(a)} and {len(b)} texts, "
                "allowed: equally many"
            )
        rows = _look_up("prompts", self._prompts, prompts)
        first = _look_up("a", self._responses, a)
        second = _look_up("b", self._responses, b)
        return self._preferences[rows, first, second]

    def win_matrix(
        self, prompts: Sequence[str], a: Sequence[Sequence[str]], b: Sequence[Sequence[str]]
    ) -> Tensor:
        """(B, n, k) float64: P(a[i][j] ≻ b[i][l] | x_i).

        Raises:
            ValueError: the three differ in length, a row's length differs from the first's, or
                a text isn't of this game.
        """
        if not len(prompts) == len(a) == len(b):
            raise ValueError(
                f"prompts, a, b: got {len(prompts)}, {len(a)} and {len(b)} rows, "
                "allowed: equally many"
            )
        rows = _look_up("prompts", self._prompts, prompts)
        first, second = _table("a", self._responses, a), _table("b", self._responses, b)
        return self._preferences[rows[:, None, None], first[:, :, None], second[:, None, :]]


class MatrixGameReward:
    """r(x, y) of an ``EnumerableGame``, by the texts of x and y.

    Args:
        game: the game.
        rewards: (X, R), in the order of the game's prompts and responses, for example its
            ``population_reward``.

    Raises:
        ValueError: ``rewards`` has another shape.
    """

    def __init__(self, game: EnumerableGame, rewards: Tensor) -> None:
        shape = (len(game.prompts), game.num_responses)
        if tuple(rewards.shape) != shape:
            raise ValueError(f"rewards: got shape {tuple(rewards.shape)}, allowed: {shape}")
        self._rewards = rewards.to(torch.float64)
        self._prompts = {text: index for index, text in enumerate(game.prompt_texts)}
        self._responses = {text: index for index, text in enumerate(game.texts)}

    def rewards(self, prompts: Sequence[str], responses: Sequence[Sequence[str]]) -> Tensor:
        """(B, n) float64: r(x_i, responses[i][j]).

        Raises:
            ValueError: the two differ in length, a row's length differs from the first's, or a
                text isn't of this game.
        """
        if len(prompts) != len(responses):
            raise ValueError(
                f"prompts, responses: got {len(prompts)} and {len(responses)} rows, "
                "allowed: equally many"
            )
        rows = _look_up("prompts", self._prompts, prompts)
        return self._rewards[rows[:, None], _table("responses", self._responses, responses)]


def _table(field: str, table: dict[str, int], texts: Sequence[Sequence[str]]) -> Tensor:
    lengths = {len(row) for row in texts}
    if len(lengths) > 1:
        raise ValueError(
            f"{field}: got rows of {sorted(lengths)} responses, allowed: equally many a row"
        )
    flat = _look_up(field, table, [text for row in texts for text in row])
    return flat.reshape(len(texts), lengths.pop() if lengths else 0)


def _look_up(field: str, table: dict[str, int], texts: Sequence[str]) -> Tensor:
    unknown = [text for text in texts if text not in table]
    if unknown:
        raise ValueError(
            f"{field}: got {unknown[0]!r}, which this game doesn't have, allowed: one of "
            f"{len(table)} texts such as {list(table)[-1]!r}"
        )
    return torch.tensor([table[text] for text in texts], dtype=torch.long)
