"""What an evaluation is: it watches a run and measures it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from mpo.module import AlignmentModule


class Evaluation(Protocol):
    """Measures a run along training and at its end."""

    def start(self, module: AlignmentModule) -> dict[str, float]:
        """Before the first iteration; the row of iteration 0."""
        ...

    def after_iteration(self, module: AlignmentModule) -> None:
        """After each iteration, the snapshots' moves included."""
        ...

    def after_round(self, module: AlignmentModule, round: int, folder: Path) -> None:
        """After the last iteration of round `round` (1, 2, …) of a run of several rounds."""
        ...

    def row(self, module: AlignmentModule) -> dict[str, float]:
        """What the curve says of the policy as it is now."""
        ...

    def finish(self, module: AlignmentModule, folder: Path) -> dict[str, Any]:
        """After the last iteration: final metrics; samples.jsonl is written into the folder."""
        ...

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold for the evaluation to go on: numbers, lists, tensors."""
        ...

    def resume(self, module: AlignmentModule, state: dict[str, Any]) -> None:
        """Go on from `state`, after the module was restored."""
        ...
