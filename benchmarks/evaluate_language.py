"""Measures of a language model: its samples on the evaluation prompts, and how far it moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.atomic import write_jsonl
from mpo.data import PromptSet
from mpo.divergences import token_scores
from mpo.logprobs import frozen_scores
from mpo.module import AlignmentModule
from mpo.objectives.protocol import MAGNET, REFERENCE
from mpo.policy import Policy
from mpo.records import Prompts, Responses
from mpo.rollout import EVALUATION_STREAM, texts_of
from mpo.sampling import keyed_uniforms, sample
from mpo.snapshots import OPPONENT
from mpo.text_quality import quality_shares

BATCH = 16
"""Prompts that are sampled at a time."""
SHOWN = 6
"""Prompts whose texts go to TensorBoard."""
TRAINING_MEASURES = (
    "kl_step",
    "kl_magnet",
    "response_length",
    "truncated",
)
"""What the curve shows of the training rollouts."""


class LanguageEvaluation:
    """Samples E evaluation prompts at the end of a run and of each round, r responses each.

    The KL to the reference is measured on the first response to each prompt.

    `seed` is the run's own, different for every run of a plan, so that two runs' responses to a
    prompt are independent.
    """

    def __init__(self, prompts: PromptSet, responses: int, seed: int):
        self.prompts, self.responses, self.seed = prompts, responses, seed
        self.rounds: list[dict[str, Any]] = []

    def start(self, module: AlignmentModule) -> dict[str, float]:
        """Nothing is sampled before training: the initial policy is a run of its own."""
        return {}

    def after_iteration(self, module: AlignmentModule) -> None:
        """Nothing: evaluation prompts are sampled when a round ends, and at the end."""

    def after_round(self, module: AlignmentModule, round: int, folder: Path) -> None:
        """Sample the round's policy into samples_round<r>.jsonl; `finish` samples the last one."""
        if round < module.settings.rounds:
            measured = self._measure(module, folder / f"samples_round{round}.jsonl")
            self._keep(module, round, measured)

    def row(self, module: AlignmentModule) -> dict[str, float]:
        """Means over the iteration's training rollout."""
        return {name: module.logged.get(name, float("nan")) for name in TRAINING_MEASURES}

    def finish(self, module: AlignmentModule, folder: Path) -> dict[str, Any]:
        """Quality shares, lengths and KL to the reference; responses go to samples.jsonl."""
        measured = self._measure(module, folder / "samples.jsonl")
        self._show_texts(module)
        metrics = {**measured, "magnet_moves": module.snapshots.moves[MAGNET]}
        if module.settings.rounds == 1:
            return metrics
        if module.rounds_done == module.settings.rounds:
            self._keep(module, module.rounds_done, measured)
        return {**metrics, "rounds": self.rounds}

    def state(self) -> dict[str, Any]:
        """The rounds that have ended."""
        return {"rounds": self.rounds}

    def resume(self, module: AlignmentModule, state: dict[str, Any]) -> None:
        """Go on after the rounds that had ended."""
        self.rounds = list(state["rounds"])

    def _keep(self, module: AlignmentModule, round: int, measured: dict[str, float]) -> None:
        self.rounds.append({"round": round, "iteration": module.iterations_done, **measured})

    @torch.no_grad()
    def _measure(self, module: AlignmentModule, file: Path) -> dict[str, float]:
        """Sample every evaluation prompt into `file`, and measure what was sampled."""
        rows: list[dict[str, Any]] = []
        kls = []
        for start in range(0, len(self.prompts), BATCH):
            batch = self.prompts.batch(range(start, min(len(self.prompts), start + BATCH)))
            batch = _on_device(batch, module.policy)
            responses = self._sample(module, module.policy, batch)
            if module.iterations_done:
                kls.append(self._kl_reference(module, batch, responses.select(slice(0, 1))))
            rows += sample_rows(batch, responses, texts_of(responses, module.sampling))
        write_jsonl(file, rows)
        shares = quality_shares(
            [row["response"] for row in rows], [not row["ended"] for row in rows]
        )
        lengths = [row["tokens"] for row in rows]
        return {
            "kl_reference": float(torch.cat(kls).mean()) if kls else 0.0,
            "response_length": sum(lengths) / len(lengths),
            **shares,
        }

    def _sample(
        self, module: AlignmentModule, policy: Policy, batch: Prompts, offset: int = 0
    ) -> Responses:
        settings = module.sampling
        uniforms = keyed_uniforms(
            self.seed,
            EVALUATION_STREAM + offset,
            module.iterations_done,
            batch.keys,
            self.responses,
            settings.max_tokens,
        )
        return sample(policy, batch, uniforms, settings.end_tokens)

    @torch.no_grad()
    def _kl_reference(
        self, module: AlignmentModule, batch: Prompts, responses: Responses
    ) -> torch.Tensor:
        """KL(π ‖ reference) on each response's prefixes, summed over tokens: (B, n) nats."""
        policy, reference = module.policy, module.snapshots[REFERENCE]
        chunk = module.settings.logits_chunk
        layout = policy.layout(batch, responses)
        trunk = policy.trunk_states(layout)
        mask, tokens = responses.mask, responses.ids[responses.mask]
        frozen = frozen_scores(reference.hidden(layout, trunk)[mask], reference.head, tokens, chunk)
        scored = token_scores(
            policy.hidden(layout, trunk)[mask], policy.head, tokens, [frozen], chunk
        )
        dense = torch.zeros(mask.shape, dtype=scored.kl[0].dtype, device=mask.device)
        return dense.masked_scatter(mask, scored.kl[0]).sum(-1)

    def _show_texts(self, module: AlignmentModule) -> None:
        """Initial policy, policy and opponent side by side, into TensorBoard."""
        writer = getattr(module.logger, "experiment", None)
        if writer is None:
            return
        shown = range(min(SHOWN, len(self.prompts)))
        batch = _on_device(self.prompts.batch(shown), module.policy)
        opponent = (
            module.snapshots[OPPONENT] if OPPONENT in module.snapshots.intervals else module.policy
        )
        models = (module.snapshots[REFERENCE], module.policy, opponent)
        columns = [
            texts_of(self._sample(module, model, batch, 1 + place), module.sampling)
            for place, model in enumerate(models)
        ]
        lines = ["| prompt | initial policy | policy | opponent |", "| --- | --- | --- | --- |"]
        for place, prompt in enumerate(batch.texts):
            cells = [prompt, *(column[place][0] for column in columns)]
            lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
        writer.add_text("samples", "\n".join(lines), module.iterations_done)


def sample_rows(
    batch: Prompts, responses: Responses, texts: tuple[tuple[str, ...], ...]
) -> list[dict[str, Any]]:
    """A line of samples.jsonl for each response."""
    return [
        {
            "prompt_id": int(batch.keys[x]),
            "prompt": batch.texts[x],
            "index": i,
            "response": text,
            "tokens": int(responses.lengths[x, i]),
            "ended": bool(responses.ended[x, i]),
        }
        for x, group in enumerate(texts)
        for i, text in enumerate(group)
    ]


def _on_device(batch: Prompts, policy: Policy) -> Prompts:
    return Prompts(
        batch.ids.to(policy.device),
        batch.lengths.to(policy.device),
        batch.keys.to(policy.device),
        batch.texts,
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
