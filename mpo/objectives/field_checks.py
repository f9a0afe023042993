"""Checks of a method's fields, collected so that every mistake comes out together."""

from __future__ import annotations

import math


class FieldChecks:
    """The invalid fields of a method, in `found` as 'field: got …, allowed is …'."""

    def __init__(self, method: object):
        self.method = method
        self.found: list[str] = []

    def require(self, field: str, good: bool, allowed: str) -> None:
        """Note the field unless it is good."""
        if not good:
            got = getattr(self.method, field)
            self.found.append(f"{field}: got {got!r}, allowed is {allowed}")

    def positive(self, field: str) -> None:
        """A finite number above 0."""
        self.require(field, 0 < getattr(self.method, field) < math.inf, "a number > 0")

    def not_negative(self, field: str) -> None:
        """A finite number of at least 0."""
        self.require(field, 0 <= getattr(self.method, field) < math.inf, "a number ≥ 0")

    def count(self, field: str) -> None:
        """An integer of at least 1."""
        self.require(field, getattr(self.method, field) >= 1, "an integer ≥ 1")

    def choice(self, field: str, *allowed: str) -> None:
        """One of these words."""
        self.require(field, getattr(self.method, field) in allowed, " | ".join(allowed))

    def count_or_none(self, field: str, when_none: str) -> None:
        """An integer of at least 1, or None, which means `when_none`."""
        value = getattr(self.method, field)
        good = value is None or value >= 1
        self.require(field, good, f"an integer ≥ 1, or null ({when_none})")
