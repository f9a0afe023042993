"""Entry point: `python benchmarks/run.py ablation=fixed_ref`, see --help."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Python puts this file's folder first, where it would shadow modules of other packages.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from benchmarks.command_line import main

    sys.exit(main(sys.argv[1:]))
