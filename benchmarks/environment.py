"""Where the numbers of this process come from, for result.json."""

from __future__ import annotations

import platform
from typing import Any

import torch

from benchmarks.provenance import commit, dirty, versions


def environment(device: str) -> dict[str, Any]:
    """Commit, versions, threads in use, the device named, and the machine's platform."""
    return {
        "commit": commit(),
        "dirty": dirty(),
        "versions": versions(),
        "threads": torch.get_num_threads(),
        "device": device,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
