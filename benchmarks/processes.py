"""Starts and ends the processes of runs; each is forked from a server with everything imported."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from benchmarks.atomic import write_text
from benchmarks.provenance import ROOT
from benchmarks.worker import work


class Active(NamedTuple):
    """A run that is being executed."""

    run: dict[str, Any]
    process: multiprocessing.process.BaseProcess
    channel: Connection
    since: float

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the run has sent since the last call."""
        try:
            while self.channel.poll():
                yield self.channel.recv()
        except (EOFError, OSError):
            return

    def death(self) -> str:
        """How the process ended, in words."""
        code = self.process.exitcode
        if code is not None and code < 0:
            return f"the run's process was killed by {signal.Signals(-code).name}"
        return f"the run's process ended with exit code {code} before its result was written"


def start_server(threads: int, preload: str) -> None:
    """Start the server that runs are forked from, with a module imported beforehand.

    Its environment must be set before it starts: torch reads the number of threads at import.
    Waiting threads sleep instead of spinning, because several runs share the cores.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    settings = {
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "0",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPATH": path,
    }
    multiprocessing.get_context("forkserver").set_forkserver_preload([preload])
    with _environment(settings):
        forkserver.ensure_running()


def start(runner: str, run: dict[str, Any], folder: Path) -> Active:
    """Start one run in a process of its own; its folder is made, with config.yaml in it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(run["config"])))
    context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(runner, run, folder, theirs), name=run["name"])
    process.start()
    theirs.close()
    return Active(run, process, ours, time.monotonic())


def stop(running: Iterable[Active]) -> None:
    """Kill processes that are not needed any more, and wait until they are gone.

    A run goes on from its last checkpoint, which is complete at any moment. Asking it to end would
    only have it report a failure: Lightning turns SIGTERM into an exception.
    """
    running = list(running)
    for active in running:
        active.process.kill()
    for active in running:
        active.process.join()
        active.channel.close()


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, as Ctrl-C does, so that both end a plan in good order."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread, where no handler can be set
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
