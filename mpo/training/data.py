"""Examples and comparisons for the stages, from a file, a name or a package, checked and split.

What stands in which columns is said in docs/stages.md and in columns.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar, cast

from mpo.prompts import (
    CORPUS_NAME,
    Prompt,
    PromptFileError,
    Unreadable,
    corpus_dialogues,
    corpus_prompt,
    make_prompt,
    split_prompts,
)
from mpo.training.chitchat import CHITCHAT_NAME, MATCHED_NAME, named_comparisons
from mpo.training.columns import COMPARISON_FORMS, EXAMPLE_FORMS, Form, form_of
from mpo.training.records import Comparison, Example
from mpo.training.rows import DataError, Rows, read_rows

RecordT = TypeVar("RecordT")
Kind = Literal["examples", "comparisons"]
HELD_OUT_COLUMN = "held_out"
HELD_OUT_SHARE = 0.2


class Parts(NamedTuple, Generic[RecordT]):
    """Records to train on and records that are only measured on; no group is in both."""

    training: list[RecordT]
    held_out: list[RecordT]


def load_examples(source: str | Path, held_out: float = HELD_OUT_SHARE) -> Parts[Example]:
    """The examples of `source`, of whose prompts about the share `held_out` is held out.

    `source` is "chatterbot-corpus" (see `corpus_examples`; its split is fixed, `held_out` is not
    used) or whatever `read_rows` reads, with columns prompt and response, or messages. A column
    held_out of true and false takes the place of the share. `held_out` = 0 holds nothing out.

    Raises DataError with every bad row, for no rows, missing columns, or a side without records.
    """
    if str(source) == CORPUS_NAME:
        try:
            return corpus_examples()
        except PromptFileError as error:
            raise DataError(source, error.problems) from error
    return cast("Parts[Example]", _load(source, EXAMPLE_FORMS, held_out, _prompt_of))


def load_comparisons(source: str | Path, held_out: float = HELD_OUT_SHARE) -> Parts[Comparison]:
    """The comparisons of `source`, of whose groups about the share `held_out` is held out.

    `source` is "chitchat-dataset" or "chitchat-dataset:matched" (chitchat.py), or whatever
    `read_rows` reads, with one of the sets of columns of COMPARISON_FORMS. A column group says what
    is split as a whole (without it: the prompt), a column held_out takes the place of the share.

    Raises DataError as `load_examples` does, and for labels that are all the same.
    """
    if str(source) in (CHITCHAT_NAME, MATCHED_NAME):
        return split_records(source, named_comparisons(str(source)), held_out, _group_of)
    return cast("Parts[Comparison]", _load(source, COMPARISON_FORMS, held_out, _group_of))


def data_problems(source: str | Path, kind: Kind, held_out: float = HELD_OUT_SHARE) -> list[str]:
    """What is wrong with a source, for a check before work; empty when it can be used.

    It reads the whole source: what `datasets` loads by name it keeps, so it is fetched once.
    """
    load = load_examples if kind == "examples" else load_comparisons
    try:
        load(source, held_out)
    except DataError as error:
        return error.problems
    return []


def corpus_examples() -> Parts[Example]:
    """The first utterance of each dialogue of chatterbot-corpus with the reply to it.

    Prompts of the corpus's training split train, those of its tuning split are held out
    (`split_prompts`): a prompt of the evaluation split is in neither. A prompt that has several
    dialogues has several examples. They come in the order of their prompts' hashes, so that the
    first few are on all topics.

    Raises PromptFileError when the package is not installed.
    """
    replies: list[tuple[Prompt, str]] = []
    for dialogue in corpus_dialogues():
        text = corpus_prompt(dialogue[0])
        reply = dialogue[1] if len(dialogue) > 1 else None
        if text is not None and isinstance(reply, str) and reply.strip():
            replies.append((make_prompt(text), reply.strip()))
    replies.sort(key=lambda pair: pair[0].id)
    splits = split_prompts(prompt for prompt, _ in replies)
    training, tuning = ({each.id for each in splits[name]} for name in ("training", "tuning"))
    return Parts(
        [Example(prompt.text, reply) for prompt, reply in replies if prompt.id in training],
        [Example(prompt.text, reply) for prompt, reply in replies if prompt.id in tuning],
    )


def split_records(
    source: str | Path,
    records: Sequence[RecordT],
    held_out: float,
    group_of: Callable[[RecordT], str],
) -> Parts[RecordT]:
    """Split by a hash of each record's group, which more or fewer other records do not change.

    Raises ValueError for a share outside [0, 1), DataError when a wanted side has no record.
    """
    if not 0 <= held_out < 1:
        raise ValueError(f"data.held_out: got {held_out}, allowed is 0 <= held_out < 1")
    groups = {group_of(record): make_prompt(group_of(record)) for record in records}
    shares = {"held_out": held_out, "training": 1 - held_out}
    chosen = {prompt.id for prompt in split_prompts(groups.values(), shares)["held_out"]}
    held = [groups[group_of(record)].id in chosen for record in records]
    parts = _parts(records, held)
    if not parts.training or (held_out and not parts.held_out):
        raise DataError(
            source,
            [
                f"its {len(records)} records of {len(groups)} groups split into "
                f"{len(parts.training)} for training and {len(parts.held_out)} held out at a share "
                f"of {held_out}; each side needs at least one"
            ],
        )
    return parts


def _parts(records: Sequence[RecordT], held: Sequence[bool]) -> Parts[RecordT]:
    pairs = list(zip(records, held, strict=True))
    return Parts([r for r, out in pairs if not out], [r for r, out in pairs if out])


def _prompt_of(record: Any) -> str:
    return str(record.prompt)


def _group_of(record: Any) -> str:
    return str(record.group)


def _load(
    source: str | Path, forms: Sequence[Form], held_out: float, group_of: Callable[[Any], str]
) -> Parts[Any]:
    rows = read_rows(source)
    form = _checked_form(source, rows, forms)
    named = HELD_OUT_COLUMN in rows.columns
    needed = (*form.columns, HELD_OUT_COLUMN) if named else form.columns
    records, held, problems = [], [], []
    for number, entry in rows.entries:
        record, complaints = _record(entry, form, needed)
        problems += [f"{rows.unit} {number}: {complaint}" for complaint in complaints]
        if record is not None and not complaints:
            records.append(record)
            held.append(named and bool(cast("Mapping[str, Any]", entry)[HELD_OUT_COLUMN]))
    if not problems:
        problems = _constant_problems(rows, form, records)
    if problems:
        raise DataError(source, problems)
    if not named:
        return split_records(source, records, held_out, group_of)
    parts = _parts(records, held)
    if shared := {group_of(r) for r in parts.training} & {group_of(r) for r in parts.held_out}:
        given = f"{len(shared)} groups, such as {min(shared)!r:.60}, on both sides"
        raise DataError(source, [f"'{HELD_OUT_COLUMN}' puts {given}; a group must be on one"])
    return parts


def _checked_form(source: str | Path, rows: Rows, forms: Sequence[Form]) -> Form:
    if not rows.entries:
        raise DataError(source, ["it holds no rows; at least one is needed"])
    form = form_of(rows.columns, forms)
    if form is None:
        needed = "; or ".join(", ".join(each.columns) for each in forms)
        unreadable = [
            f"{rows.unit} {number}: {entry.complaint}"
            for number, entry in rows.entries
            if isinstance(entry, Unreadable)
        ]
        found = f"got the columns {list(rows.columns)}; needed are {needed}"
        raise DataError(source, [found, *unreadable])
    return form


def _record(
    entry: Mapping[str, Any] | Unreadable, form: Form, needed: Sequence[str]
) -> tuple[Any, list[str]]:
    if isinstance(entry, Unreadable):
        return None, [entry.complaint]
    if lacking := [column for column in needed if column not in entry]:
        return None, [f"got no {lacking}; it needs {list(needed)}"]
    complaints: list[str] = []
    record = form.read(entry, complaints)
    held = entry.get(HELD_OUT_COLUMN, False)
    if HELD_OUT_COLUMN in needed and not isinstance(held, bool):
        complaints.append(f"got {held!r:.40}; '{HELD_OUT_COLUMN}' must be true or false")
    return record, complaints


def _constant_problems(rows: Rows, form: Form, records: Sequence[Any]) -> list[str]:
    if form.label is not None:
        values = {cast("Mapping[str, Any]", entry)[form.label] for _, entry in rows.entries}
        if len(values) == 1:
            return [
                f"'{form.label}' is {values.pop()} in all {len(rows.entries)} rows; with one class "
                "there is nothing to learn but the order (give chosen and rejected instead)"
            ]
    elif isinstance(records[0], Comparison) and all(
        p == 0.5 for record in records for line in record.wins for p in line
    ):
        return [f"all {len(records)} comparisons are ties; some must be decided"]
    return []
