"""Rows in a Parquet file, with a record of what they were made from.

Sampling and labelling take minutes: a file that exists is read again, if it is from the same
weights, prompts, settings and panel, and refused otherwise.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mpo.judges.annotators import AnnotatorPanel
from mpo.policy import Policy
from mpo.rollout import SamplingSettings
from mpo.training.rows import DataError


def labelled_from(
    weights: str,
    policy: Policy,
    settings: SamplingSettings,
    panel: AnnotatorPanel,
    responses: int,
) -> dict[str, Any]:
    """What decides responses and labels beside the prompts; `weights` is the model's hash."""
    return {
        "weights": weights,
        "temperature": policy.temperature,
        "seed": settings.seed,
        "max_tokens": settings.max_tokens,
        "end_tokens": list(settings.end_tokens),
        "annotators": list(panel.names),
        "responses": responses,
    }


def check_rows(file: Path, kind: bytes, made_from: Mapping[str, Any]) -> None:
    """Raises DataError with every difference between the file's record and `made_from`.

    `kind` is the record's key in the file's metadata.
    """
    from pyarrow import ArrowInvalid, parquet

    try:
        metadata = parquet.read_schema(file).metadata or {}
    except ArrowInvalid as error:
        raise DataError(file, [f"it is not a Parquet file ({error})"]) from error
    kept = json.loads(metadata.get(kind, b"{}"))
    problems = [
        f"{field}: it was made from {kept.get(field)!r}, wanted is {value!r}"
        for field, value in made_from.items()
        if kept.get(field) != value
    ]
    if problems:
        raise DataError(file, [*problems, "choose another file, or delete this one"])


def write_rows(
    file: Path, kind: bytes, rows: Sequence[dict[str, Any]], made_from: Mapping[str, Any]
) -> None:
    """Written aside and renamed, so that a file that exists is complete."""
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.Table.from_pylist(list(rows))
    table = table.replace_schema_metadata({kind: json.dumps(made_from).encode()})
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        parquet.write_table(table, aside)
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)
