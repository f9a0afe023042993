"""Preference matrices from real annotators: a model's responses to a prompt, compared by a panel.

One matrix a prompt, the share of annotators that prefer a response to another, and one a prompt
and annotator, its votes. They are kept in a Parquet file with what they were made from.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mpo.data import PromptSet
from mpo.judges.annotators import AnnotatorPanel
from mpo.policy import Policy
from mpo.rollout import SamplingSettings
from mpo.training.panel_pairs import labelled_samples, prompts_hash, weights_hash
from mpo.training.recorded_rows import check_rows, labelled_from, write_rows
from mpo.training.rows import DataError

MADE_FROM = b"mpo.annotator_games"


class AnnotatorGame(NamedTuple):
    """A prompt's game of n responses among A annotators."""

    prompt: str
    responses: tuple[str, ...]
    preferences: Tensor
    """(n, n) float64, the share of annotators that prefer a response; P + Pᵀ == 1 to the bit."""
    votes: Tensor
    """(A, n, n) float64: 1 where the annotator prefers the first, 0 the second, ½ for a tie."""


def annotator_games(
    file: Path,
    policy: Policy,
    prompts: PromptSet,
    settings: SamplingSettings,
    panel: AnnotatorPanel,
    responses: int,
) -> list[AnnotatorGame]:
    """The games in `file`, which is made when it is not there.

    A function of the arguments alone. Of identical responses to a prompt one is kept, blank ones
    are left out, and a prompt of which fewer than two are left has no game.

    Args:
        file: .parquet; its folder is made when needed.
        policy: the model that is sampled from.
        prompts: a game each, in this order.
        settings: of the sampling.
        panel: the annotators, in the order of the votes.
        responses: sampled for each prompt, 2 or more.

    Raises:
        DataError: `file` was made from other arguments or is no such file, or no prompt has a game.
    """
    made_from = {
        "prompts": prompts_hash(prompts),
        **labelled_from(weights_hash(policy), policy, settings, panel, responses),
    }
    if file.exists():
        check_rows(file, MADE_FROM, made_from)
    else:
        games = compared_samples(policy, prompts, settings, panel, responses)
        if not games:
            raise DataError(file, ["got no prompt with two different responses"])
        write_rows(file, MADE_FROM, list(map(_row, games)), made_from)
    return _read(file)


def compared_samples(
    policy: Policy,
    prompts: PromptSet,
    settings: SamplingSettings,
    panel: AnnotatorPanel,
    responses: int,
) -> list[AnnotatorGame]:
    """Samples responses and asks the panel; arguments as `annotator_games`."""
    games = []
    for record in labelled_samples(policy, prompts, settings, panel, responses):
        n = len(record.responses)
        first, second = zip(*itertools.product(record.responses, repeat=2), strict=True)
        votes = panel.votes([record.prompt] * n**2, first, second)
        games.append(
            AnnotatorGame(
                record.prompt,
                record.responses,
                torch.tensor(record.wins, dtype=torch.float64),
                votes.T.reshape(len(panel.names), n, n),
            )
        )
    return games


def _row(game: AnnotatorGame) -> dict[str, Any]:
    return {
        "prompt": game.prompt,
        "responses": list(game.responses),
        "preferences": game.preferences.tolist(),
        "votes": game.votes.tolist(),
    }


def _read(file: Path) -> list[AnnotatorGame]:
    from pyarrow import parquet

    return [
        AnnotatorGame(
            row["prompt"],
            tuple(row["responses"]),
            torch.tensor(row["preferences"], dtype=torch.float64),
            torch.tensor(row["votes"], dtype=torch.float64),
        )
        for row in parquet.read_table(file).to_pylist()
    ]
