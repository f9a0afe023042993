"""What the value of a setting must satisfy beside its type, and the words that say so."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple


class Rule(NamedTuple):
    """What a value must satisfy, and the words for it."""

    holds: Callable[[Any], bool]
    words: str


def one_of(*names: str) -> Rule:
    """The value is one of the names."""
    return Rule(lambda value: value in names, " | ".join(names))


POSITIVE = Rule(lambda value: 0 < value < math.inf, "a number > 0")
NOT_NEGATIVE = Rule(lambda value: 0 <= value < math.inf, "a number ≥ 0")
COUNT = Rule(lambda value: value >= 1, "an integer ≥ 1")
COUNT_OR_NONE = Rule(lambda value: value is None or value >= 1, "an integer ≥ 1, or null")
COUNT_OR_ZERO = Rule(lambda value: value >= 0, "an integer ≥ 0")
SOME_TEXT = Rule(lambda value: bool(value.strip()), "text that is not empty")
TEXT_OR_NONE = Rule(
    lambda value: value is None or bool(value.strip()), "text that is not empty, or null"
)
DEVICE = Rule(lambda value: bool(re.fullmatch(r"cpu|cuda(:\d+)?", value)), "cpu | cuda | cuda:N")
BETAS = Rule(
    lambda value: len(value) == 2 and all(0 <= beta < 1 for beta in value),
    "two numbers in [0, 1)",
)


def broken(section: object, **rules: Rule) -> list[str]:
    """Every field whose rule does not hold, as 'field: got …, allowed is …'."""
    return [
        f"{field}: got {getattr(section, field)!r}, allowed is {rule.words}"
        for field, rule in rules.items()
        if not rule.holds(getattr(section, field))
    ]
