"""`tune`: equally many trials for each method, on games and prompts that nobody reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.command_line import main
from benchmarks.compose import available, flatten, read_conf
from benchmarks.tuning import drawn, grid_points, trial_count
from tests.benchmarks.plans import plan_of, problems_of

TUNE = ("tune", "task=exact", "methods=[mpo,ppo]")


def test_every_point_of_the_grid_is_a_variant() -> None:
    plan = plan_of(*TUNE)
    assert (plan["kind"], plan["name"], plan["compare"]) == ("tune", "tune_exact", [])
    grids = read_conf("search/exact").about["grids"]
    for method in ("mpo", "ppo"):
        trials = {name: t for name, t in plan["trials"].items() if t["method"] == method}
        assert list(trials) == [f"{method}-{i}" for i in range(6)]
        first, second = grids[method]
        points = [trial["values"] for trial in trials.values()]
        assert points == [
            {first: one, second: other}
            for one in grids[method][first]
            for other in grids[method][second]
        ]
    assert len(plan["trials"]) == 12


def test_a_trials_runs_have_its_values_and_nothing_else_differs() -> None:
    plan = plan_of(*TUNE, "task.kinds=smooth", "task.game_seeds=[0]")
    configs = {run["variant"]: flatten(run["config"]) for run in plan["runs"]}
    for name, trial in plan["trials"].items():
        assert configs[name]["method.name"] == trial["method"]
        assert {key: configs[name][key] for key in trial["values"]} == trial["values"]
        base = configs[f"{trial['method']}-0"]
        differing = {key for key in base if base[key] != configs[name][key]}
        assert differing <= {*trial["values"], "variant"}


def test_trials_are_on_games_and_prompts_that_nobody_reports() -> None:
    games = {run["group"] for run in plan_of(*TUNE)["runs"]}
    assert len(games) == 3
    reported = {
        run["group"]
        for name in available("ablation")
        for run in plan_of(f"ablation={name}", "task=exact", "seeds=1")["runs"]
    }
    reported |= {run["group"] for run in plan_of("experiment=compare", "seeds=1")["runs"]}
    assert not games & reported
    plan = plan_of("tune", "task=smollm2", "methods=[mpo]")
    for run in plan["runs"]:
        task = run["config"]["task"]
        assert (task["eval_split"], task["train_split"]) == ("tuning", "training")


def test_fewer_trials_are_drawn_alike_at_each_call_and_for_each_method() -> None:
    one, again = plan_of(*TUNE, "trials=4"), plan_of(*TUNE, "trials=4")
    assert one["trials"] == again["trials"] and one["hash"] == again["hash"]
    whole = plan_of(*TUNE)["trials"]
    places = {}
    for method in ("mpo", "ppo"):
        every = [t["values"] for t in whole.values() if t["method"] == method]
        kept = [t["values"] for t in one["trials"].values() if t["method"] == method]
        assert len(kept) == 4
        places[method] = [every.index(point) for point in kept]
    assert places["mpo"] == places["ppo"] == sorted(places["mpo"])


def test_draws_differ_from_task_to_task_and_keep_the_grids_order() -> None:
    points = [{"x": i} for i in range(40)]
    assert drawn(points, 40, "exact") == points
    assert drawn(points, 5, "exact") != drawn(points, 5, "smollm2")


@pytest.mark.parametrize("task", available("search"))
def test_the_shipped_grids_give_each_method_as_many_trials(task: str) -> None:
    grids = read_conf(f"search/{task}").about["grids"]
    assert {len(grid_points(grid)) for grid in grids.values()} == {6}
    assert all("train.lr" in grid for grid in grids.values())


def test_grids_of_different_size_need_a_number() -> None:
    points = {"a": [{}] * 6, "b": [{}] * 4}
    count, (problem,) = trial_count(None, points)
    assert count == 4 and "a 6, b 4" in problem and "1 to 4" in problem
    assert trial_count(4, points) == (4, [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("trials=10",), ["trials: got 10", "from 1 to 6", "mpo 6, ppo 6"]),
        (("trials=0",), ["trials: got 0"]),
        (("trials=true",), ["trials: got True"]),
        (("methods=[mpo,mop]",), ["methods: got 'mop'", "nearest: mpo"]),
        (("methods=[mpo,mpo]",), ["methods: got 'mpo' twice"]),
        (("task=[exact,smollm2]",), ["task: got ['exact', 'smollm2']", "one of"]),
        (("method=mpo",), ["method: got 'mpo'", "methods=[…]"]),
        (("ablation=alpha",), ["ablation: got 'alpha'"]),
        (("size=quick",), ["size: got 'quick'"]),
        (("train.lr=1e-3",), ["train.lr: got 0.001", "every variant"]),
        (("method.alpha=0.1", "methods=[mpo]"), ["method.alpha: got 0.1", "every variant"]),
    ],
)
def test_a_mistake_is_named(arguments: tuple[str, ...], words: list[str]) -> None:
    given = {argument.partition("=")[0] for argument in arguments}
    others = [word for word in TUNE if word.partition("=")[0] not in given]
    (problem,) = problems_of(*others, *arguments)
    assert [word for word in words if word not in problem] == []


def test_a_dry_run_shows_each_trial_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*TUNE, "trials=2", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "results/tune_exact" in shown and "budget of a run: 126,720 samples" in shown
    for name in ("mpo-0", "mpo-1", "ppo-0", "ppo-1"):
        assert f"  {name}: train.lr=" in shown
    assert list(tmp_path.iterdir()) == []
