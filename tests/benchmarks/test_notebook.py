"""The notebook on a result that the committed command produced, and on made-up folders."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from benchmarks.aggregate import aggregate
from benchmarks.compose import read_command_line
from benchmarks.plan import make_plan
from benchmarks.plan_folder import read_plan_file
from tests.benchmarks.plan_folder import LetterPanel, exact_plan, language_plan

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "ablation_fixed_ref.ipynb"
SMALL = ROOT / "tests" / "data" / "fixed_ref_small"


def _run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Execute the notebook on a folder; returns its outputs."""
    monkeypatch.setenv("MPO_RESULTS", str(folder))
    # Without it matplotlib's backend in the kernel is the test's, which shows no figure.
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, timeout=120, resources=resources).execute(env=dict(os.environ))
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def _text(outputs: list[dict[str, Any]]) -> str:
    return json.dumps(outputs)


def _images(outputs: list[dict[str, Any]]) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs)


def _small() -> Path:
    if not (SMALL / "plan.yaml").is_file():
        pytest.fail(
            f"{SMALL.relative_to(ROOT)}/plan.yaml is missing: this folder is a small result that "
            "`python benchmarks/run.py ablation=fixed_ref … out=tests/data/fixed_ref_small` "
            "produced (its plan.yaml, table.csv, table.md, and of each run result.json, curves.csv "
            "and samples.jsonl); make it with that command and commit it"
        )
    return SMALL


def test_it_runs_on_the_committed_result(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _small()
    outputs = _run(folder, monkeypatch)
    plan = read_plan_file(folder)
    text = _text(outputs)
    for run in plan["runs"]:
        if run["role"] == "train":
            assert run["variant"] in text
    tasks = {run["task"] for run in plan["runs"]}
    assert _images(outputs) == len(tasks)


def test_the_committed_result_belongs_to_the_plan_that_its_command_makes() -> None:
    plan = read_plan_file(_small())
    python, script, *arguments = shlex.split(plan["command"])
    assert (python, script) == ("python", "benchmarks/run.py")
    again, _ = make_plan(read_command_line(arguments), arguments)
    assert again["hash"] == plan["hash"], (
        "the configuration changed since tests/data/fixed_ref_small was made; run its command "
        f"again and commit the result: {plan['command']}"
    )


def test_it_shows_both_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    language_plan(tmp_path, seeds=1)
    aggregate(tmp_path, LetterPanel)
    outputs = _run(tmp_path, monkeypatch)
    text = _text(outputs)
    assert _images(outputs) == 1 and "This plan has no exact task" in text
    first = (tmp_path / "runs/smollm2-initial/samples.jsonl").read_text("utf-8").splitlines()[0]
    for words in (json.loads(first)["response"], "Question 0?", "win_rate_without_brevity"):
        assert words in text


def test_it_shows_a_game_for_each_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact_plan(tmp_path, seeds=2)
    aggregate(tmp_path)
    outputs = _run(tmp_path, monkeypatch)
    text = _text(outputs)
    assert _images(outputs) == 1 and "This plan has no language task" in text
    assert "bradley_terry-0 (pure: 1, 1, 1)" in text


def test_it_imports_nothing_of_the_project() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    imported = set(re.findall(r"^\s*(?:import|from)\s+(\w+)", code, re.MULTILINE))
    assert imported == {"json", "os", "pathlib", "matplotlib", "pandas", "IPython"}
