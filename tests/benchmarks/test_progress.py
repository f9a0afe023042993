"""What is shown while a plan is executed."""

from __future__ import annotations

import pytest

from benchmarks import progress
from benchmarks.compose import read_command_line
from benchmarks.plan import Plan, make_plan
from benchmarks.progress import Clock, PlainDisplay, duration

ARGUMENTS = ("ablation=fixed_ref", "task=exact", "task.kinds=[smooth,bradley_terry]", "seeds=[0,1]")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(read_command_line(ARGUMENTS), ARGUMENTS)[0]


def test_the_time_left_scales_the_expected_cost_by_what_was_measured(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "run_cost", lambda config: 100.0)
    clock = Clock(plan["runs"], jobs=2)
    assert clock.left() == pytest.approx(8 * 100 / 2)
    clock.advance(plan["runs"][0]["name"], 0.5, 20.0)  # half of 100 took 20: a factor of 0.4
    assert clock.share() == pytest.approx(0.5 / 8)
    assert clock.left() == pytest.approx(0.4 * (800 - 50) / 2)
    for entry in plan["runs"]:
        clock.advance(entry["name"], 1.0, 40.0)
    assert clock.left() == 0.0


def test_a_plain_display_is_quiet_between_two_intervals(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    display = PlainDisplay(Clock(plan["runs"], jobs=1), runs=8, done=0)
    display.started("a-run", 100)
    for iteration in range(100):
        now[0] = iteration / 4  # 25 seconds in all: lines at 10 and at 20
        display.advanced("a-run", {"iteration": iteration, "iterations": 100, "loss": 0.125})
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(";")[0].strip() for line in lines] == [
        "a-run: iteration 40/100, loss 0.125",
        "a-run: iteration 80/100, loss 0.125",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")],
)
def test_durations_are_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
