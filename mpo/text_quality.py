"""Signs of degenerate responses, so that a policy that games its judge shows in the table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

NGRAM = 3
NGRAM_TIMES = 3
WORD_TIMES_IN_A_ROW = 4

# Letters and digits of any script, with inner apostrophes; the underscore is no letter.
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


class TextFlags(NamedTuple):
    """What is wrong with a response.

    empty: it has no word (blank, or punctuation and symbols only); one_word: it has exactly one;
    repeated_ngram: some run of 3 words occurs 3 times or more (overlaps count), or some word stands
    4 times or more in a row.
    """

    empty: bool
    one_word: bool
    repeated_ngram: bool


def words(text: str) -> list[str]:
    """The words of a text in lower case: runs of letters and digits, inner apostrophes included."""
    return _WORD.findall(text.casefold())


def text_flags(text: str) -> TextFlags:
    """The flags of one response."""
    tokens = words(text)
    ngrams = Counter(zip(*(tokens[start:] for start in range(NGRAM)), strict=False))
    often = max(ngrams.values(), default=0)
    row = max((sum(1 for _ in run) for _, run in groupby(tokens)), default=0)
    return TextFlags(
        empty=not tokens,
        one_word=len(tokens) == 1,
        repeated_ngram=often >= NGRAM_TIMES or row >= WORD_TIMES_IN_A_ROW,
    )


def quality_shares(texts: Sequence[str], truncated: Sequence[bool]) -> dict[str, float]:
    """Shares in [0, 1] of truncated, empty, one_word and repeated_ngram among N responses.

    `truncated` comes from the sampler (no end-of-sequence token within the limit): a text alone
    does not show it. Raises ValueError for no texts, or when the two lengths differ.
    """
    if len(texts) != len(truncated) or not texts:
        raise ValueError(
            f"got {len(texts)} texts and {len(truncated)} truncated marks; both must be of one "
            "length, at least 1"
        )
    flags = [text_flags(text) for text in texts]
    counts = {"truncated": sum(map(bool, truncated))}
    for name in TextFlags._fields:
        counts[name] = sum(getattr(flag, name) for flag in flags)
    return {name: count / len(texts) for name, count in counts.items()}
