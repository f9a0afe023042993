"""One run in a process of its own: its output goes to log.txt, its failure to error.json."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import traceback
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.atomic import write_json
from benchmarks.schema import load_object

ERROR_SCHEMA = 1


def work(runner: str, run: dict[str, Any], folder: Path, channel: Connection) -> None:
    """Execute one run. Called in the run's own process.

    Args:
        runner: `module:function`, called as function(run, folder, report).
        run: an entry of the plan's `runs`.
        folder: the run's folder, which exists.
        channel: sends {"report": …} along the way and {"failed": line} at a failure.
    """
    # Ctrl-C reaches every process of the terminal; the plan's process decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _send_output_to(folder / "log.txt")
    _end_with_parent(channel)
    threads = int(run["config"]["threads"])
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
    (folder / "error.json").unlink(missing_ok=True)
    try:
        load_object(runner)(run, folder, lambda report: channel.send({"report": report}))
    except BaseException as error:
        line = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        names = ("iteration", "inner_step", "batch")
        details = {name: getattr(error, name) for name in names if hasattr(error, name)}
        traceback.print_exc()
        # A result written before the failure is not to be trusted, nor taken for done next time.
        (folder / "result.json").unlink(missing_ok=True)
        write_error(folder, run, line, traceback.format_exc(), details)
        channel.send({"failed": line})
        sys.exit(1)


def write_error(
    folder: Path,
    run: dict[str, Any],
    message: str,
    trace: str,
    details: dict[str, Any] | None = None,
) -> None:
    """Write error.json: which run failed, when, how, and at which iteration, step, batch."""
    record = {
        "schema": ERROR_SCHEMA,
        **{key: run[key] for key in ("name", "variant", "task", "group", "seed", "role")},
        "config_hash": run["config_hash"],
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "message": message,
        "traceback": trace,
        **(details or {}),
    }
    write_json(folder / "error.json", _plain(record))


def _plain(value: Any) -> Any:
    """The value in what JSON has; NaN, infinity and unknown objects become text."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, (str, int)):
        return value
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return str(value)


def _send_output_to(file: Path) -> None:
    with open(file, "ab") as log:
        for number, stream in ((1, sys.stdout), (2, sys.stderr)):
            stream.flush()
            os.dup2(log.fileno(), number)


def _end_with_parent(channel: Connection) -> None:
    """End this process when the plan's process is gone: nobody would collect the result.

    Otherwise a killed plan's runs would go on writing while a new one starts in the same folder.
    """

    def watch() -> None:
        try:
            channel.recv_bytes()
        except (EOFError, OSError):
            os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()
