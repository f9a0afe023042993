"""notebooks/theory.ipynb on results that committed commands produced, and on small ones."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from benchmarks.command_line import main

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "theory.ipynb"
COMMITTED = ROOT / "docs" / "results" / "theory"
NEEDED = ("figure3", "theorems")


def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Execute the notebook on a folder; returns its outputs."""
    monkeypatch.setenv("MPO_RESULTS", str(folder))
    # Without it matplotlib's backend in the kernel is the test's, which shows no figure.
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, timeout=120, resources=resources).execute(env=dict(os.environ))
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def images(outputs: list[dict[str, Any]]) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs)


def read(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("theory")
    figure3 = ["iterations=60", "alphas=[0.1,0.3]", f"out={folder / 'figure3'}"]
    theorems = ["seeds=1", "steps=30", "rounds=8", "round_steps=20", "mirror_steps=20"]
    families = "families=[cyclic,rock_paper_scissors]"
    assert main(["experiment=figure3", *figure3]) == 0
    assert main(["experiment=theorems", *theorems, families, f"out={folder / 'theorems'}"]) == 0
    return folder


def test_it_shows_figure_3_the_theorems_and_the_counter_examples(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = run(small, monkeypatch)
    text = json.dumps(outputs, ensure_ascii=False)
    assert images(outputs) == 4 and "There is no figure1 here" in text
    for row in read(small / "theorems" / "counterexamples.csv"):
        assert row["quantity"] in text and row["place"] in text
    for row in read(small / "theorems" / "table.csv"):
        assert row["place"] in text


def test_it_shows_figure_1_where_it_is(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "theory"
    shutil.copytree(small, folder)
    shutil.copytree(small / "figure3", folder / "figure1")
    (folder / "figure1" / "figures" / "figure3.png").rename(
        folder / "figure1" / "figures" / "figure1.png"
    )
    (folder / "figure1" / "table.md").write_text("| cfr_plus | 0.001 |", "utf-8")
    outputs = run(folder, monkeypatch)
    assert images(outputs) == 5 and "cfr_plus" in json.dumps(outputs)


def test_without_a_result_it_says_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CellExecutionError, match=r"run\.py experiment=figure3"):
        run(tmp_path, monkeypatch)


def test_it_runs_on_the_committed_results(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NEEDED:
        if not (COMMITTED / name / "result.json").is_file():
            pytest.fail(
                f"{COMMITTED.relative_to(ROOT)}/{name} is missing: make it with `python "
                f"benchmarks/run.py experiment={name} out=docs/results/theory/{name}` and commit it"
            )
    outputs = run(COMMITTED, monkeypatch)
    assert images(outputs) == 4 + (COMMITTED / "figure1" / "result.json").is_file()


def test_it_imports_nothing_of_the_project() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    imported = set(re.findall(r"^\s*(?:import|from)\s+(\w+)", code, re.MULTILINE))
    assert imported == {"json", "os", "pathlib", "matplotlib", "pandas", "IPython"}


def test_the_figures_that_the_document_shows_are_those_that_the_commands_write(
    small: Path,
) -> None:
    text = (ROOT / "docs" / "theory.md").read_text("utf-8")
    shown = set(re.findall(r"\(results/theory/([\w/.]+)\)", text))
    assert {"theorems/figures/theorems.png", "figure3/figures/figure3.png"} <= shown
    for name in shown:
        assert (small / name).is_file(), name
