"""Win rates between runs from their sampled responses, judged by a panel of annotators.

Responses of the same prompt are compared in all cross pairs and averaged by prompt, so the
prompt is the unit of the intervals. Judging is slow beside the rest of the aggregation: its
outcome is kept in the plan's folder (contests.csv, intransitivity.csv) under a key of the
samples and the judge's configuration, so that rendering again needs no judge.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.atomic import write_text
from benchmarks.plan_results import PlanResults, RunResult
from benchmarks.round_rows import round_samples, rounds_of

if TYPE_CHECKING:
    from torch import Tensor

# Raise when the way of comparing changes: kept outcomes of another number are judged again.
CONTEST_VERSION = 2
WITHOUT = "brevity"
SAMPLES = "samples.jsonl"

Array = NDArray[np.float64]


class Panel(Protocol):
    """What a contest needs of mpo.judges.annotators.AnnotatorPanel."""

    @property
    def names(self) -> tuple[str, ...]:
        """The annotators, in the order of the columns of votes."""
        ...

    def scores(self, prompts: Sequence[str], responses: Sequence[str]) -> Tensor:
        """(N, A) scores; an annotator prefers the higher one."""
        ...

    def votes(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> Tensor:
        """(N, A) votes in {0, 1/2, 1}: 1 where the annotator prefers a."""
        ...


PanelMaker = Callable[[], Panel]


class Match(NamedTuple):
    """A run's responses, those of `file`, against another run's final ones.

    round is 0 for the run's final responses, else the round that they are of.
    """

    run: RunResult
    other: RunResult
    round: int = 0
    file: str = SAMPLES


def responses_by_prompt(run: RunResult, file: str = SAMPLES) -> dict[int, tuple[str, list[str]]]:
    """The run's responses: prompt id -> (prompt, its responses in order)."""
    samples = run.samples(file).sort_values(["prompt_id", "index"], kind="stable")
    return {
        int(own["prompt_id"].iloc[0]): (str(own["prompt"].iloc[0]), own["response"].tolist())
        for _, own in samples.groupby("prompt_id", sort=True)
    }


def contest(panel: Panel, run: RunResult, other: RunResult, file: str = SAMPLES) -> pd.DataFrame:
    """Win rates of run (its samples in `file`) against other: a row a prompt.

    Columns prompt_id, total, without_brevity (where the panel has that annotator) and one for
    each annotator, each the mean over all cross pairs of the prompt's responses. Raises
    ValueError when the two runs answered different prompts.
    """
    ours, theirs = responses_by_prompt(run, file), responses_by_prompt(other)
    if ours.keys() != theirs.keys():
        raise ValueError(
            f"samples.jsonl: {run.name} and {other.name} answered different prompts "
            f"({len(ours.keys() - theirs.keys())} and {len(theirs.keys() - ours.keys())} of their "
            "own), they must be the same"
        )
    flat = [
        (prompt_id, prompt, a, b)
        for prompt_id, (prompt, responses) in ours.items()
        for a, b in itertools.product(responses, theirs[prompt_id][1])
    ]
    ids, prompts, first, second = zip(*flat, strict=True)
    votes = panel.votes(prompts, first, second).numpy()
    frame = pd.DataFrame(votes, columns=list(panel.names))
    frame.insert(0, "prompt_id", ids)
    frame.insert(1, "total", votes.mean(axis=1))
    kept = [position for position, name in enumerate(panel.names) if name != WITHOUT]
    if 0 < len(kept) < len(panel.names):
        frame.insert(2, f"without_{WITHOUT}", votes[:, kept].mean(axis=1))
    return frame.groupby("prompt_id", sort=True, as_index=False).mean()


def pooled_responses(runs: Sequence[RunResult]) -> dict[int, tuple[str, list[str]]]:
    """The responses of all runs: prompt id -> (prompt, its k responses)."""
    pooled: dict[int, tuple[str, list[str]]] = {}
    for run in runs:
        for prompt_id, (prompt, responses) in responses_by_prompt(run).items():
            pooled.setdefault(prompt_id, (prompt, []))[1].extend(responses)
    return pooled


def preference_matrices(panel: Panel, pooled: dict[int, tuple[str, list[str]]]) -> list[Array]:
    """A (k, k) preference matrix for each prompt, over its k responses."""
    flat = [
        (prompt, a, b)
        for prompt, responses in pooled.values()
        for a, b in itertools.combinations(responses, 2)
    ]
    prompts, first, second = zip(*flat, strict=True)
    shares = panel.votes(prompts, first, second).numpy().mean(axis=1)
    matrices, start = [], 0
    for _, responses in pooled.values():
        k = len(responses)
        stop = start + k * (k - 1) // 2
        matrix = np.full((k, k), 0.5)
        upper = np.triu_indices(k, 1)
        matrix[upper] = shares[start:stop]
        matrix.T[upper] = 1 - shares[start:stop]
        matrices.append(matrix)
        start = stop
    return matrices


def contests(results: PlanResults, task: str, panel: PanelMaker) -> pd.DataFrame:
    """All contests of a language task, kept in contests.csv.

    Columns as `contest` and run, versus and round (0: the run's final responses). Each trained
    run, and the policy of each of its rounds, meets the initial policy's run; of each pair to
    compare, the first variant meets the second of the same seed. panel() is called only when
    something is missing.
    """
    file = results.folder / "contests.csv"
    kept = _kept(file)
    frames = []
    judge: Panel | None = None
    for match in _matches(results, task):
        key = _key([match.run, match.other], match.file)
        known = kept[kept["key"] == key] if "key" in kept else kept
        # Two matches of the same responses have one key.
        known = known.drop_duplicates("prompt_id") if len(known) else known
        if known.empty:
            judge = judge or panel()
            known = contest(judge, match.run, match.other, match.file)
            known.insert(0, "key", key)
        named = known.assign(run=match.run.name, versus=match.other.name, round=match.round)
        frames.append(named.dropna(axis=1, how="all"))
    if not frames:
        return pd.DataFrame(columns=["key", "prompt_id", "total", "run", "versus", "round"])
    table = pd.concat(frames, ignore_index=True)
    write_text(file, table.to_csv(index=False))
    return table


def intransitivity(results: PlanResults, task: str, panel: PanelMaker) -> pd.DataFrame:
    """Share of intransitive triples by prompt, kept in intransitivity.csv.

    Columns key, prompt (its position), share, responses (k) and random_share: what the panel would
    give if its annotators knew nothing of each other, each with its own ties. Empty when a prompt
    has fewer than three responses.
    """
    runs = results.done(task, "initial") + results.done(task)
    columns = ["key", "prompt", "share", "responses", "random_share"]
    if sum(int(run.config["task"]["eval_responses"]) for run in runs) < 3:
        return pd.DataFrame(columns=columns)
    file = results.folder / "intransitivity.csv"
    kept, key = _kept(file), _key(runs)
    if "key" in kept and (kept["key"] == key).all() and not kept.empty:
        return kept
    # torch is slow to import, and a folder that keeps its contests does not need it.
    import torch

    from mpo.judges.intransitivity import intransitive_share, shuffled_panel_share

    judge = panel()
    pooled = pooled_responses(runs)
    scores = [judge.scores([prompt] * len(own), own) for prompt, own in pooled.values()]
    random_share = shuffled_panel_share(torch.stack(scores), seed=0, draws=200)
    rows = [
        (
            key,
            position,
            float(intransitive_share(torch.from_numpy(matrix))),
            len(matrix),
            random_share,
        )
        for position, matrix in enumerate(preference_matrices(judge, pooled))
    ]
    table = pd.DataFrame(rows, columns=columns)
    write_text(file, table.to_csv(index=False))
    return table


def _matches(results: PlanResults, task: str) -> list[Match]:
    runs = results.done(task)
    matches = []
    for initial in results.done(task, "initial"):
        matches += [Match(run, initial) for run in runs]
        matches += [
            Match(run, initial, number, round_samples(run, number))
            for run in runs
            for number in rounds_of([run])
        ]
    for first, second in results.pairs():
        rivals = {(run.group, run.seed): run for run in runs if run.variant == second}
        matches += [
            Match(run, rivals[run.group, run.seed])
            for run in runs
            if run.variant == first and (run.group, run.seed) in rivals
        ]
    return matches


def _key(runs: Sequence[RunResult], file: str = SAMPLES) -> str:
    """Hash of the runs' samples (the first run's are those of `file`), their judge and this file's
    way of comparing.
    """
    digest = hashlib.sha256(f"version {CONTEST_VERSION}".encode())
    for position, run in enumerate(runs):
        digest.update(str(run.config["judge"]).encode())
        digest.update((run.folder / (SAMPLES if position else file)).read_bytes())
    return digest.hexdigest()[:16]


def _kept(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, dtype={"key": str}) if file.is_file() else pd.DataFrame()
