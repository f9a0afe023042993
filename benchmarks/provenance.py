"""Where numbers come from: commit, whether the code was changed since, versions of packages."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""

CODE = ("mpo", "baselines", "benchmarks")
"""Folders whose files make the numbers; a change elsewhere leaves a commit clean."""

PACKAGES = (
    "torch",
    "lightning",
    "transformers",
    "deepspeed",
    "torchmetrics",
    "omegaconf",
    "numpy",
    "scipy",
    "pandas",
)

UNKNOWN = "unknown"


def commit() -> str:
    """The commit that is checked out, or 'unknown' outside a git checkout."""
    return _git("rev-parse", "HEAD") or UNKNOWN


def dirty() -> bool:
    """Whether the code differs from the commit; True where there is no commit to compare with."""
    if commit() == UNKNOWN:
        return True
    folders = [folder for folder in CODE if (ROOT / folder).is_dir()]
    return _git("status", "--porcelain", "--", *folders) != ""


def versions() -> dict[str, str]:
    """Versions of the packages that make the numbers; those not installed are left out."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git(*arguments: str) -> str | None:
    """The output of a git command in the checkout; None when it fails or git is missing."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
