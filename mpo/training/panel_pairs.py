"""Comparisons of a policy's own samples, labelled by a panel and kept in a Parquet file.

The file is one that mpo/training/data.py reads, with a column `held_out`, so a stage can be given
its path like any other data set. What it was made from stands in its metadata.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mpo.data import PromptSet
from mpo.judges.annotators import AnnotatorPanel
from mpo.policy import Policy
from mpo.prompts import text_complaint
from mpo.rollout import SamplingSettings, texts_of
from mpo.sampling import keyed_uniforms, sample
from mpo.training.data import Parts, load_comparisons
from mpo.training.recorded_rows import check_rows, labelled_from, write_rows
from mpo.training.records import Comparison
from mpo.training.rows import DataError

LABELLING_STREAM = 3
"""Keeps these samples apart from the policy's, the opponent's and the evaluation's."""
MADE_FROM = b"mpo.panel_pairs"
BATCH = 32


def panel_pairs(
    file: Path,
    policy: Policy,
    training: PromptSet,
    held_out: PromptSet,
    settings: SamplingSettings,
    panel: AnnotatorPanel,
    responses: int,
) -> Parts[Comparison]:
    """The comparisons in `file`, which is made when it is not there.

    A function of the arguments alone: `responses` samples a prompt, keyed by the seed and each
    prompt's key, compared by the panel, one Comparison a prompt. Neither side's prompts should be
    evaluation prompts. Of identical responses to a prompt one is kept, and a prompt of which fewer
    than two are left is dropped.

    Raises ValueError for fewer than 2 responses or a prompt on both sides, DataError when `file`
    was made from other arguments or when a side has no comparison.
    """
    if responses < 2:
        raise ValueError(f"panel.responses: got {responses}, allowed is at least 2")
    if both := set(training.texts) & set(held_out.texts):
        raise ValueError(f"prompts: got {min(both)!r} for training and held out, allowed is one")
    made_from = {
        "training_prompts": prompts_hash(training),
        "held_out_prompts": prompts_hash(held_out),
        **labelled_from(weights_hash(policy), policy, settings, panel, responses),
    }
    if file.exists():
        check_rows(file, MADE_FROM, made_from)
        return load_comparisons(file)
    parts = Parts(
        *(
            labelled_samples(policy, prompts, settings, panel, responses)
            for prompts in (training, held_out)
        )
    )
    if not (parts.training and parts.held_out):
        raise DataError(
            file,
            [
                f"got {len(parts.training)} comparisons for training and {len(parts.held_out)} "
                "held out, the other prompts' samples are all alike; each side needs at least one"
            ],
        )
    rows = [
        {**comparison._asdict(), "held_out": held}
        for held, side in zip((False, True), parts, strict=True)
        for comparison in side
    ]
    write_rows(file, MADE_FROM, rows, made_from)
    return load_comparisons(file)


def labelled_samples(
    policy: Policy,
    prompts: PromptSet,
    settings: SamplingSettings,
    panel: AnnotatorPanel,
    responses: int,
) -> list[Comparison]:
    """A Comparison for each prompt that has two different samples, in the prompts' order.

    Blank samples and those with control characters are left out: a data file may hold none.
    """
    comparisons = []
    for start in range(0, len(prompts), BATCH):
        batch = prompts.batch(range(start, min(start + BATCH, len(prompts))))
        uniforms = keyed_uniforms(
            settings.seed, LABELLING_STREAM, 0, batch.keys, responses, settings.max_tokens
        )
        texts = texts_of(sample(policy, batch, uniforms, settings.end_tokens), settings)
        wins = panel.win_matrix(batch.texts, texts, texts)
        comparisons += [_distinct(*each) for each in zip(batch.texts, texts, wins, strict=True)]
    return [each for each in comparisons if len(each.responses) > 1]


def _distinct(prompt: str, texts: Sequence[str], wins: Tensor) -> Comparison:
    usable = [text for text in dict.fromkeys(texts) if not text_complaint(text)]
    kept = torch.tensor([texts.index(text) for text in usable], dtype=torch.long)
    table = wins[kept][:, kept].tolist()
    return Comparison(prompt, tuple(usable), tuple(tuple(row) for row in table), prompt)


def weights_hash(policy: Policy) -> str:
    """sha256 of all weights of a policy's model, with their names."""
    digest = hashlib.sha256()
    for name, weight in sorted(policy.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def prompts_hash(prompts: PromptSet) -> str:
    """sha256 of the prompts' tokens, keys and texts."""
    entries = [[list(ids), *rest] for ids, *rest in _entries(prompts)]
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


def _entries(prompts: PromptSet) -> zip[tuple[Any, ...]]:
    return zip(prompts.ids, prompts.keys, prompts.texts, strict=True)
