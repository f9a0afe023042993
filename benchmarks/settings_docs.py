"""The documented settings of a dataclass, read from its source so that nothing is imported."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import NamedTuple

from benchmarks.provenance import ROOT
from benchmarks.schema import METHODS


class Setting(NamedTuple):
    """A field: its name, type, default as written ('' for none), and what is said below it."""

    name: str
    type: str
    default: str
    doc: str


def class_settings(schema: type[object]) -> list[Setting]:
    """The settings of an imported dataclass."""
    return read_settings(Path(inspect.getfile(schema)), schema.__name__)


def method_settings(method: str) -> list[Setting]:
    """The settings of a method's objective, without importing it (that would import torch)."""
    module, name = METHODS[method].split(":")
    return read_settings(ROOT / (module.replace(".", "/") + ".py"), name)


def read_settings(file: Path, name: str) -> list[Setting]:
    """The settings of a class in a source file. Raises ValueError when it is not there."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _settings(node)
    raise ValueError(f"class: got {name!r}, allowed is one that {file.name} defines")


def _settings(node: ast.ClassDef) -> list[Setting]:
    found = []
    # A string right below a field documents it.
    for statement, below in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        doc = ""
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            doc = " ".join(str(below.value.value).split())
        default = ast.unparse(statement.value) if statement.value else ""
        type_words = ast.unparse(statement.annotation)
        found.append(Setting(statement.target.id, type_words, default, doc))
    return found
