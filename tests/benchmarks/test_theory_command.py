"""`experiment=NAME` for the experiments on games: configs, mistakes, help, folders."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from benchmarks.command_line import main
from benchmarks.compose import available, read_conf
from benchmarks.plan import PlanError
from benchmarks.provenance import ROOT
from benchmarks.schema import load_object
from benchmarks.settings_docs import class_settings
from benchmarks.single_config import places
from benchmarks.theory.command import run_experiment
from benchmarks.theory.experiments import EXPERIMENTS, Work
from benchmarks.theory.resolve import resolve, sections_of
from benchmarks.theory.routing import experiment_on_games, experiments_on_games
from benchmarks.theory.schema import Machine
from mpo.games.extensive.registry import TREE_DYNAMICS

SMALL = ("methods=[mpo,mwu]", "seeds=2", "calls=30", "game.actions=4")


def refused(*words: str) -> list[str]:
    with pytest.raises(PlanError) as error:
        run_experiment("dynamics", words)
    return error.value.problems


def test_an_experiment_on_games_is_a_file_and_a_line_of_the_table() -> None:
    assert set(experiments_on_games()) == set(EXPERIMENTS)
    assert "compare" in set(available("experiment")) - set(EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_file_of_an_experiment_is_whole_and_valid_and_its_work_is_there(name: str) -> None:
    file = read_conf(f"experiment/{name}")
    assert file.about["title"] and file.about["question"].endswith("?")
    assert isinstance(load_object(EXPERIMENTS[name].work), Work)
    config, work, out, problems = resolve(name, [])
    assert problems == []
    assert out == Path("results") / name
    assert (work.methods is None) == ("methods" not in file.about)
    if work.methods:
        # A method that no game can play would be left out of every run without a word.
        trees = TREE_DYNAMICS if name == "dynamics" else {}
        assert set(file.about["methods"]) <= {*work.methods(config), *trees}
        assert config["methods"] == [m for m in file.about["methods"] if m in work.methods(config)]
    known = places(sections_of(EXPERIMENTS[name]))
    assert set(known) <= set(file.values)
    for size in file.about.get("sizes", {}):
        assert resolve(name, [f"size={size}"]).problems == []


def test_every_setting_is_documented() -> None:
    schemas = {Machine, *(s for e in EXPERIMENTS.values() for s in e.settings.values())}
    for schema in schemas:
        documented = class_settings(schema)
        assert [setting.name for setting in documented] == [f.name for f in fields(schema)]
        assert [setting.name for setting in documented if not setting.doc] == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["experiment=dynamics"], "dynamics"),
        (["methods=[mwu]", "experiment=figure3"], "figure3"),
        (["experiment=dynamics", "--help"], "dynamics"),
        (["--dry-run", "experiment=dynamics"], "dynamics"),
        (["experiment=dynamics", "--list"], None),
        (["experiment=compare"], None),
        (["experiment=dynamic"], None),
        (["experiment=../experiment/dynamics"], None),
        (["tune", "experiment=dynamics"], None),
        (["resume", "somewhere", "experiment=dynamics"], None),
        ([], None),
    ],
)
def test_which_commands_are_experiments_on_games(words: list[str], expected: str | None) -> None:
    assert experiment_on_games(words) == expected


def test_later_layers_win_and_short_keys_and_single_values_do() -> None:
    words = ["game=cyclic", "methods=mpo", "mpo.alpha=1", "size=quick", "calls=77", "out=here"]
    config, _, out, problems = resolve("dynamics", words)
    assert problems == []
    assert out == Path("here")
    assert config["game"]["names"] == ["cyclic"]
    assert config["methods"] == ["mpo"]
    assert (config["seeds"], config["calls"]) == ([0, 1, 2, 3, 4], 77)
    assert config["mpo"]["alpha"] == 1.0 and isinstance(config["mpo"]["alpha"], float)
    # The method's other settings are in the config too, so that it says what was run.
    assert config["mpo"]["magnet_interval"] == 50
    assert "mwu" not in config
    assert resolve("dynamics", ["seeds=[7,3]"]).config["seeds"] == [7, 3]


def test_all_mistakes_come_together(tmp_path: Path) -> None:
    matrix = tmp_path / "mine.csv"
    matrix.write_text("0.5,1.9\n0.1,0.5\n")
    found = refused(
        "game=[matrix,cyclik]",
        f"game.path={matrix}",
        "game.actions=1",
        "seeds=0",
        "calls=none",
        "noise=-1",
        "methods=[mpo,mwuu]",
        "mpo.eta=-1",
        "mpo.alpha=much",
        "mpo.alhpa=1",
        "mmd.alpha=1",
        "size=tiny",
        "task=exact",
        "threads=0",
    )
    text = "\n".join(found)
    for words in (
        "game.names: got 'cyclik'",
        "nearest: cyclic",
        f"game.path: {matrix}: row 0, column 1: got 1.9",
        "game.actions: got 1, allowed is an integer ≥ 2",
        "seeds: got 0",
        "calls: got 'none', allowed is an integer",
        "noise: got -1.0",
        "methods: got 'mwuu'",
        "nearest: mwu",
        "mpo.eta: got -1.0, allowed: a finite number above 0",
        "mpo.alpha: got 'much', allowed is a number",
        "mpo.alhpa: unknown key",
        "nearest: mpo.alpha",
        "mmd.alpha: got 1, but methods=[mpo] has no mmd",
        "size: got 'tiny', allowed is full | quick",
        "task: got 'exact'",
        "threads: got 0",
    ):
        assert words in text, words
    assert len(found) == 14


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["game=matrix"], "game.path: missing, allowed with game=matrix is"),
        (["game=matrix", "game.path=nowhere.npy"], "game.path: nowhere.npy: "),
        (["game.path=mine.csv"], "game.path: got 'mine.csv', allowed only with game=matrix"),
        (["game=block_cyclic", "game.actions=2"], "game.actions: got 2 for block_cyclic"),
        (["game=[kuhn,cyclic]"], "game.names: got kuhn (extensive-form), cyclic (matrix)"),
        (["game=kuhn", "methods=[mwu]"], "methods: got 'mwu', allowed is md, mmd, mpo, cfr_plus"),
        (["game=openspiel:kuhn_pokker"], "did you mean kuhn_poker?"),
        (["game=openspiel:matrix_rps"], "dynamics: got SIMULTANEOUS"),
        (["game=openspiel:tiny_hanabi"], "utility: got IDENTICAL, allowed: ZERO_SUM"),
        (["game=[]"], "game.names: got [], allowed is a list of different games"),
        (["methods=[]"], "methods: got [], allowed is a list of methods"),
        (["methods=[mwu,mwu]"], "methods: got 'mwu' twice"),
        (["mpo.eta=1e400"], "mpo.eta: got inf"),
        (["mpo.magnet_interval=2.5"], "mpo.magnet_interval: got 2.5, allowed is an integer"),
        (["mpo.opponent=me"], "mpo.opponent: got 'me', allowed: policy | snapshot"),
        (["game=cyclic", "game.names=cyclic"], "game.names: given twice"),
        (["out="], "out: got None, allowed is a folder's path"),
        (["ablation=alpha"], "ablation: got 'alpha', allowed with experiment=dynamics is"),
    ],
)
def test_a_mistake_is_named(words: list[str], expected: str) -> None:
    (problem,) = refused(*words)
    assert expected in problem


def test_an_experiment_without_methods_refuses_them() -> None:
    problems = resolve("figure3", ["methods=[mwu]", "seeds=3", "game.weights=[1,0,1]"]).problems
    assert [problem.partition(":")[0] for problem in problems] == [
        "game.weights",
        "methods",
        "seeds",
    ]


def test_a_mistake_in_the_command_ends_it_with_2_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["experiment=dynamics", "mpo.eta=0", "calls=0"]) == 2
    assert "2 problems, nothing was run" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_shows_the_config_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["experiment=dynamics", *SMALL, f"out={out}", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert f"experiment dynamics, folder {out}" in said
    assert "  game.actions=4" in said and "  mpo.alpha=0.05" in said
    assert not out.exists()


def test_help_needs_no_torch_and_names_every_key() -> None:
    script = (
        "import sys\n"
        "from benchmarks.command_line import main\n"
        "assert main(['experiment=dynamics', '--help']) == 0\n"
        "assert main(['-h', 'experiment=figure3']) == 0\n"
        "heavy = {'torch', 'lightning', 'pandas', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    named = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    for name in ("dynamics", "figure3"):
        assert set(places(sections_of(EXPERIMENTS[name]))) <= named
    assert {"methods", "seeds", "size", "METHOD.FIELD"} <= named


def test_the_same_command_again_does_nothing_and_another_config_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["experiment=dynamics", *SMALL, f"out={out}"]
    assert main(words) == 0
    assert "gap ≤ 1e-3" in capsys.readouterr().out
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.is_file()}
    assert main(words) == 0
    assert "is finished" in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert main([*words, "mpo.alpha=0.3"]) == 2
    refusal = capsys.readouterr().err
    assert "holds an experiment with another config" in refusal
    assert "mpo.alpha was 0.05, is 0.3" in refusal


def test_what_was_interrupted_is_done_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["experiment=dynamics", *SMALL, f"out={out}"]
    assert main(words) == 0
    expected = (out / "dynamics.csv").read_text()
    (out / "result.json").unlink()
    (out / "dynamics.csv").write_text("half a fi")
    assert main(words) == 0
    assert (out / "dynamics.csv").read_text() == expected
    assert (out / "result.json").is_file()


def test_a_matrix_file_that_has_changed_is_another_config(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "game.npy"
    np.save(file, np.array([[0.5, 0.9], [0.1, 0.5]]))
    out = tmp_path / "out"
    words = ["experiment=dynamics", "game=matrix", f"game.path={file}", *SMALL, f"out={out}"]
    assert main(words) == 0
    np.save(file, np.array([[0.5, 0.8], [0.2, 0.5]]))
    assert main(words) == 2
    assert "game.npy was" in capsys.readouterr().err


def test_a_result_says_where_its_numbers_come_from(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["experiment=dynamics", *SMALL, f"out={out}"]) == 0
    result = json.loads((out / "result.json").read_text())
    assert result["experiment"] == "dynamics"
    assert result["environment"]["commit"] and result["environment"]["versions"]["torch"]
    assert result["environment"]["threads"] == 1
    assert set(result["seconds"]) == {"wall", "cpu"}
    assert "experiment=dynamics" in result["command"]
    report = (out / "report.md").read_text()
    for words in ("# Dynamics on games", result["command"], result["environment"]["commit"]):
        assert words in report
    shown = {line.split("(")[1][:-1] for line in report.splitlines() if line.startswith("![")}
    assert shown == {f"figures/{file.name}" for file in (out / "figures").iterdir()}
    assert len(shown) == 2
