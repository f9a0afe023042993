"""Comparisons from the human ratings of the package chitchat-dataset 0.9.0.

After a chat a participant rated it: witty, interesting, upbeat, 1 to 10 each. The data hold one
triple a chat and not who gave it, so what is compared is whole chats, not speakers: two chats on
the same topic, of which one was rated better. The prompt asks for a conversation on the topic, each
response is the opening of a chat. Two things make the labels weak, and neither can be mended here:
the two ratings come from different people with different habits, and a rating is of the whole chat
where only its opening is shown.

A chat is in one comparison at most, so comparisons are independent but for people who chat often.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mpo.training.columns import tie_or
from mpo.training.records import Comparison
from mpo.training.rows import DataError

CHITCHAT_NAME = "chitchat-dataset"
MATCHED_NAME = "chitchat-dataset:matched"
"""As the first, but both responses of every pair have as many words."""
CHITCHAT_COMMAND = "pip install chitchat-dataset==0.9.0"
QUALITIES = ("witty", "interesting", "upbeat")
# Half of all rated chats carry it, and 70 % of those in which nobody answered: it is what a rating
# form shows before anybody touches it, so it says nothing.
UNTOUCHED = (5, 5, 5)
MIN_WORDS, MAX_WORDS = 30, 100
INSTRUCTION = "Write the beginning of a chat between two strangers. The topic: {topic}"
SPEAKERS = ("A", "B")


class RatedChat(NamedTuple):
    """A chat between two people that was rated."""

    id: str
    topic: str
    ratings: tuple[int, ...]
    """One a quality, 1 to 10."""
    turns: tuple[tuple[str, str], ...]
    """Speaker and text; a turn joins the messages that one person sent in a row."""

    @property
    def words(self) -> int:
        """Words of all turns."""
        return sum(len(text.split()) for _, text in self.turns)

    def opening(self, words: int) -> str:
        """The first `words` words, a line a turn."""
        lines, left = [], words
        for speaker, text in self.turns:
            if left == 0:
                break
            kept = text.split()[:left]
            left -= len(kept)
            lines.append(f"{speaker}: {' '.join(kept)}")
        return "\n".join(lines)


def rated_chats(dataset: Mapping[str, Mapping[str, Any]] | None = None) -> list[RatedChat]:
    """The chats that can be used: rated, not left untouched, with a topic, both people speaking.

    `dataset` is the content of the package's dataset.json, which is read without it. Of 7,168 chats
    5,988 are rated, 3,705 of these have two speakers, 2,377 of these a rating of their own, and
    2,375 of these a topic.

    Raises DataError when the package is not installed.
    """
    chats = []
    for name, chat in (_packaged() if dataset is None else dataset).items():
        topic, rated = chat.get("prompt"), chat.get("ratings")
        if not topic or not rated:
            continue
        ratings = tuple(rated[quality] for quality in QUALITIES)
        senders = list(dict.fromkeys(m["sender"] for turn in chat["messages"] for m in turn))
        if ratings == UNTOUCHED or len(senders) != len(SPEAKERS):
            continue
        speakers = dict(zip(senders, SPEAKERS, strict=True))
        turns = ((speakers[turn[0]["sender"]], _joined(turn)) for turn in chat["messages"] if turn)
        chats.append(RatedChat(name, topic, ratings, tuple(turn for turn in turns if turn[1])))
    return chats


def chitchat_comparisons(
    chats: Iterable[RatedChat] | None = None,
    min_words: int = MIN_WORDS,
    max_words: int = MAX_WORDS,
    margin: float = 1.0,
) -> list[Comparison]:
    """Pairs of chats on one topic whose mean ratings differ by at least `margin` points of ten.

    Chats of at least `min_words` words are shown up to `max_words`. With min_words = max_words both
    sides of every pair have as many words, and length says nothing. Within a topic the worse half
    by rating meets the better half, the i-th worst the i-th worst of the better half, so that as
    many pairs as possible keep the margin; equal ratings are ordered by a hash of the chat's name.
    Which of the two stands first is a coin, a hash of both names.

    Pairs come in an order of their own, so that the first few are on all topics.

    Raises ValueError for min_words > max_words, either below 1, or a margin that is not positive.
    """
    if not 1 <= min_words <= max_words or not margin > 0:
        raise ValueError(
            f"got min_words={min_words}, max_words={max_words}, margin={margin}; allowed is "
            "1 <= min_words <= max_words and margin > 0"
        )
    by_topic: dict[str, list[RatedChat]] = defaultdict(list)
    for chat in rated_chats() if chats is None else chats:
        if chat.words >= min_words:
            by_topic[chat.topic].append(chat)
    comparisons = []
    for topic in sorted(by_topic):
        ranked = sorted(by_topic[topic], key=lambda chat: (sum(chat.ratings), _hash(chat.id)))
        half = len(ranked) // 2
        for worse, better in zip(ranked[:half], ranked[len(ranked) - half :], strict=True):
            if sum(better.ratings) - sum(worse.ratings) >= margin * len(QUALITIES):
                comparisons.append(_comparison(topic, worse, better, max_words))
    return sorted(comparisons, key=lambda comparison: _hash(comparison.group))


def named_comparisons(name: str) -> list[Comparison]:
    """The comparisons that a name of this file stands for."""
    return chitchat_comparisons(min_words=MAX_WORDS if name == MATCHED_NAME else MIN_WORDS)


def _comparison(topic: str, worse: RatedChat, better: RatedChat, words: int) -> Comparison:
    group = " ".join(sorted((worse.id, better.id)))
    # Of the pair and not of one chat: a chat's own hash decided its place among equal ratings.
    better_first = int(_hash(group), 16) % 2 == 0
    pair = (better, worse) if better_first else (worse, better)
    first, second = (chat.opening(words) for chat in pair)
    wins = tie_or(first, second, float(better_first))
    return Comparison(INSTRUCTION.format(topic=topic), (first, second), wins, group)


def _joined(turn: Iterable[Mapping[str, str]]) -> str:
    return " ".join(" ".join(message["text"] for message in turn).split())


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8")).hexdigest()


def _packaged() -> Mapping[str, Mapping[str, Any]]:
    spec = importlib.util.find_spec("chitchat_dataset")
    if spec is None or not spec.submodule_search_locations:
        need = f"the package is not installed; get it with: {CHITCHAT_COMMAND}"
        raise DataError(CHITCHAT_NAME, [need])
    file = Path(spec.submodule_search_locations[0]) / "dataset.json"
    loaded: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return loaded
