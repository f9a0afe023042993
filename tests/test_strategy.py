"""DeepSpeed ZeRO on one CPU rank trains what a single device trains, on the same rollouts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy, SingleDeviceStrategy

from mpo.strategy import build_strategy, deepspeed_config
from tests.engine import Weights

ROOT = Path(__file__).resolve().parents[1]
ZERO = ["zero 2", "zero 2, micro-batches", "zero 1", "zero 1, micro-batches"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The script's file, and what it printed; a process of its own holds distributed state."""
    out = tmp_path_factory.mktemp("strategy") / "runs.pt"
    script = [sys.executable, str(ROOT / "tests" / "strategy_replay.py"), str(out)]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=180)
    return out, done.stdout + done.stderr


@pytest.fixture(scope="module")
def runs(finished: tuple[Path, str]) -> dict[str, Any]:
    """Losses, weights, magnets and gradient norms of each run."""
    out, said = finished
    assert out.exists(), said
    return dict(torch.load(out, weights_only=True))


def distance(left: Weights, right: Weights) -> float:
    """Largest difference of any weight."""
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


@pytest.mark.parametrize("name", ["single, micro-batches", *ZERO])
def test_losses_weights_and_magnet_are_the_single_devices(name: str, runs: dict[str, Any]) -> None:
    single, other = runs["single"], runs[name]
    assert (other["parts"] > 1) == ("micro" in name)
    assert other["losses"] == pytest.approx(single["losses"], abs=1e-5)
    assert other["norms"] == pytest.approx(single["norms"], rel=1e-5)
    assert len(other["weights"]) == len(other["magnets"]) == 4
    for mine, theirs in zip(other["weights"], single["weights"], strict=True):
        assert distance(mine, theirs) < 1e-5
    for mine, theirs in zip(other["magnets"], single["magnets"], strict=True):
        assert distance(mine, theirs) < 1e-5


@pytest.mark.parametrize("name", ["single", *ZERO])
def test_the_magnet_is_the_policy_after_two_iterations(name: str, runs: dict[str, Any]) -> None:
    run = runs[name]
    for at, held in ((1, 0), (2, 2), (3, 2)):
        assert distance(run["magnets"][at], run["weights"][held]) == 0
    assert distance(run["weights"][2], run["weights"][3]) > 1e-3


def test_clipping_acts_in_both(runs: dict[str, Any]) -> None:
    clipped, free = runs["single"]["weights"][-1], runs["single, unclipped"]["weights"][-1]
    assert distance(clipped, free) > 1e-3
    assert distance(runs["zero 2, unclipped"]["weights"][-1], free) < 1e-5
    # The norm that is logged is the one before clipping, in both.
    assert min(runs["zero 2"]["norms"]) > 0.05


def test_a_run_resumes_under_deepspeed(finished: tuple[Path, str], runs: dict[str, Any]) -> None:
    file = finished[0].with_name("resumed.pt")
    assert file.exists(), finished[1][-3000:]
    resumed = torch.load(file, weights_only=True)
    assert distance(resumed["weights"], runs["zero 2"]["weights"][-1]) == 0
    assert distance(resumed["magnet"], runs["zero 2"]["magnets"][-1]) == 0


def test_an_unknown_strategy_is_named() -> None:
    with pytest.raises(ValueError, match=r"strategy\.name: got 'ddpp', allowed is single"):
        build_strategy("ddpp", 2, 1.0, "cpu")


def test_the_factory_builds_what_it_is_asked_for() -> None:
    single = build_strategy("single", 2, 1.0, "cpu")
    assert isinstance(single, SingleDeviceStrategy)
    assert single.root_device == torch.device("cpu")
    zero = build_strategy("deepspeed", 1, 0.5, "cpu")
    assert isinstance(zero, DeepSpeedStrategy)
    assert zero.config is not None
    assert zero.config["zero_optimization"]["stage"] == 1
    assert zero.config["gradient_clipping"] == 0.5
    assert deepspeed_config(2, 1.0)["zero_optimization"]["stage"] == 2
