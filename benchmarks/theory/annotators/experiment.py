"""`experiment=annotators`: the panel's intransitivity, its equilibria, and where methods end."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from benchmarks.atomic import write_csv, written_aside
from benchmarks.build_language import prompt_set
from benchmarks.inputs import input_problems
from benchmarks.intervals import mean_interval
from benchmarks.plan import PlanError
from benchmarks.theory.annotators.figure import draw
from benchmarks.theory.annotators.games import AnnotatorGame, annotator_games
from benchmarks.theory.annotators.rows import ends, structure
from benchmarks.theory.annotators.tables import (
    SOLVED,
    annotator_block,
    annotator_rows,
    csv_rows,
    markdown,
    method_block,
    notes,
    plain,
    prompt_block,
    sentences,
)
from benchmarks.theory.experiments import Config, Outcome, Work
from benchmarks.theory.method_values import Methods, chosen_methods
from mpo.bundled import load_causal_model
from mpo.chat import ChatFormat
from mpo.games.dynamics.registry import DYNAMICS
from mpo.judges.annotators import AnnotatorPanel
from mpo.policy import Policy
from mpo.prompts import load_prompts, split_prompts
from mpo.rollout import SamplingSettings
from mpo.training.rows import DataError

GAMES = "games.parquet"
MATRICES = "matrices"


def methods(config: Config) -> Methods:
    """Every dynamic on matrix games."""
    return DYNAMICS


def problems(config: Config) -> list[str]:
    """What is wrong with the prompts and the model; no model is loaded."""
    sample = config["sample"]
    looked_at = {
        "task.prompts": sample["prompts"],
        "task.eval_split": sample["split"],
        "task.eval_prompts": sample["count"],
        "model.path": config["model"]["path"],
    }
    named = {"task.eval_prompts": "sample.count", "task.prompts": "sample.prompts"}
    found = input_problems([looked_at])
    for key, own in named.items():
        found = [problem.replace(key, own) for problem in found]
    return found


def inputs(config: Config) -> dict[str, str]:
    """The file of prompts, where it is one."""
    source = config["sample"]["prompts"]
    file = Path(source).expanduser()
    return {source: hashlib.sha256(file.read_bytes()).hexdigest()} if file.is_file() else {}


def run(config: Config, out: Path) -> Outcome:
    """Sample and compare, or read what was; then play every game with every method.

    Writes games.parquet (or sample.file), matrices/NUMBER.npy, table.csv, annotators.csv and the
    figure. Raises PlanError when the model, the prompts or the kept games don't fit the config.
    """
    panel = AnnotatorPanel()
    games = _games(config, out, panel)
    (out / MATRICES).mkdir(exist_ok=True)
    for place, game in enumerate(games):
        with written_aside(out / MATRICES / f"{place:03d}.npy") as aside:
            np.save(aside, game.preferences.numpy())
    structures = [structure(game) for game in games]
    reached = {}
    for name, method in chosen_methods(DYNAMICS, config).items():
        print(f"{name} on {len(games)} games", flush=True)
        reached[name] = ends(games, method, config["calls"])
    rows = csv_rows(games, structures, reached)
    write_csv(out / "table.csv", rows)
    by_annotator = annotator_rows(panel.names, games, structures, reached)
    write_csv(out / "annotators.csv", by_annotator)
    with written_aside(out / "figures" / "annotators.png") as aside:
        draw(structures, reached).savefig(aside)
    lines = sentences(structures, reached)
    overall, annotators = method_block(reached), annotator_block(by_annotator)
    report = [
        "\n".join(f"- {line}" for line in lines),
        markdown(overall),
        "![annotators](figures/annotators.png)",
        markdown(annotators),
        markdown(prompt_block(games, structures, reached)),
        f"Each prompt's matrix is in {MATRICES}/, for `experiment=dynamics game=matrix "
        f"game.path={MATRICES}/NUMBER.npy`.",
    ]
    metrics: dict[str, float | None] = {
        "games": len(games),
        "intransitive_share": _mean([s.intransitive for s in structures if s.responses > 2]),
        "without_condorcet_winner": sum(s.condorcet is None for s in structures) / len(games),
        "mixed_equilibria": sum(s.support > 1 for s in structures) / len(games),
    }
    for name, each in reached.items():
        metrics[f"{name}.solved"] = sum(end.gap_last <= SOLVED for end in each) / len(games)
        metrics[f"{name}.gap_last"] = _mean([end.gap_last for end in each])
        metrics[f"{name}.distance"] = _mean([end.distance for end in each])
    summary = "\n\n".join([*lines, plain(overall), plain(annotators)])
    return Outcome(metrics, report, notes(config["calls"]), summary)


def _games(config: Config, out: Path, panel: AnnotatorPanel) -> list[AnnotatorGame]:
    sample = config["sample"]
    file = out / GAMES if sample["file"] is None else Path(sample["file"]).expanduser()
    try:
        model, tokenizer = load_causal_model(config["model"]["path"])
        policy = Policy(model, temperature=sample["temperature"])
        chat = ChatFormat(tokenizer, sample["system_prompt"])
        split = sorted(split_prompts(load_prompts(sample["prompts"]))[sample["split"]])
        prompts = prompt_set(chat, split, sample["max_prompt_tokens"])
    except ValueError as error:
        raise PlanError([str(error)]) from error
    if len(prompts) < sample["count"]:
        raise PlanError(
            [
                f"sample.count: got {sample['count']}, allowed is at most {len(prompts)}, the "
                f"{sample['split']} prompts of at most sample.max_prompt_tokens"
            ]
        )
    settings = SamplingSettings(
        config["seed"], sample["max_tokens"], chat.end_tokens(model), chat.decode
    )
    kept = "reading" if file.exists() else "sampling and comparing the responses of"
    print(f"{kept} {sample['count']} prompts ({file})", flush=True)
    try:
        return annotator_games(
            file, policy, prompts.first(sample["count"]), settings, panel, sample["responses"]
        )
    except DataError as error:
        raise PlanError([f"sample.file: {file}: {each}" for each in error.problems]) from error


def _mean(values: list[float]) -> float | None:
    return mean_interval(values).value if values else None


WORK = Work(run=run, problems=problems, inputs=inputs, methods=methods)
