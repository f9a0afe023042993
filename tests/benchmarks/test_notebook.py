"""The notebooks on results that committed commands produced, and on made-up folders."""

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
from nbclient.exceptions import CellExecutionError

from benchmarks.aggregate import aggregate
from benchmarks.compose import read_command_line
from benchmarks.plan import make_plan
from benchmarks.plan_folder import read_plan_file
from tests.benchmarks.comparison_folder import comparison_plan, language_comparison
from tests.benchmarks.plan_folder import LetterPanel, exact_plan, language_plan

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "ablation_fixed_ref.ipynb"
COMPARE = ROOT / "notebooks" / "compare_methods.ipynb"
COMPARED = ROOT / "docs" / "results" / "compare_exact"
SMALL = ROOT / "tests" / "data" / "fixed_ref_small"


def _run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, file: Path = NOTEBOOK
) -> list[dict[str, Any]]:
    """Execute a notebook on a folder; returns its outputs."""
    monkeypatch.setenv("MPO_RESULTS", str(folder))
    # Without it matplotlib's backend in the kernel is the test's, which shows no figure.
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = nbformat.read(file, as_version=4)
    resources = {"metadata": {"path": str(file.parent)}}
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


@pytest.mark.parametrize("file", [NOTEBOOK, COMPARE], ids=lambda file: file.stem)
def test_it_imports_nothing_of_the_project(file: Path) -> None:
    notebook = nbformat.read(file, as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    imported = set(re.findall(r"^\s*(?:import|from)\s+(\w+)", code, re.MULTILINE))
    assert imported == {"json", "os", "pathlib", "matplotlib", "pandas", "IPython"}


def test_methods_are_shown_on_the_committed_result(monkeypatch: pytest.MonkeyPatch) -> None:
    if not (COMPARED / "table.csv").is_file():
        pytest.fail(
            f"{COMPARED.relative_to(ROOT)}/table.csv is missing: make the folder with "
            "`python benchmarks/run.py experiment=compare out=docs/results/compare_exact`, remove "
            "what is large (tensorboard/, policies) and commit it"
        )
    outputs = _run(COMPARED, monkeypatch, COMPARE)
    text = _text(outputs)
    for run in read_plan_file(COMPARED)["runs"]:
        assert run["variant"] in text
    assert _images(outputs) == 2 and "own target" in text


def test_methods_are_shown_beside_their_own_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison_plan(tmp_path, seeds=2)
    aggregate(tmp_path)
    outputs = _run(tmp_path, monkeypatch, COMPARE)
    text = _text(outputs)
    assert _images(outputs) == 2 and "This plan has no language task" in text
    for words in (
        "smooth-0 (mixed: 3, 5, 2): duality gap",
        "**ppo** on smooth-0, seed 0; own target: tilted reference",
        "**free** on smooth-0, seed 0; own target: none is known",
        "own target</th>",
        "14,400",
        "optimizer_steps",
    ):
        assert words in text


def test_methods_are_shown_on_a_language_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    language_comparison(tmp_path, rounds=2)
    aggregate(tmp_path, LetterPanel)
    outputs = _run(tmp_path, monkeypatch, COMPARE)
    text = _text(outputs)
    assert _images(outputs) == 1 and "This plan has no exact task" in text
    first = (tmp_path / "runs/smollm2-ppo-s0/samples.jsonl").read_text("utf-8").splitlines()[0]
    for words in (json.loads(first)["response"], "Question 0?", "win_rate_round1", "200,000"):
        assert words in text


def test_without_a_table_it_says_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CellExecutionError, match=r"run\.py experiment=compare"):
        _run(tmp_path, monkeypatch, COMPARE)
