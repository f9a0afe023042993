"""Prompts: where they come from, and how they are split so that no prompt serves two purposes.

Neither torch nor a model is imported here, so a plan's prompts can be checked before work starts.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

CORPUS_NAME = "chatterbot-corpus"
CORPUS_COMMAND = "pip install chatterbot-corpus==1.3.3"
PARQUET_COMMAND = "pip install pyarrow"
FIELDS = ("prompt", "text")
SUFFIXES = (".jsonl", ".txt", ".parquet")
# Characters; every prompt of the corpus is shorter (its longest has 131).
MAX_CORPUS_LENGTH = 200
LISTED_PROBLEMS = 50
SPLIT_SHARES: Mapping[str, float] = MappingProxyType(
    {"tuning": 0.2, "training": 0.5, "evaluation": 0.3}
)


class PromptFileError(ValueError):
    """A source of prompts cannot be used. `problems` holds every complaint, in the file's order."""

    def __init__(self, source: str, problems: list[str]) -> None:
        self.source = source
        self.problems = problems
        shown = problems[:LISTED_PROBLEMS]
        if more := len(problems) - len(shown):
            shown = [*shown, f"and {more} more"]
        super().__init__(f"task.prompts: cannot use '{source}':\n  " + "\n  ".join(shown))


class Prompt(NamedTuple):
    """A prompt. `id` is a 63-bit hash of `text` and nothing else, so it is stable everywhere."""

    id: int
    text: str


def make_prompt(text: str) -> Prompt:
    """The prompt of a text, whose outer white space is dropped and whose Unicode form is NFC."""
    text = unicodedata.normalize("NFC", text).strip()
    return Prompt(_hash63(text), text)


def load_prompts(source: str | Path) -> list[Prompt]:
    """The distinct prompts of `source`, in its order.

    `source` is "chatterbot-corpus" (the first utterance of each English dialogue of that package,
    of at most 200 characters) or a file: .jsonl (an object a line with a field "prompt" or "text"),
    .txt (a prompt a line, UTF-8) or .parquet (a column "prompt" or "text"). Of texts that differ
    only in case, white space or closing punctuation the first is kept: such a pair must not land
    on two sides of a split.

    Raises PromptFileError, which lists every bad line with what it held and what is allowed.
    """
    if str(source) == CORPUS_NAME:
        texts: Iterable[str] = _corpus_texts()
    else:
        texts = _file_texts(Path(source).expanduser())
    kept: dict[str, Prompt] = {}
    for text in texts:
        kept.setdefault(_folded(text), make_prompt(text))
    return list(kept.values())


def split_prompts(
    prompts: Iterable[Prompt], shares: Mapping[str, float] = SPLIT_SHARES
) -> dict[str, list[Prompt]]:
    """Disjoint splits of `prompts`, whose expected sizes are in the ratio of `shares`.

    A prompt's split depends on its text and on `shares` (names, order, ratios) only, so adding or
    removing prompts moves no other prompt. Texts that differ only in case, white space or closing
    punctuation share a split.

    Raises ValueError for no shares, or for one that is negative, not finite, or all zero.
    """
    total = sum(shares.values())
    if not shares or not 0 < total < float("inf") or min(shares.values()) < 0:
        raise ValueError(f"shares: got {dict(shares)}; each must be >= 0 and one of them > 0")
    splits: dict[str, list[Prompt]] = {name: [] for name in shares}
    for prompt in prompts:
        splits[_split_of(prompt.text, shares, total)].append(prompt)
    return splits


def _split_of(text: str, shares: Mapping[str, float], total: float) -> str:
    # Salted: a split must not depend on the ids, which also key the sampling of responses.
    position = _hash63("split:" + _folded(text)) / 2**63 * total
    name, reached = "", 0.0
    for candidate, share in shares.items():
        if share > 0:
            name, reached = candidate, reached + share
            if position < reached:
                break
    return name


def _hash63(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") >> 1


def _folded(text: str) -> str:
    words = unicodedata.normalize("NFC", text).casefold().split()
    folded = " ".join(words)
    # A text of punctuation only is told apart by it.
    return folded.rstrip(" .?!") or folded


def corpus_dialogues() -> list[list[str]]:
    """The English dialogues of chatterbot-corpus, each a list of utterances, in its order.

    Raises PromptFileError when the package is not installed.
    """
    spec = importlib.util.find_spec("chatterbot_corpus")
    if spec is None or not spec.submodule_search_locations:
        raise PromptFileError(
            CORPUS_NAME, [f"the package is not installed; get it with: {CORPUS_COMMAND}"]
        )
    import yaml

    dialogues = []
    folder = Path(spec.submodule_search_locations[0]) / "data" / "english"
    for file in sorted(folder.glob("*.yml")):
        for dialogue in yaml.safe_load(file.read_text(encoding="utf-8"))["conversations"]:
            # One of the 2,026 dialogues of version 1.3.3 is a mapping by a slip of quoting; it has
            # no first utterance.
            if isinstance(dialogue, list) and dialogue and isinstance(dialogue[0], str):
                dialogues.append(dialogue)
    return dialogues


def corpus_prompt(utterance: str) -> str | None:
    """The prompt that an utterance of the corpus makes, None where it is blank or too long."""
    text = " ".join(utterance.split())
    return text if 0 < len(text) <= MAX_CORPUS_LENGTH else None


def _corpus_texts() -> list[str]:
    texts = (corpus_prompt(dialogue[0]) for dialogue in corpus_dialogues())
    return [text for text in texts if text is not None]


def _file_texts(file: Path) -> list[str]:
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        allowed = f"it must be '{CORPUS_NAME}' or a file ending in {', '.join(SUFFIXES)}"
        raise PromptFileError(str(file), [f"unknown kind of source: {allowed}"])
    try:
        entries = list(_parquet_entries(file) if suffix == ".parquet" else _line_entries(file))
    except OSError as error:
        raise PromptFileError(str(file), [f"it cannot be read: {error.strerror or error}"]) from (
            error
        )
    problems = []
    for number, entry in entries:
        if complaint := text_complaint(entry):
            problems.append(f"{'row' if suffix == '.parquet' else 'line'} {number}: {complaint}")
    if not entries:
        problems.append("it holds no prompts; at least one is needed")
    if problems:
        raise PromptFileError(str(file), problems)
    return [str(entry) for _, entry in entries]


class Unreadable(NamedTuple):
    """What stands in the place of an entry that could not be read."""

    complaint: str


def text_complaint(entry: object, name: str = "a prompt") -> str:
    """What is wrong with a text; empty when it can be used."""
    if isinstance(entry, Unreadable):
        return entry.complaint
    if not isinstance(entry, str):
        given = json.dumps(entry, default=repr)[:80]
        return f"got {given} of type {type(entry).__name__}; {name} must be text"
    if not entry.strip():
        return f"got {entry[:20]!r}; {name} must not be empty"
    # Cs: a lone surrogate, which JSON can spell but UTF-8 cannot.
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n\r" for c in entry):
        return f"got {entry[:40]!r}; {name} must be text without control characters"
    return ""


def _line_entries(file: Path) -> Iterator[tuple[int, object]]:
    is_json = file.suffix.lower() == ".jsonl"
    for number, line in text_lines(file):
        yield number, _json_entry(line) if is_json and isinstance(line, str) else line


def text_lines(file: Path) -> Iterator[tuple[int, str | Unreadable]]:
    """The lines of a UTF-8 file with their numbers, without their ends."""
    lines = file.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    # The line break that ends the last line does not begin another.
    if lines[-1] == b"":
        lines.pop()
    for number, raw in enumerate(lines, start=1):
        try:
            yield number, raw.decode("utf-8").removesuffix("\r")
        except UnicodeDecodeError:
            yield number, Unreadable(f"got bytes {raw[:40]!r}; each line must be UTF-8 text")


def _json_entry(line: str) -> object:
    wanted = 'an object with a text field "prompt" or "text"'
    if not line.strip():
        return Unreadable(f"got an empty line; each line must be {wanted}")
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Unreadable(f"got {line[:40]!r}, which is not JSON ({error}); want {wanted}")
    if not isinstance(record, dict) or not any(field in record for field in FIELDS):
        return Unreadable(f"got {line[:80]!r}; each line must be {wanted}")
    return next(record[field] for field in FIELDS if field in record)


def _parquet_entries(file: Path) -> Iterator[tuple[int, object]]:
    if not file.is_file():
        raise FileNotFoundError(2, "No such file")
    import pandas

    try:
        frame = pandas.read_parquet(file)
    except ImportError as error:
        need = f"reading Parquet needs pyarrow; get it with: {PARQUET_COMMAND}"
        raise PromptFileError(str(file), [need]) from error
    except ValueError as error:
        raise PromptFileError(str(file), [f"it is not a Parquet file ({error})"]) from error
    column = next((field for field in FIELDS if field in frame.columns), None)
    if column is None:
        given = f'has columns {list(frame.columns)}; it must have a column "prompt" or "text"'
        raise PromptFileError(str(file), [given])
    yield from enumerate(frame[column].tolist(), start=1)
