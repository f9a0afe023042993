"""The rules of the house that a machine can check (design, sections 4 and 6)."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("mpo", "baselines", "benchmarks")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LONGEST = 300

VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "shared", "stuff", "tools"}
# `python benchmarks/run.py` may put benchmarks/ first on the path, where these hide other modules.
SHADOWING_NAMES = {"statistics", "types", "logging", "tables"}

MATHS = ("logprobs", "divergences", "returns", "schedules", "records")
TRAINERS = {"lightning", "pytorch_lightning", "deepspeed", "transformers"}
YAML_READERS = {"mpo/prompts.py"}

# Put together from halves, so that this file does not break its own rule.
UNFINISHED = [
    "TO" + "DO",
    "FIX" + "ME",
    "X" + "XX",
    "no" + "qa",
    "type: " + "ignore",
    "pylint: " + "disable",
    "fmt: " + "off",
]


def relative(path: Path) -> str:
    """A path as the listing shows it."""
    return path.relative_to(ROOT).as_posix()


def imported(source: str) -> set[str]:
    """The modules that a source imports absolutely, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
    return found


def top_level(modules: set[str]) -> set[str]:
    """The distributions' module names: `torch` for `torch.nn`."""
    return {module.split(".")[0] for module in modules}


def unfinished(text: str) -> Iterator[str]:
    """Marks of unfinished work and of silenced checks."""
    for mark in UNFINISHED:
        if re.search(rf"(?<![A-Za-z]){re.escape(mark)}(?![A-Za-z])", text):
            yield mark


def project() -> dict[str, Any]:
    """The [project] table of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def normalised(requirement: str) -> str:
    """A requirement's or distribution's name in the form of PEP 503."""
    name = re.split(r"[\s\[<>=!~;]", requirement.strip(), maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    """Distribution name to exact version, from constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    return {normalised(line): line.partition("==")[2] for line in wanted}


def requirements() -> list[str]:
    """All requirements of the project, extras included."""
    table = project()
    extras = table["optional-dependencies"].values()
    return [*table["dependencies"], *(line for extra in extras for line in extra)]


def test_there_is_something_to_check() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == set(PACKAGES)


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=relative)
def test_a_file_is_one_topic_and_finished(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST
    assert path.stem not in VAGUE_NAMES
    assert list(unfinished(text)) == []


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_folders_carry_no_vague_names(path: Path) -> None:
    assert not VAGUE_NAMES & set(path.relative_to(ROOT).parts)
    assert relative(path.parent) != "benchmarks" or path.stem not in SHADOWING_NAMES


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_configurations_are_read_by_omegaconf_and_only_in_benchmarks(path: Path) -> None:
    modules = top_level(imported(path.read_text(encoding="utf-8")))
    # PyYAML reads 5e-7 as text; it may read the prompts' own files and nothing else.
    assert "yaml" not in modules or relative(path) in YAML_READERS
    assert "omegaconf" not in modules or relative(path).startswith("benchmarks/")


@pytest.mark.parametrize("name", MATHS)
def test_the_maths_imports_no_trainer(name: str) -> None:
    modules = top_level(imported((ROOT / "mpo" / f"{name}.py").read_text(encoding="utf-8")))
    assert not modules & TRAINERS


def test_the_maths_loads_no_trainer() -> None:
    code = f"import sys; from mpo import {', '.join(MATHS)}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = top_level(set(done.stdout.split()))
    assert "torch" in loaded
    assert not loaded & TRAINERS


def test_import_contracts_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(linter)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_methods_are_told_apart_in_one_table_only() -> None:
    compared = re.compile(r"(method|name)[\w.\[\]\"']* *(==|!=|in) *[\[({]?[\"']mpo(_paper)?[\"']")
    assert compared.search('if config["method"]["name"] == "mpo":')
    assert [relative(path) for path in SOURCES if compared.search(path.read_text())] == []


def test_constraints_are_exact_and_belong_to_no_machine() -> None:
    assert all(re.fullmatch(r"[0-9][0-9A-Za-z.]*", version) for version in pins().values())
    assert len(pins()) > 100


def test_every_requirement_is_pinned_within_its_range() -> None:
    pinned = pins()
    for line in requirements():
        requirement = Requirement(line)
        assert pinned[normalised(line)] in requirement.specifier, line


def test_torch_is_exact_in_both_places() -> None:
    assert f"torch=={pins()['torch']}" in project()["dependencies"]


def test_every_import_is_a_declared_dependency() -> None:
    # The model packages are opened as folders, not imported, so they are not among these.
    # What an extra brings is imported where it is used, with an error that names the extra.
    extras = project()["optional-dependencies"]["openspiel"]
    declared = {normalised(line) for line in [*project()["dependencies"], *extras]}
    providers = importlib.metadata.packages_distributions()
    undeclared = {
        (relative(path), module)
        for path in SOURCES
        for module in top_level(imported(path.read_text(encoding="utf-8")))
        if module not in sys.stdlib_module_names and module not in PACKAGES
        if not declared & {normalised(name) for name in providers.get(module, [])}
    }
    assert undeclared == set()


def test_the_checks_see_what_they_look_for() -> None:
    planted = "import yaml\ndef f():\n    from transformers.models import llama\nfrom . import x\n"
    assert top_level(imported(planted)) == {"yaml", "transformers"}
    assert list(unfinished(f"x = 1  # {UNFINISHED[0]} later")) == [UNFINISHED[0]]
    assert list(unfinished("a method to do nothing, todos")) == []
    assert normalised("Foo_Bar.baz[extra]>=1,<2") == "foo-bar-baz"
