"""From the command to the table on the exact task, through the real engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.provenance import ROOT


def call(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "run.py"), *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.mark.slow
def test_the_exact_task_from_command_to_table(tmp_path: Path) -> None:
    """A tiny budget through the real engine; the table holds the mean of what the runs wrote."""
    arguments = (
        "ablation=fixed_ref",
        "task=exact",
        "task.kinds=[smooth]",
        "task.game_seeds=[0]",
        "seeds=2",
        "train.iterations=4",
        "train.eval_every=2",
        "method.responses=8",
        "method.magnet_interval=2",
        "task.width=16",
        "out=plan",
    )
    done = call(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "plan"
    table = pd.read_csv(folder / "table.csv")
    for variant in ("moving", "fixed"):
        gaps = [
            json.loads(file.read_text())["metrics"]["gap_last"]
            for file in folder.glob(f"runs/exact-smooth-0-{variant}-s*/result.json")
        ]
        assert len(gaps) == 2
        rows = table.query("group == 'smooth-0' and variant == @variant and metric == 'gap_last'")
        assert rows["value"].iloc[0] == pytest.approx(sum(gaps) / 2, rel=1e-9)
    for name in ("table.md", "report.md", "plan.yaml"):
        assert (folder / name).stat().st_size > 0
    assert list((folder / "figures").glob("*.png"))
    again = call(*arguments, cwd=tmp_path)
    assert again.returncode == 0 and "4 of them done already" in again.stdout
