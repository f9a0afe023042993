"""Execution: every run's fate is its own, nothing is done twice, and nothing outlives the plan."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from benchmarks.compose import read_command_line
from benchmarks.execute import FAILED, OK, execute
from benchmarks.plan import Plan, PlanError, default_jobs, make_plan
from benchmarks.plan_folder import folder_problems, read_plan_file

STAND_INS = "tests.benchmarks.stand_in_runs"
ARGUMENTS = ("ablation=fixed_ref", "task=exact", "task.kinds=[smooth,bradley_terry]", "seeds=[0,1]")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(read_command_line(ARGUMENTS), ARGUMENTS)[0]


def run(plan: Plan, folder: Path, runner: str, jobs: int = 2) -> int:
    return execute(
        plan,
        folder,
        jobs=jobs,
        progress="plain",
        runner=f"{STAND_INS}:{runner}",
        preload="benchmarks.worker",
    )


def read(folder: Path, run: dict[str, Any], name: str) -> Any:
    return json.loads((folder / "runs" / run["name"] / name).read_text(encoding="utf-8"))


def test_every_run_gets_its_result_and_the_plan_is_kept(plan: Plan, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "out"
    assert run(plan, folder, "succeed") == OK
    assert read_plan_file(folder) == plan
    for entry in plan["runs"]:
        assert read(folder, entry, "result.json")["name"] == entry["name"]
        config = OmegaConf.load(folder / "runs" / entry["name"] / "config.yaml")
        assert OmegaConf.to_container(config) == entry["config"]
        assert not (folder / "runs" / entry["name"] / "error.json").exists()
    (record,) = json.loads((folder / "executions.json").read_text())
    assert record["runs"] == len(plan["runs"]) and record["jobs"] == 2


def test_the_same_plan_again_does_only_what_is_missing(plan: Plan, tmp_path: Path) -> None:
    run(plan, tmp_path, "succeed")
    first, second, third, *others = plan["runs"]
    (tmp_path / "runs" / first["name"] / "result.json").unlink()
    (tmp_path / "runs" / second["name"] / "result.json").write_text("{half a res")
    stale = read(tmp_path, third, "result.json") | {"config_hash": "of another config"}
    (tmp_path / "runs" / third["name"] / "result.json").write_text(json.dumps(stale))
    assert run(plan, tmp_path, "succeed") == OK
    starts = {
        entry["name"]: (tmp_path / "runs" / entry["name"] / "started.txt").read_text().count("\n")
        for entry in plan["runs"]
    }
    again = {first["name"], second["name"], third["name"]}
    assert starts == {
        **dict.fromkeys(again, 2),
        **{entry["name"]: 1 for entry in others},
    }


def test_nothing_missing_starts_nothing(plan: Plan, tmp_path: Path) -> None:
    run(plan, tmp_path, "succeed")
    assert run(plan, tmp_path, "forget_result") == OK
    assert len(json.loads((tmp_path / "executions.json").read_text())) == 1


@pytest.mark.parametrize(
    ("runner", "words"),
    [
        ("fail_on_fixed", "BadLoss: loss: got nan"),
        ("die_on_fixed", "SIGKILL"),
    ],
)
def test_a_failed_run_is_named_and_the_others_go_on(
    plan: Plan, tmp_path: Path, runner: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(plan, tmp_path, runner) == FAILED
    shown = capsys.readouterr().out
    for entry in plan["runs"]:
        if entry["variant"] == "moving":
            assert read(tmp_path, entry, "result.json")["variant"] == "moving"
            continue
        error = read(tmp_path, entry, "error.json")
        assert {key: error[key] for key in ("name", "variant", "seed", "config_hash")} == {
            key: entry[key] for key in ("name", "variant", "seed", "config_hash")
        }
        assert words in error["message"]
        assert f"failed: {entry['name']}: {error['message']}" in shown
        assert not (tmp_path / "runs" / entry["name"] / "result.json").exists()


def test_an_exception_leaves_traceback_iteration_and_batch(plan: Plan, tmp_path: Path) -> None:
    run(plan, tmp_path, "fail_on_fixed")
    failed = next(entry for entry in plan["runs"] if entry["variant"] == "fixed")
    error = read(tmp_path, failed, "error.json")
    assert error["iteration"] == 3 and error["batch"] == [1.0, "nan"]
    assert "Traceback" in error["traceback"] and "fail_on_fixed" in error["traceback"]


def test_a_killed_run_leaves_its_last_words(plan: Plan, tmp_path: Path) -> None:
    run(plan, tmp_path, "die_on_fixed")
    failed = next(entry for entry in plan["runs"] if entry["variant"] == "fixed")
    assert "the last words" in read(tmp_path, failed, "error.json")["traceback"]


def test_a_run_without_a_result_has_failed(plan: Plan, tmp_path: Path) -> None:
    assert run(plan, tmp_path, "forget_result") == FAILED
    assert "exit code 0" in read(tmp_path, plan["runs"][0], "error.json")["message"]


def test_a_failed_run_is_tried_again_and_its_error_goes(plan: Plan, tmp_path: Path) -> None:
    run(plan, tmp_path, "fail_on_fixed")
    assert run(plan, tmp_path, "succeed") == OK
    assert not list(tmp_path.glob("runs/*/error.json"))
    assert len(list(tmp_path.glob("runs/*/result.json"))) == len(plan["runs"])


def test_the_table_so_far_is_shown_after_the_first_seed_and_each_game(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import aggregate

    asked = []

    def table(folder: Path) -> str:
        asked.append(sorted(file.parent.name for file in folder.glob("runs/*/result.json")))
        return "THE TABLE"

    monkeypatch.setattr(aggregate, "table_so_far", table)
    run(plan, tmp_path, "succeed", jobs=1)
    # After the first seed and after the first game; after the second nothing is missing and the
    # whole table follows.
    first = plan["runs"][0]["group"]
    game = [e for e in plan["runs"] if e["group"] == first]
    seed = [e for e in game if e["seed"] == plan["runs"][0]["seed"]]
    assert asked == [sorted(e["name"] for e in runs) for runs in (seed, game)]
    assert capsys.readouterr().out.count("THE TABLE") == 2


def test_a_table_that_fails_is_named_and_stops_nothing(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import aggregate

    def broken(folder: Path) -> str:
        raise ZeroDivisionError("no rows")

    monkeypatch.setattr(aggregate, "table_so_far", broken)
    assert run(plan, tmp_path, "succeed") == OK
    assert "cannot be shown: ZeroDivisionError: no rows" in capsys.readouterr().out


def test_a_folder_that_is_being_executed_is_refused(plan: Plan, tmp_path: Path) -> None:
    run(plan, tmp_path, "succeed")
    with open(tmp_path / ".lock", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711")
        lock.flush()
        with pytest.raises(PlanError, match="process 4711 is executing"):
            run(plan, tmp_path, "succeed")
    assert run(plan, tmp_path, "succeed") == OK


def test_folders_of_others_are_refused(plan: Plan, tmp_path: Path) -> None:
    assert folder_problems(tmp_path / "new", plan) == []
    other_arguments = (*ARGUMENTS, "method.alpha=0.3")
    other = make_plan(read_command_line(other_arguments), other_arguments)[0]
    run(plan, tmp_path / "mine", "succeed")
    (problem,) = folder_problems(tmp_path / "mine", other)
    assert "another plan" in problem and "out=" in problem and "resume" in problem
    with pytest.raises(PlanError, match="another plan"):
        run(other, tmp_path / "mine", "succeed")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    (problem,) = folder_problems(tmp_path / "full", plan)
    assert "no plan.yaml" in problem and "out=" in problem
    (problem,) = folder_problems(tmp_path / "full" / "thesis.txt" / "deeper", plan)
    assert "is not one" in problem


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text[: len(text) // 2], "plan.yaml"),
        (lambda text: text.split("runs:")[0], "half a plan"),
        (lambda text: text.replace("symbols: 5", "symbols: 6"), "was changed"),
        (lambda text: text.replace("schema: 1\n", "schema: 99\n"), "schema 99"),
        (lambda text: "", "half a plan"),
    ],
)
def test_half_written_and_changed_plans_are_refused(
    plan: Plan, tmp_path: Path, damage: Any, words: str
) -> None:
    run(plan, tmp_path, "succeed")
    file = tmp_path / "plan.yaml"
    file.write_text(damage(file.read_text()))
    (problem,) = folder_problems(tmp_path, plan)
    assert words in problem and str(tmp_path) in problem and "delete" in problem


def test_a_start_that_was_interrupted_before_the_plan_was_written_can_start_again(
    plan: Plan, tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / ".lock").touch()
    (tmp_path / ".aside-1-2-plan.yaml").write_text("schema: 1\nku")
    assert run(plan, tmp_path, "succeed") == OK


def test_a_folder_that_cannot_be_made_is_named(plan: Plan) -> None:
    with pytest.raises(PlanError, match="cannot be written"):
        run(plan, Path("/proc/no/such"), "succeed")


def test_as_many_runs_at_a_time_as_cores_allow(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.plan.available_cores", lambda: 8)
    assert default_jobs(plan) == 8
    wide = [run | {"config": run["config"] | {"threads": 3}} for run in plan["runs"]]
    assert default_jobs(plan | {"runs": wide}) == 2
    gpu = [run | {"config": run["config"] | {"device": "cuda"}} for run in plan["runs"]]
    assert default_jobs(plan | {"runs": gpu}) == 1
