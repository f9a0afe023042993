"""From a row's columns to an Example or a Comparison, with every complaint about the row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mpo.prompts import make_prompt, text_complaint
from mpo.training.records import Comparison, Example

Row = Mapping[str, Any]
ROLES = ["user", "assistant"]
SUM_TOLERANCE = 1e-6


class Form(NamedTuple):
    """One way to write a record in columns."""

    columns: tuple[str, ...]
    read: Callable[[Row, list[str]], Example | Comparison]
    """The record of a row that has the columns; it appends what is wrong with the row to the list,
    and its result counts only where nothing is."""
    label: str | None = None
    """The column that must not hold the same everywhere: a constant says nothing."""


def form_of(columns: Sequence[str], forms: Sequence[Form]) -> Form | None:
    """The first form all of whose columns are there."""
    return next((form for form in forms if set(form.columns) <= set(columns)), None)


def tie_or(first: str, second: str, win_prob: float) -> tuple[tuple[float, float], ...]:
    """Wins of two responses; ½ where they are the same text, whatever a label says."""
    probability = 0.5 if first == second else win_prob
    return ((0.5, probability), (1 - probability, 0.5))


def _prompt(row: Row, complaints: list[str]) -> str:
    return make_prompt(_text(row["prompt"], "prompt", complaints)).text


def _text(value: object, column: str, complaints: list[str], blank: bool = False) -> str:
    if blank and isinstance(value, str) and not value.strip():
        return ""
    if complaint := text_complaint(value, f"'{column}'"):
        complaints.append(complaint)
        return ""
    return str(value).strip()


def _exchange(value: object, column: str, complaints: list[str]) -> tuple[str, str]:
    """Prompt and response of a list of chat messages."""
    messages = value if isinstance(value, list) else []
    roles = [each.get("role") if isinstance(each, dict) else None for each in messages]
    if roles != ROLES:
        given = f"messages of {roles}" if isinstance(value, list) else f"{value!r:.40}"
        complaints.append(
            f"got {given}; '{column}' must be one message of the user and one of the assistant"
        )
        return "", ""
    texts = [_text(each.get("content"), f"{column}.content", complaints) for each in messages]
    return make_prompt(texts[0]).text, texts[1]


def _plain_example(row: Row, complaints: list[str]) -> Example:
    return Example(_prompt(row, complaints), _text(row["response"], "response", complaints))


def _message_example(row: Row, complaints: list[str]) -> Example:
    return Example(*_exchange(row["messages"], "messages", complaints))


def _chosen(row: Row, complaints: list[str]) -> Comparison:
    """`chosen` and `rejected` are texts, or each a whole exchange that begins with the prompt."""
    prompts = [_prompt(row, complaints)] if "prompt" in row else []
    texts = []
    for column in ("chosen", "rejected"):
        value = row[column]
        if isinstance(value, str) and "prompt" in row:
            texts.append(_text(value, column, complaints, blank=True))
        else:
            prompt, text = _exchange(value, column, complaints)
            prompts.append(prompt)
            texts.append(text)
    if not complaints and len(set(prompts)) > 1:
        complaints.append(f"got the prompts {prompts}; all must be the same")
    first, second = texts
    wins = tie_or(first, second, 1.0)
    return Comparison(prompts[0], (first, second), wins, _group(row, prompts[0], complaints))


def _labelled(row: Row, complaints: list[str]) -> Comparison:
    label = row["label"]
    if label not in (0, 1):
        complaints.append(f"got {label!r:.40}; 'label' must be 1 (response_a wins) or 0")
    return _two(row, float(label in (1,)), complaints)


def _judged(row: Row, complaints: list[str]) -> Comparison:
    return _two(row, _probability(row["win_prob"], "win_prob", complaints), complaints)


def _two(row: Row, win_prob: float, complaints: list[str]) -> Comparison:
    prompt = _prompt(row, complaints)
    names = ("response_a", "response_b")
    first, second = (_text(row[name], name, complaints, blank=True) for name in names)
    wins = tie_or(first, second, win_prob)
    return Comparison(prompt, (first, second), wins, _group(row, prompt, complaints))


def _table(row: Row, complaints: list[str]) -> Comparison:
    """K responses and their K × K win probabilities."""
    prompt = _prompt(row, complaints)
    listed, table = row["responses"], row["wins"]
    listed = listed if isinstance(listed, list) else []
    texts = tuple(_text(each, "responses", complaints, blank=True) for each in listed)
    if len(texts) < 2 or len(set(texts)) < len(texts):
        complaints.append(f"got {len(texts)} 'responses'; want at least 2 that all differ")
    shape = [len(line) if isinstance(line, list) else 0 for line in table or []]
    if shape != [len(texts)] * len(texts):
        complaints.append(f"got 'wins' with rows of {shape}; want {len(texts)} rows of as many")
        return Comparison(prompt, texts, (), prompt)
    wins = tuple(tuple(_probability(p, "wins", complaints) for p in line) for line in table)
    worst = max(
        (abs(wins[i][j] + wins[j][i] - 1) for i in range(len(wins)) for j in range(i + 1)),
        default=0.0,
    )
    if not complaints and worst > SUM_TOLERANCE:
        complaints.append(f"'wins' plus its transpose differs from 1 by {worst:.3g}; want 0")
    return Comparison(prompt, texts, wins, _group(row, prompt, complaints))


def _probability(value: object, column: str, complaints: list[str]) -> float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not math.isfinite(float(str(value))) or not 0 <= float(str(value)) <= 1:
        complaints.append(f"got {value!r:.40}; '{column}' must be a probability in [0, 1]")
        return 0.5
    return float(str(value))


def _group(row: Row, prompt: str, complaints: list[str]) -> str:
    """What is split as a whole: the column `group` where there is one, else the prompt."""
    return _text(row["group"], "group", complaints) if "group" in row else prompt


EXAMPLE_FORMS = (
    Form(("prompt", "response"), _plain_example),
    Form(("messages",), _message_example),
)
COMPARISON_FORMS = (
    Form(("prompt", "responses", "wins"), _table),
    Form(("prompt", "response_a", "response_b", "win_prob"), _judged, "win_prob"),
    Form(("prompt", "response_a", "response_b", "label"), _labelled, "label"),
    Form(("prompt", "chosen", "rejected"), _chosen),
    Form(("chosen", "rejected"), _chosen),
)
