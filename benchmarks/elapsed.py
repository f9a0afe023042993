"""Wall and CPU seconds of a run, over the processes that a kill and a resume split it into."""

from __future__ import annotations

import time


class Elapsed:
    """Counts on from what earlier processes of the run had used at their last checkpoint."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self._before = {"wall": 0.0, "cpu": 0.0}

    def go_on_from(self, before: dict[str, float]) -> None:
        """Add what a checkpoint says was used before."""
        self._before = before

    def seconds(self) -> dict[str, float]:
        """Seconds so far."""
        return {
            "wall": round(self._before["wall"] + time.perf_counter() - self._wall, 3),
            "cpu": round(self._before["cpu"] + time.process_time() - self._cpu, 3),
        }
