"""Flags of degenerate responses."""

from __future__ import annotations

import pytest

from mpo.text_quality import quality_shares, text_flags, words


@pytest.mark.parametrize(
    ("text", "empty", "one_word", "repeated"),
    [
        ("", True, False, False),
        (" \n", True, False, False),
        ("?!", True, False, False),
        ("🙂", True, False, False),
        ("Yes.", False, True, False),
        ("don't", False, True, False),
        ("Yes, yes.", False, False, False),
        ("no no no", False, False, False),
        ("No, no! NO no", False, False, True),
        ("a b c, a b c", False, False, False),
        ("a b c, a b c; A B C.", False, False, True),
        ("I am. I am. I am.", False, False, False),
        ("I am. I am. I am. I am.", False, False, True),
    ],
)
def test_flags(text: str, empty: bool, one_word: bool, repeated: bool) -> None:
    assert text_flags(text) == (empty, one_word, repeated)


def test_words() -> None:
    assert words("It's O’Neil's 2nd snake_case — ÉTÉ!") == [
        "it's",
        "o’neil's",
        "2nd",
        "snake",
        "case",
        "été",
    ]


def test_shares() -> None:
    shares = quality_shares(["", "Yes", "go go go go", "Fine by me."], [False, True, True, True])
    expected = {"truncated": 0.75, "empty": 0.25, "one_word": 0.25, "repeated_ngram": 0.25}
    assert shares == expected


@pytest.mark.parametrize(("texts", "truncated"), [([], []), (["a"], []), (["a"], [True, False])])
def test_shares_of_nothing_or_of_unequal_lengths_are_refused(
    texts: list[str], truncated: list[bool]
) -> None:
    with pytest.raises(ValueError, match="texts and"):
        quality_shares(texts, truncated)
