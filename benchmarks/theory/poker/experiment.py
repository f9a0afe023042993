"""`experiment=figure1`: poker, tabular methods and networks that are trained from episodes."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from baselines import PPO
from benchmarks.atomic import write_csv, write_text, written_aside
from benchmarks.theory.experiments import Config, Outcome, Work
from benchmarks.theory.method_values import Methods, chosen_methods
from benchmarks.theory.poker.figure import draw
from benchmarks.theory.poker.runs import curves
from benchmarks.theory.poker.table import block, csv_rows, endings, notes, sentences
from mpo.games.extensive.registry import TREE_DYNAMICS, load_game
from mpo.games.extensive.tree import GameTree
from mpo.objectives import MPO, MPORT
from mpo.seats.seating import seating
from mpo.seats.training import SEATS, objective_problems

NEURAL: Methods = {
    "neural_mpo": MPO(responses=SEATS),
    "neural_mpo_rt": MPORT(responses=SEATS),
    "neural_ppo": PPO(responses=SEATS, beta=0.0),
    # One step on Σ_t r_t A_t from r_t = 1 has REINFORCE's gradient.
    "neural_pg": MPO(responses=SEATS, alpha=0.0, magnet_interval=None, inner_steps=1),
}
"""Objectives of language models, unchanged; a prompt's two responses are an episode's seats."""

RUNS = "runs"


def methods(config: Config) -> Methods:
    """Dynamics on the tree, and objectives."""
    return TREE_DYNAMICS | NEURAL


def problems(config: Config) -> list[str]:
    """An unknown game, one that can't be loaded, and objectives that don't fit two seats."""
    found: list[str] = []
    try:
        _tree(config)
    except (ValueError, ModuleNotFoundError) as error:
        found = str(error).splitlines()
    if config["episodes"] < config["training"]["rollout"]:
        found.append(
            f"episodes: got {config['episodes']}, allowed is at least training.rollout "
            f"({config['training']['rollout']})"
        )
    for name, method in chosen_methods(methods(config), config).items():
        if name in NEURAL:
            found += [f"{name}.{problem}" for problem in objective_problems(method)]
    return found


def run(config: Config, out: Path) -> Outcome:
    """Run what is missing; write runs/, figure1.csv, table.md and the figure."""
    game, seats = config["game"], seating(_tree(config))
    (out / RUNS).mkdir(exist_ok=True)
    chosen = chosen_methods(methods(config), config)
    every = [curves(name, method, seats, config, out / RUNS) for name, method in chosen.items()]
    found = list(chain.from_iterable(every))
    write_csv(out / "figure1.csv", csv_rows(found))
    with written_aside(out / "figures" / "figure1.png") as aside:
        draw(game, found).savefig(aside)
    ends = endings(found)
    table, lines, footnotes = block(game, ends), sentences(game, ends), notes(ends)
    title = f"**{table.title}**"
    markdown = f"{title}\n\n{table.frame.to_markdown(index=False, disable_numparse=True)}"
    listed = "\n".join(f"- {note}" for note in footnotes)
    write_text(out / "table.md", "\n\n".join([markdown, "## Notes", listed]) + "\n")
    metrics = {
        f"{ending.method}.{name}": value
        for ending in ends
        for name, value in (
            ("gap", ending.gap.value),
            ("exploitability", ending.exploitability.value),
            ("seconds", ending.seconds),
        )
    }
    report = [
        "\n".join(f"- {line}" for line in lines),
        markdown,
        "![figure 1](figures/figure1.png)",
    ]
    plain = table.frame.to_markdown(index=False, tablefmt="simple", disable_numparse=True)
    return Outcome(metrics, report, footnotes, "\n\n".join([*lines, f"{table.title}\n{plain}"]))


def _tree(config: Config) -> GameTree:
    return load_game(config["game"])


WORK = Work(run=run, problems=problems, methods=methods)
