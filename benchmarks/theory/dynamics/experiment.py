"""`experiment=dynamics`: any dynamics on any games, counted in oracle calls."""

from __future__ import annotations

import hashlib
import re
from itertools import chain
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.atomic import write_csv, write_text, written_aside
from benchmarks.block import Block
from benchmarks.compose import nearest
from benchmarks.theory.dynamics.figures import gaps, profile
from benchmarks.theory.dynamics.report import TOLERANCE, sentences
from benchmarks.theory.dynamics.rows import COLUMNS, TOLERANCES, Row, rows_of
from benchmarks.theory.dynamics.table import Summary, blocks, csv_rows, notes, summarise
from benchmarks.theory.experiments import Config, Outcome, Work
from benchmarks.theory.method_values import Methods, chosen_methods
from benchmarks.theory.sources.offered import MATRIX, OFFERED, SOURCES, source_of

POINTS = 100
"""Numbers of oracle calls at which curves are measured, evenly spread on a log axis."""


def methods(config: Config) -> Methods:
    """The methods that can play the chosen games; where no game is known, those of any."""
    chosen = [source for name in config["game"]["names"] if (source := source_of(name))]
    if chosen:
        return chosen[0].methods
    return dict(chain.from_iterable(source.methods.items() for source in SOURCES.values()))


def problems(config: Config) -> list[str]:
    """Unknown games, games that have no methods in common, and what is wrong with each game."""
    names, path = config["game"]["names"], config["game"]["path"]
    known = {name: source for name in names if (source := source_of(name))}
    found = [
        f"game.names: got {name!r}, allowed is some of {', '.join(OFFERED)}{nearest(name, SOURCES)}"
        for name in names
        if name not in known
    ]
    for name, source in known.items():
        found += source.problems(name, config)
    if len({source.kind for source in known.values()}) > 1:
        kinds = ", ".join(f"{name} ({source.kind})" for name, source in known.items())
        found.append(
            f"game.names: got {kinds}, allowed are games of one kind, which the same methods play"
        )
    if path is not None and MATRIX not in names:
        found.append(f"game.path: got {path!r}, allowed only with game={MATRIX}")
    return found


def inputs(config: Config) -> dict[str, str]:
    """The matrix file."""
    path = config["game"]["path"]
    if path is None:
        return {}
    return {path: hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest()}


def run(config: Config, out: Path) -> Outcome:
    """Play every game with every method; write dynamics.csv, table.csv, table.md and figures."""
    record = recorded(config["calls"])
    chosen = chosen_methods(methods(config), config)
    rows: list[Row] = []
    sizes: dict[str, str] = {}
    figures: list[str] = []
    for game in config["game"]["names"]:
        source = source_of(game)
        assert source is not None
        opened = source.open(game, config)
        sizes[game] = opened.words
        print(f"{game}: {opened.words}, {len(chosen)} methods", flush=True)
        curves = {}
        for name, method in chosen.items():
            curves[name] = opened.play(method, record)
            price = method.calls_a_step
            used = config["calls"] // price * price
            rows += rows_of(game, name, config["seeds"], used, curves[name])
        file = re.sub(r"[^\w-]+", "_", f"gap_{game}").strip("_")
        figures.append(_save(out, file, gaps(game, opened.words, curves)))
    figures.insert(0, _save(out, "profile", profile(rows, TOLERANCE)))
    write_csv(out / "dynamics.csv", [row.cells() for row in rows], COLUMNS)
    summaries = summarise(rows)
    write_csv(out / "table.csv", csv_rows(summaries))
    footnotes = notes(summaries, config["calls"], config["noise"])
    found = blocks(summaries, sizes)
    write_text(out / "table.md", _table_markdown(found, footnotes))
    report = [*sentences(summaries), *map(_markdown, found)]
    report += [f"![{Path(name).stem.replace('_', ' ')}]({name})" for name in figures]
    return Outcome(_metrics(summaries), report, footnotes, "\n\n".join(map(_plain, found)))


def recorded(calls: int) -> list[int]:
    """0, and up to POINTS numbers of calls to the last, evenly spread on a log axis."""
    spread = np.unique(np.geomspace(1, calls, POINTS).round().astype(int))
    return [0, *spread.tolist()]


def _save(out: Path, name: str, figure: Figure) -> str:
    """Write a figure; returns its name in the folder."""
    with written_aside(out / "figures" / f"{name}.png") as aside:
        figure.savefig(aside)
    return f"figures/{name}.png"


def _metrics(summaries: list[Summary]) -> dict[str, float]:
    return {
        f"{summary.game}.{summary.method}.solved_{tolerance}": summary.solved[tolerance].value
        for summary in summaries
        for tolerance in TOLERANCES
    }


def _markdown(block: Block) -> str:
    return f"**{block.title}**\n\n{block.frame.to_markdown(index=False, disable_numparse=True)}"


def _plain(block: Block) -> str:
    table = block.frame.to_markdown(index=False, tablefmt="simple", disable_numparse=True)
    return f"{block.title}\n{table}"


def _table_markdown(found: list[Block], footnotes: list[str]) -> str:
    listed = "\n".join(f"- {note}" for note in footnotes)
    return "\n\n".join(["# Dynamics on games", *map(_markdown, found), "## Notes", listed]) + "\n"


WORK = Work(run=run, problems=problems, inputs=inputs, methods=methods)
