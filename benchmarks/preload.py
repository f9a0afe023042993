"""Imported once by the server that runs' processes are forked from, so that each starts at once."""

from __future__ import annotations

import importlib

PACKAGES = ("torch", "lightning", "transformers")

for package in PACKAGES:
    importlib.import_module(package)
