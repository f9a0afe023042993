"""The five scores that the annotators of a panel rank responses by.

Each takes texts that are not blank and gives a finite number, higher is better. They are meant for
English; a text without a single word (punctuation, emoji) gets WORDLESS from the scores that count
words, so that it loses to every text with words there, and still beats an empty one.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

import torch

from mpo.bundled import MissingBundle
from mpo.judges.sentence_embeddings import SentenceEmbedder
from mpo.text_quality import words

if TYPE_CHECKING:
    from torch import Tensor

Scorer = Callable[[Sequence[str], Sequence[str]], list[float]]
"""Scores of N (prompt, response) pairs, in their order."""

WORDLESS = float(torch.finfo(torch.float64).min)
# Characters that the sentiment scorer reads: its cost grows with the square of the length.
WARMTH_CHARACTERS = 8192
# Longer runs of letters are no English words, and would fill the memory of syllable counts.
WORD_CHARACTERS = 64
# Two texts closer than this in cosine are a tie: single precision and the make-up of a batch move
# the last digits, and a judge's vote must not hang on those.
RELEVANCE_DECIMALS = 4

_SENTENCE_END = re.compile(r"[.!?…]+(?=\s|$)|\n+")


def warmth(text: str) -> float:
    """VADER's compound sentiment in [-1, 1] (Hutto & Gilbert 2014, package vaderSentiment)."""
    return float(_sentiment_analyzer().polarity_scores(text[:WARMTH_CHARACTERS])["compound"])


def readability(text: str) -> float:
    """Flesch's reading ease, 206.835 − 1.015 words/sentences − 84.6 syllables/words (Flesch 1948).

    Syllables are hyphenation points + 1 (package pyphen), which counts too few in some words.
    """
    tokens = words(text)
    if not tokens:
        return WORDLESS
    sentences = sum(1 for part in _SENTENCE_END.split(text) if words(part))
    syllables = sum(_syllables(word[:WORD_CHARACTERS]) for word in tokens)
    return 206.835 - 1.015 * len(tokens) / max(sentences, 1) - 84.6 * syllables / len(tokens)


def brevity(text: str) -> float:
    """Minus the number of words."""
    return -float(len(tokens)) if (tokens := words(text)) else WORDLESS


def diversity(text: str) -> float:
    """Guiraud's root type-token ratio: distinct words / √words (Guiraud 1954).

    It grows like √words for a text that never repeats itself, and so pulls against brevity.
    """
    tokens = words(text)
    return len(set(tokens)) / math.sqrt(len(tokens)) if tokens else WORDLESS


class Relevance:
    """Cosine of the MiniLM embeddings of prompt and response, rounded to 4 decimals.

    The prompt is the user's text alone, without system prompt or chat template. Embeddings of the
    most recent prompts are kept, since a prompt comes back with every response to it.
    """

    def __init__(self, kept_prompts: int = 4096) -> None:
        self._embed = SentenceEmbedder()
        self._kept = kept_prompts
        self._prompts: dict[str, Tensor] = {}

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        """Scores of N pairs; raises MissingBundle when the embeddings are not installed."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._prompts]
        texts = list(dict.fromkeys([*new, *responses]))
        embedded = dict(zip(texts, self._embed(texts), strict=True))
        known = {**self._prompts, **{prompt: embedded[prompt] for prompt in new}}
        left = torch.stack([known[prompt] for prompt in prompts]).double()
        right = torch.stack([embedded[response] for response in responses]).double()
        # The newest are at the end.
        self._prompts = dict(list(known.items())[-self._kept :])
        return (left * right).sum(-1).round(decimals=RELEVANCE_DECIMALS).tolist()


def by_response(score: Callable[[str], float]) -> Scorer:
    """The scorer that looks at the response only."""
    return lambda prompts, responses: [score(response) for response in responses]


def default_scorers() -> dict[str, Scorer]:
    """A new set of the five scorers, in the panel's order. Loads nothing yet."""
    return {
        "warmth": by_response(warmth),
        "readability": by_response(readability),
        "relevance": Relevance(),
        "brevity": by_response(brevity),
        "diversity": by_response(diversity),
    }


@lru_cache(maxsize=65536)
def _syllables(word: str) -> int:
    return len(_hyphenator().positions(word)) + 1


_COMMANDS = MappingProxyType(
    {"vaderSentiment": "pip install vaderSentiment==3.3.2", "pyphen": "pip install pyphen"}
)


@lru_cache(maxsize=1)
def _sentiment_analyzer() -> Any:
    return _package("vaderSentiment", "vaderSentiment.vaderSentiment").SentimentIntensityAnalyzer()


@lru_cache(maxsize=1)
def _hyphenator() -> Any:
    return _package("pyphen", "pyphen").Pyphen(lang="en_US")


def _package(name: str, module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingBundle(
            f"the annotators need the package {name}, which is not installed. "
            f"Get it with: {_COMMANDS[name]}"
        ) from error
