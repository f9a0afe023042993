"""`experiment=choosing`: what each choice costs in oracle calls, and the rule that has none."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from benchmarks.atomic import write_csv, write_text, written_aside
from benchmarks.theory.choosing.figure import profiles, steps
from benchmarks.theory.choosing.runs import (
    LARGE,
    TOLERANCE,
    Batch,
    Cell,
    alternatives,
    as_it_is,
    at_steps,
    batch_of,
    grid,
    parsed,
)
from benchmarks.theory.choosing.tables import RULE, blocks, csv_rows, metrics, sentences
from benchmarks.theory.experiments import Config, Outcome, Work
from benchmarks.theory.method_values import Methods, chosen_methods
from mpo.games.dynamics.registry import DYNAMICS
from mpo.games.matrix_families import matrix_game


def methods(config: Config) -> Methods:
    """All dynamics that have a stepsize η."""
    return {
        name: method
        for name, method in DYNAMICS.items()
        if any(field.name == "eta" for field in fields(method))
    }


def problems(config: Config) -> list[str]:
    """Games that there are not, and a study of the rule without the rule."""
    found = []
    for key, names in (("games", config["games"]), ("grid.games", config["grid"]["games"])):
        for name in names:
            try:
                matrix_game(*_game(name))
            except ValueError as error:
                found += [f"{key}: {name}: {problem}" for problem in str(error).split("; ")]
    if RULE not in config["methods"]:
        found.append(f"methods: got no {RULE}, allowed is a list with it: all are compared with it")
    return found


def run(config: Config, out: Path) -> Outcome:
    """Run the sweep over stepsizes, the grid and the alternatives; write tables and figures."""
    chosen = chosen_methods(methods(config), config)
    cells: list[Cell] = []
    for name in config["games"]:
        cells += _sweep(chosen, _batch(name, config, config["count"]), config)
    settings = config["grid"]
    for name in settings["games"]:
        batch = _batch(name, config, settings["count"])
        print(f"{name}: the grid and the alternatives on {len(batch.log_policy)} games", flush=True)
        cells += grid(
            batch, settings["alphas"], settings["intervals"], settings["etas"], config["calls"]
        )
        cells += alternatives(batch, config["calls"])
    write_csv(out / "choosing.csv", csv_rows(cells))
    write_csv(out / "runs.csv", _run_rows(cells, config["first_seed"]))
    for name, figure in (("profiles", profiles(cells, config["calls"])), ("steps", steps(cells))):
        with written_aside(out / "figures" / f"{name}.png") as aside:
            figure.savefig(aside)
    found = blocks(cells)
    lines = "\n".join(f"- {line}" for line in sentences(cells))
    tables = [
        f"**{block.title}**\n\n{block.frame.to_markdown(index=False, disable_numparse=True)}"
        for block in found
    ]
    notes = _notes(config)
    write_text(out / "table.md", "\n\n".join([*tables, *(f"- {note}" for note in notes)]) + "\n")
    report = [
        lines,
        "![solved within so many calls](figures/profiles.png)",
        "![solved at each stepsize](figures/steps.png)",
        *tables,
    ]
    return Outcome(metrics(cells), report, notes, lines)


def _game(name: str) -> tuple[str, int, int]:
    family, actions = parsed(name)
    return family, 0, actions


def _batch(name: str, config: Config, count: int) -> Batch:
    return batch_of(name, config["first_seed"], count, config["large_count"])


def _sweep(chosen: dict[str, Any], batch: Batch, config: Config) -> list[Cell]:
    """Every method at every constant stepsize, and the rule as it is."""
    print(f"{batch.game}: {len(chosen)} methods on {len(batch.log_policy)} games", flush=True)
    cells = [as_it_is("steps", RULE, "", chosen[RULE], batch, config["calls"])]
    for name, method in chosen.items():
        cells += at_steps("steps", name, "", method, batch, config["etas"], config["calls"])
    return cells


def _run_rows(cells: list[Cell], first_seed: int) -> list[dict[str, object]]:
    return [
        {
            "game": cell.game,
            "method": cell.method,
            "eta": "" if cell.eta is None else cell.eta,
            "seed": seed,
            "calls_to_1e-3": number,
        }
        for cell in cells
        if cell.part == "steps"
        for seed, number in enumerate(cell.calls, first_seed)
    ]


def _notes(config: Config) -> list[str]:
    last = config["first_seed"] + config["count"] - 1
    seeds = f"games of seeds {config['first_seed']} to {last}"
    if any(parsed(name)[1] >= LARGE for name in config["games"]):
        seeds += f"; of those with {LARGE} or more actions the first {config['large_count']}"
    return [
        f"solved: the last iterate's duality gap fell to {TOLERANCE:g} within {config['calls']:,} "
        "oracle calls and stayed there to the end; medians and percentiles are of all games, "
        "unsolved ones count as infinite; shares have Wilson's 95 % interval",
        "an oracle call is one evaluation of P π: an extragradient step takes two",
        seeds,
        "a method's best constant η is the one that solves most games, of equals the one with the "
        "smallest median, chosen on the games that are shown: this favours the methods, not "
        f"{RULE}",
    ]


WORK = Work(run=run, problems=problems, methods=methods)
