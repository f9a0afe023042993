"""Rows of a data set as plain mappings: from JSONL, from Parquet, or through `datasets` by name."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mpo.prompts import LISTED_PROBLEMS, PARQUET_COMMAND, Unreadable, text_lines

DATASETS_COMMAND = "pip install datasets==5.2.0"
FILE_KINDS = {".jsonl": "line", ".parquet": "row"}
DEFAULT_SPLIT = "train"
# A hub id, or a local folder, and the split after a colon.
_NAME = re.compile(r"(?P<path>.+?)(:(?P<split>[\w.-]+))?")
_HUB_ID = re.compile(r"[\w-]+(/[\w.-]+)?")


class DataError(ValueError):
    """A data set cannot be used. `problems` holds every complaint, in the order of its rows."""

    def __init__(self, source: str | Path, problems: list[str]) -> None:
        self.source = str(source)
        self.problems = problems
        shown = problems[:LISTED_PROBLEMS]
        if more := len(problems) - len(shown):
            shown = [*shown, f"and {more} more"]
        super().__init__(f"data.source: cannot use '{source}':\n  " + "\n  ".join(shown))


class Rows(NamedTuple):
    """The rows of a data set."""

    entries: list[tuple[int, Mapping[str, Any] | Unreadable]]
    """Number, from 1, and content."""
    columns: tuple[str, ...]
    """All names that occur, in the order in which they do."""
    unit: str
    """What a number counts: line or row."""


def read_rows(source: str | Path) -> Rows:
    """The rows of `source`: a .jsonl file, a .parquet file, or what `datasets` loads by a name.

    A name is a hub id such as "owner/name" or a local folder of data files, with the split after a
    colon: "owner/name:test". Without one the split is "train".

    Raises DataError when nothing can be read. A JSONL line that is not an object is no error here:
    it stands among the entries as Unreadable.
    """
    file = Path(source).expanduser()
    kind = FILE_KINDS.get(file.suffix.lower())
    try:
        if kind == "line":
            return _of_mappings(((n, _parsed(line)) for n, line in text_lines(file)), kind)
        if kind == "row":
            return _parquet_rows(file)
    except OSError as error:
        raise DataError(source, [f"it cannot be read: {error.strerror or error}"]) from error
    return _named_rows(str(source))


def _of_mappings(entries: Iterable[tuple[int, Mapping[str, Any] | Unreadable]], unit: str) -> Rows:
    read = list(entries)
    columns = dict.fromkeys(
        name for _, entry in read if not isinstance(entry, Unreadable) for name in entry
    )
    return Rows(read, tuple(columns), unit)


def _parsed(line: str | Unreadable) -> Mapping[str, Any] | Unreadable:
    if isinstance(line, Unreadable):
        return line
    if not line.strip():
        return Unreadable("got an empty line; each line must be a JSON object")
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Unreadable(f"got {line[:40]!r}, which is not JSON ({error})")
    if not isinstance(record, dict):
        return Unreadable(f"got {line[:80]!r}; each line must be a JSON object")
    return record


def _parquet_rows(file: Path) -> Rows:
    if not file.is_file():
        raise FileNotFoundError(2, "No such file")
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError as error:
        need = f"reading Parquet needs pyarrow; get it with: {PARQUET_COMMAND}"
        raise DataError(file, [need]) from error
    try:
        table = parquet.read_table(file)
    except ArrowInvalid as error:
        raise DataError(file, [f"it is not a Parquet file ({error})"]) from error
    return Rows(list(enumerate(table.to_pylist(), start=1)), tuple(table.column_names), "row")


def _named_rows(source: str) -> Rows:
    matched = _NAME.fullmatch(source)
    path, split = (matched["path"], matched["split"] or DEFAULT_SPLIT) if matched else (source, "")
    folder = Path(path).expanduser()
    if not folder.is_dir() and (folder.exists() or not _HUB_ID.fullmatch(path)):
        allowed = ", ".join(FILE_KINDS)
        kinds = f"a file ending in {allowed}, a folder of such files or a hub id like owner/name"
        raise DataError(source, [f"unknown kind of source: it must be {kinds}"])
    if importlib.util.find_spec("datasets") is None:
        need = f"a data set by name needs the package datasets; get it with: {DATASETS_COMMAND}"
        raise DataError(source, [need])
    import datasets

    try:
        table = datasets.load_dataset(str(folder) if folder.is_dir() else path, split=split)
    # Whatever the library cannot do (no such name, no network, a script) is said in its own words.
    except Exception as error:
        said = f"the datasets library says: {type(error).__name__}: {error}"
        raise DataError(source, [said]) from error
    rows = ((number, dict(row)) for number, row in enumerate(table, start=1))
    return Rows(list(rows), tuple(table.column_names), "row")
