"""Checks of a dynamic's hyper-parameters, collected so that every mistake comes out together."""

from __future__ import annotations

import torch
from torch import Tensor


class FieldChecks:
    """The invalid fields of a dynamic, in `found` as "field: got …, allowed: …"."""

    def __init__(self, dynamic: object):
        self.dynamic = dynamic
        self.found: list[str] = []

    def positive(self, *fields: str) -> None:
        """Finite numbers above 0."""
        for field in fields:
            self._number(field, "a finite number above 0", above=0.0)

    def not_negative(self, *fields: str) -> None:
        """Finite numbers of 0 or more."""
        for field in fields:
            self._number(field, "a finite number of 0 or more", least=0.0)

    def share(self, *fields: str) -> None:
        """Numbers from 0 to 1."""
        for field in fields:
            self._number(field, "a number from 0 to 1", least=0.0, most=1.0)

    def count(self, *fields: str) -> None:
        """Integers of 1 or more, the same for all rows."""
        for field in fields:
            got = getattr(self.dynamic, field)
            good = isinstance(got, int) and not isinstance(got, bool) and got >= 1
            self.require(field, good, "an integer of 1 or more")

    def choice(self, field: str, *allowed: str) -> None:
        """One of these words."""
        self.require(field, getattr(self.dynamic, field) in allowed, " | ".join(allowed))

    def require(self, field: str, good: bool, allowed: str) -> None:
        """Note the field unless it is good."""
        if not good:
            self.found.append(f"{field}: got {getattr(self.dynamic, field)!r}, allowed: {allowed}")

    def _number(
        self,
        field: str,
        allowed: str,
        above: float = -float("inf"),
        least: float = -float("inf"),
        most: float = float("inf"),
    ) -> None:
        got = getattr(self.dynamic, field)
        if isinstance(got, Tensor):
            if got.ndim != 2 or got.shape[1] != 1 or got.dtype != torch.float64:
                self.found.append(
                    f"{field}: got a {got.dtype} tensor of shape {tuple(got.shape)}, "
                    "allowed: float64 (N, 1), one number a row"
                )
                return
            values = got[:, 0]
        elif isinstance(got, int | float) and not isinstance(got, bool):
            values = torch.tensor([got], dtype=torch.float64)
        else:
            self.require(field, False, allowed)
            return
        good = values.isfinite() & (values > above) & (values >= least) & (values <= most)
        for row in (~good).nonzero()[:1].flatten().tolist():
            at = f" in row {row}" if isinstance(got, Tensor) else ""
            self.found.append(f"{field}: got {float(values[row])}{at}, allowed: {allowed}")
