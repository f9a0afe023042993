"""Atomic files: written aside, flushed to the disk, then renamed over the old one.

A reader sees the old file or the new one, never half of one, also when the writer is killed.
"""

from __future__ import annotations

import csv
import io
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ASIDE_PREFIX = ".aside-"
"""How the name of a file that is still being written begins."""


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; rename it to `path` when the block ends well.

    The path given has the suffix of `path`, so that writers which choose a format by suffix work.
    Nothing is left behind when the block raises. Raises OSError when the folder is not writable.
    """
    name = f"{ASIDE_PREFIX}{os.getpid()}-{threading.get_ident()}-{path.name}"
    aside = path.with_name(name)
    try:
        yield aside
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text. Raises OSError when the folder is missing or not writable."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: object) -> None:
    """Write JSON, indented, keys in the order given.

    Raises ValueError for NaN or infinity, which JSON does not have, and TypeError for what JSON
    cannot hold.
    """
    write_text(path, json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def write_jsonl(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write one JSON object a line. Raises as write_json."""
    lines = [json.dumps(row, allow_nan=False, ensure_ascii=False) for row in rows]
    write_text(path, "".join(f"{line}\n" for line in lines))


def write_csv(
    path: Path, rows: Sequence[Mapping[str, object]], columns: Sequence[str] | None = None
) -> None:
    """Write rows under a header line. Without `columns` those of the rows, in order of appearance.

    A value that a row lacks is an empty cell. Raises ValueError when `columns` is given and a row
    has another one.
    """
    if columns is None:
        columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _flush_folder(folder: Path) -> None:
    # Without this the rename itself may be lost when the machine stops.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
