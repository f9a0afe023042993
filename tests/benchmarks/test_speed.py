"""The comparisons of speed.py run; what they measure is never tested."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.provenance import ROOT


def test_the_exact_task_gives_a_row_with_a_ratio() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "speed.py"), "exact"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    cells = [cell.strip() for cell in done.stdout.strip().splitlines()[-1].strip("|").split("|")]
    assert cells[0].startswith("blocks")
    ours, other, ratio = (float(cell) for cell in cells[1:])
    assert ours > 0 and abs(ratio - other / ours) < 0.1
