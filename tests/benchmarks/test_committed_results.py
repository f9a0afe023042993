"""Every result under docs/results still belongs to today's schema and gives its own table."""

from __future__ import annotations

import json
import shutil
from dataclasses import field, fields, make_dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

from benchmarks import validate
from benchmarks.compose import flatten
from benchmarks.plan import PlanError
from benchmarks.plan_results import read_plan
from benchmarks.schema import SECTIONS
from benchmarks.stages.resolve import resolve as stage_config
from benchmarks.theory.resolve import resolve as games_config
from tests.benchmarks.committed_results import (
    JudgeNeeded,
    config_problems,
    folder_problems,
    table_problems,
)

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
PLANS = sorted(file.parent for file in RESULTS.glob("*/plan.yaml"))
SINGLE = sorted(file.parent for file in RESULTS.glob("*/*/config.yaml"))
"""Folders of stages and of experiments on games."""
SMALLEST = RESULTS / "opponent"


@pytest.fixture(autouse=True)
def fresh_schema() -> Any:
    """The schema is changed by some tests, and remembered by the checks."""
    validate._structured.cache_clear()
    yield
    validate._structured.cache_clear()


def copied(folder: Path, to: Path) -> Path:
    """A copy: making a table again writes the contests that it read."""
    return Path(shutil.copytree(folder, to / folder.name))


def test_every_folder_is_a_plans_a_stages_or_an_experiments() -> None:
    assert PLANS
    folders = [folder for folder in RESULTS.iterdir() if folder not in PLANS and folder.is_dir()]
    assert {folder.name for folder in folders} == {SINGLE[0].parent.name, SINGLE[-1].parent.name}
    for folder in folders:
        for inner in folder.iterdir():
            assert inner in SINGLE and (inner / "result.json").is_file(), inner


@pytest.mark.parametrize("folder", SINGLE, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def test_a_committed_config_is_what_its_settings_make_today(folder: Path) -> None:
    content = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    assert isinstance(content, dict)
    config = {key: value for key, value in content.items() if key not in ("hash", "inputs")}
    name = config.get("stage") or config["experiment"]
    words = [f"{key}={word(value)}" for key, value in flatten(config).items() if value != name]
    resolved = (stage_config if "stage" in config else games_config)(name, words)
    assert resolved.problems == []
    assert resolved.config == config


def word(value: Any) -> str:
    """A value as it is typed on the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(word, value))}]"
    return "null" if value is None else str(value)


@pytest.mark.parametrize("folder", PLANS, ids=lambda folder: folder.name)
def test_a_committed_table_is_what_its_runs_give(folder: Path, tmp_path: Path) -> None:
    assert folder_problems(copied(folder, tmp_path)) == []


@pytest.mark.parametrize("folder", PLANS, ids=lambda folder: folder.name)
def test_every_run_of_a_committed_plan_has_its_result(folder: Path) -> None:
    assert [run.name for run in read_plan(folder).runs if run.status != "done"] == []


def renamed(section: str, name: str, into: str) -> type[Any]:
    """A section's schema with one field under another name."""
    own = SECTIONS[section]
    hints = own.__annotations__
    parts = [(into if f.name == name else f.name, hints[f.name], field()) for f in fields(own)]
    namespace = {"__module__": own.__module__, "problems": lambda self: []}
    return make_dataclass(own.__name__, parts, frozen=True, namespace=namespace)


def test_a_renamed_field_of_the_schema_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SECTIONS, "train", renamed("train", "lr", "learning_rate"))
    problems = " ".join(config_problems(read_plan(SMALLEST)))
    assert "train.lr: unknown key" in problems
    assert "train.learning_rate: missing, and has no default" in problems


def test_a_field_of_another_type_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    own = SECTIONS["train"]
    hints = {**own.__annotations__, "schedule": "int"}
    parts = [(f.name, hints[f.name], field()) for f in fields(own)]
    namespace = {"__module__": own.__module__}
    changed = make_dataclass(own.__name__, parts, frozen=True, namespace=namespace)
    monkeypatch.setitem(SECTIONS, "train", changed)
    problems = " ".join(config_problems(read_plan(SMALLEST)))
    assert "train.schedule: got 'cosine', allowed is an integer" in problems


def test_a_newer_field_needs_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    own = SECTIONS["train"]
    parts = [(f.name, own.__annotations__[f.name], field()) for f in fields(own)]
    for parameters, found in (((), True), ((3,), False)):
        newer = ("newer", "int", field(default=parameters[0]) if parameters else field())
        namespace = {"__module__": own.__module__}
        changed = make_dataclass(own.__name__, [*parts, newer], frozen=True, namespace=namespace)
        monkeypatch.setitem(SECTIONS, "train", changed)
        problems = list(config_problems(read_plan(SMALLEST)))
        assert any("train.newer: missing" in problem for problem in problems) == found


@pytest.mark.parametrize("column", ["value", "high", "n"])
def test_an_edited_number_is_noticed(column: str, tmp_path: Path) -> None:
    folder = copied(SMALLEST, tmp_path)
    table = pd.read_csv(folder / "table.csv")
    row = table.index[(table["metric"] == "gap_last") & table["high"].notna()][0]
    table.loc[row, column] *= 2
    table.to_csv(folder / "table.csv", index=False)
    (problem,) = table_problems(folder)
    assert "'gap_last'" in problem and f"{column} is" in problem


def test_a_missing_row_and_a_foreign_one_are_noticed(tmp_path: Path) -> None:
    folder = copied(SMALLEST, tmp_path)
    table = pd.read_csv(folder / "table.csv")
    table.loc[3, "metric"] = "gap_made_up"
    table.to_csv(folder / "table.csv", index=False)
    problems = table_problems(folder)
    assert len(problems) == 2
    assert "in table.csv only" in problems[0] and "not in table.csv" in problems[1]


def test_a_missing_column_is_noticed(tmp_path: Path) -> None:
    folder = copied(SMALLEST, tmp_path)
    pd.read_csv(folder / "table.csv").drop(columns="seed_values").to_csv(
        folder / "table.csv", index=False
    )
    assert "today's are" in table_problems(folder)[0]


def test_an_edited_run_is_noticed(tmp_path: Path) -> None:
    folder = copied(SMALLEST, tmp_path)
    file = next(folder.glob("runs/*/result.json"))
    result = json.loads(file.read_text("utf-8"))
    result["metrics"]["gap_last"] += 0.01
    file.write_text(json.dumps(result), "utf-8")
    assert any("'gap_last'" in problem for problem in table_problems(folder))


def test_an_edited_plan_and_an_edited_config_are_noticed(tmp_path: Path) -> None:
    folder = copied(SMALLEST, tmp_path)
    config = next(folder.glob("runs/*/config.yaml"))
    config.write_text(config.read_text("utf-8").replace("lr: 0.003", "lr: 0.004"), "utf-8")
    assert any("config.yaml is not" in problem for problem in config_problems(read_plan(folder)))
    plan = folder / "plan.yaml"
    plan.write_text(plan.read_text("utf-8").replace("lr: 0.003", "lr: 0.004"), "utf-8")
    with pytest.raises(PlanError, match="hash"):
        folder_problems(folder)


def test_samples_that_were_never_judged_are_noticed(tmp_path: Path) -> None:
    folder = copied(RESULTS / "fixed_ref", tmp_path)
    (folder / "contests.csv").unlink()
    with pytest.raises(JudgeNeeded):
        table_problems(folder)
