"""Comparisons from rated chats: which chats, which pairs, what is shown, and the real counts."""

from __future__ import annotations

from typing import Any

import pytest

from mpo.training import chitchat
from mpo.training.chitchat import (
    CHITCHAT_NAME,
    MATCHED_NAME,
    RatedChat,
    chitchat_comparisons,
    rated_chats,
)
from mpo.training.data import DataError, load_comparisons


def raw(
    texts: list[list[str]], ratings: tuple[int, int, int] | None, topic: str | None = "Food?"
) -> dict[str, Any]:
    """A chat as the package holds it; its turns alternate between two people."""
    messages = [
        [{"text": text, "sender": f"person {place % 2}", "timestamp": ""} for text in turn]
        for place, turn in enumerate(texts)
    ]
    names = ("interesting", "upbeat", "witty")
    rated = None if ratings is None else dict(zip(names, ratings, strict=True))
    return {"messages": messages, "ratings": rated, "prompt": topic, "start": ""}


def chat(name: str, rating: int, words: int = 40, topic: str = "Food?") -> RatedChat:
    turns = (("A", f"{name} " * (words - 1)), ("B", "yes"))
    return RatedChat(name, topic, (rating,) * 3, turns)


def test_the_chats_that_can_be_used() -> None:
    two = [["Hi", " there\n"], ["Hello"]]
    dataset = {
        "used": raw(two, (1, 2, 3)),
        "unrated": raw(two, None),
        "untouched": raw(two, (5, 5, 5)),
        "alone": raw([["Hi"]], (1, 1, 1)),
        "no topic": raw(two, (1, 2, 3), topic=None),
        "three people": raw([*two, ["Me too"]], (1, 2, 3)),
    }
    dataset["three people"]["messages"][2][0]["sender"] = "somebody else"
    (kept,) = rated_chats(dataset)
    # witty, interesting, upbeat
    assert kept == RatedChat("used", "Food?", (3, 1, 2), (("A", "Hi there"), ("B", "Hello")))


def test_an_opening_is_cut_at_the_word() -> None:
    kept = RatedChat("x", "t", (1, 1, 1), (("A", "a b c"), ("B", "d e"), ("A", "f")))
    assert kept.words == 6
    assert kept.opening(6) == kept.opening(99) == "A: a b c\nB: d e\nA: f"
    assert kept.opening(4) == "A: a b c\nB: d"
    assert kept.opening(3) == "A: a b c"


def winner(comparison: Any) -> str:
    first = comparison.wins[0][1] == 1.0
    return str(comparison.responses[0 if first else 1].split()[1])


def test_the_better_half_meets_the_worse_half_of_its_topic() -> None:
    chats = [chat(f"r{rating}", rating) for rating in (9, 2, 7, 1, 5)]
    chats += [chat("elsewhere", 10, topic="Sport?"), chat("short", 10, words=20)]
    found = chitchat_comparisons(chats)
    # 1 2 (5) 7 9: 1 meets 7, 2 meets 9; the other topic has nobody to meet, one is too short.
    assert sorted(map(winner, found)) == ["r7", "r9"]
    assert {record.group for record in found} == {"r1 r7", "r2 r9"}
    assert all(record.wins[0][1] + record.wins[1][0] == 1 for record in found)
    assert {record.prompt for record in found} == {chitchat.INSTRUCTION.format(topic="Food?")}


def test_a_pair_below_the_margin_is_left_out() -> None:
    chats = [chat("a", 6), chat("b", 7)]
    assert len(chitchat_comparisons(chats, margin=1.0)) == 1
    assert chitchat_comparisons(chats, margin=1.01) == []
    assert chitchat_comparisons([chat("a", 6), chat("b", 6)], margin=1e-9) == []


@pytest.mark.parametrize(
    "settings", [{"min_words": 0}, {"min_words": 101}, {"margin": 0.0}, {"margin": float("nan")}]
)
def test_bad_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="allowed is 1 <= min_words <= max_words and margin > 0"):
        chitchat_comparisons([], **settings)


@pytest.fixture(scope="module")
def real() -> list[RatedChat]:
    return rated_chats()


def test_the_package_as_it_is(real: list[RatedChat]) -> None:
    assert len(real) == 2375
    assert len({kept.topic for kept in real}) == 34
    assert all(1 <= rating <= 10 for kept in real for rating in kept.ratings)


def test_each_real_chat_is_in_one_comparison_at_most(real: list[RatedChat]) -> None:
    found = chitchat_comparisons(real)
    assert len(found) == 1095
    chats = [name for record in found for name in record.group.split()]
    assert len(set(chats)) == len(chats) == 2 * 1095
    by_name = {kept.id: kept for kept in real}
    assert len({by_name[name].topic for name in chats[:200]}) > 25, "in mixed order"
    for record in found:
        pair = [by_name[name] for name in record.group.split()]
        assert len({kept.topic for kept in pair}) == 1
        better = max(pair, key=lambda kept: sum(kept.ratings))
        assert record.responses[0 if record.wins[0][1] else 1] == better.opening(100)
    first = sum(record.wins[0][1] for record in found)
    # Three standard deviations of a fair coin.
    assert abs(first - 1095 / 2) < 3 * (1095 / 4) ** 0.5


def test_names_and_splits() -> None:
    parts = load_comparisons(CHITCHAT_NAME)
    assert (len(parts.training), len(parts.held_out)) == (861, 234)
    matched = load_comparisons(MATCHED_NAME)
    assert (len(matched.training), len(matched.held_out)) == (728, 197)
    for record in [*matched.training, *matched.held_out]:
        spoken = [text.replace("\n", " ").split() for text in record.responses]
        turns = [text.count("\n") + 1 for text in record.responses]
        assert [len(words) - n for words, n in zip(spoken, turns, strict=True)] == [100, 100]


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chitchat.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install chitchat-dataset==0\.9\.0"):
        rated_chats()
