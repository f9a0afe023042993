"""`python benchmarks/run.py`, as a user calls it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import command_line, execute
from benchmarks.command_line import main
from benchmarks.compose import available, read_command_line
from benchmarks.plan import make_plan
from benchmarks.plan_folder import read_plan_file
from benchmarks.provenance import ROOT

EXACT = ("ablation=fixed_ref", "task=exact", "task.kinds=[smooth]", "seeds=1")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs leave a result without training, and the table is left out."""

    def shown(folder: Path) -> None:
        print(f"the table of {folder}")

    real = execute.execute

    def quick(plan: dict, folder: Path, jobs: int | None = None, progress: str = "auto") -> int:
        runner = "tests.benchmarks.stand_in_runs:succeed"
        return real(
            plan, folder, jobs=jobs, progress="plain", runner=runner, preload="benchmarks.worker"
        )

    monkeypatch.setattr(execute, "execute", quick)
    monkeypatch.setattr(command_line, "show", shown)


def call(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "run.py"), *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_help_and_list_need_no_torch() -> None:
    script = (
        "import sys\n"
        "from benchmarks.command_line import main\n"
        "status = main(['--help']) or main(['--list'])\n"
        "heavy = {'torch', 'lightning', 'transformers', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_help_names_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    from benchmarks.compose import flatten

    keys = set()
    for arguments in (["method=mpo"], ["experiment=compare", "seeds=1"]):
        plan, _ = make_plan(read_command_line(arguments), arguments)
        keys |= {key for run in plan["runs"] for key in flatten(run["config"])}
    chosen = {"seed", "variant", "task.name", "task.kind", "task.game_seed", "method.name"}
    documented = set(re.findall(r"^  ([a-z_.]+) ", shown, flags=re.MULTILINE))
    assert keys - chosen <= documented
    assert {"seeds", "task.kinds", "task.game_seeds", "out", "jobs", "progress"} <= documented
    assert {"methods", "size", "trials", "budget", "budget_amount"} <= documented


def test_list_names_every_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    shown = capsys.readouterr().out
    groups = ("ablation", "experiment", "task", "method", "judge", "model", "strategy", "search")
    for group in groups:
        for name in available(group):
            line = re.search(rf"^  {name}: (.*)$", shown, flags=re.MULTILINE)
            assert line and line[1].strip()


def test_no_arguments_print_the_help_and_refuse(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "ablation=NAME" in capsys.readouterr().out


def test_a_dry_run_shows_plan_and_cost_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*EXACT, "--dry-run", "out=here"]) == 0
    shown = capsys.readouterr().out
    for words in ("exact-smooth-8-moving-s0", "exact-smooth-8-fixed-s0", "CPU-seconds", "here"):
        assert words in shown
    assert re.search(r"method\.magnet_interval: moving \d+, fixed null", shown)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_methods_shows_what_each_has_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["experiment=compare", "methods=[mpo,ppo,mpo_paper]", "size=quick", "--dry-run"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "size quick, budget of a run: 126,720 samples (exact)" in shown
    assert "  train.iterations: mpo 330, ppo 330, mpo_paper 164" in shown
    assert "  method.gamma: mpo 1.0, ppo 1.0, mpo_paper 0.95" in shown
    assert re.search(r"  ppo alone: .*method\.gae_lambda=0\.95", shown)
    assert re.search(r"^  .*train\.clip_norm=1\.0", shown, flags=re.MULTILINE)


def test_a_method_runs_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["method=ppo", "task=exact", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "15 runs" in shown and "exact-smooth-8-ppo-s0" in shown
    assert "budget of a run: none" in shown


def test_a_stage_is_handed_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.stages import command

    handed: list[list[str]] = []
    monkeypatch.setattr(command, "stage", lambda words: handed.append(list(words)) or 7)
    assert main(["stage", "sft", "--help"]) == 7
    assert handed == [["sft", "--help"]]


def test_mistakes_of_config_and_folder_are_listed_together_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("precious")
    before = sorted(tmp_path.rglob("*"))
    arguments = ("ablation=fixd_ref", "method.alpha=-1", "method.eta=0", "seeds=0", "out=taken")
    done = call(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "5 problems, nothing was run" in done.stderr
    for words in (
        "nearest: fixed_ref",
        "method.alpha: got -1.0",
        "method.eta: got 0.0",
        "seeds: got 0",
    ):
        assert words in done.stderr
    assert "no plan.yaml" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("stand_in")
def test_the_default_folder_is_named_after_the_ablation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(EXACT) == 0
    folder = Path("results/fixed_ref")
    assert "the table of results/fixed_ref" in capsys.readouterr().out
    plan = read_plan_file(folder)
    assert plan["command"] == "python benchmarks/run.py " + " ".join(
        ["ablation=fixed_ref", "task=exact", "'task.kinds=[smooth]'", "seeds=1"]
    )
    assert len(list(folder.glob("runs/*/result.json"))) == 2


@pytest.mark.usefixtures("stand_in")
def test_another_plan_is_refused_and_the_same_is_continued(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = f"out={tmp_path / 'plan'}"
    assert main([*EXACT, out]) == 0
    assert main([*EXACT, out]) == 0
    assert "2 of them done already" in capsys.readouterr().out
    assert main([*EXACT, out, "method.gamma=0.9"]) == 2
    refusal = capsys.readouterr().err
    assert "belongs to another plan" in refusal and "choose another out=" in refusal


@pytest.mark.usefixtures("stand_in")
def test_resume_does_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "plan"
    main([*EXACT, f"out={folder}"])
    missing = folder / "runs" / "exact-smooth-8-fixed-s0" / "result.json"
    missing.unlink()
    capsys.readouterr()
    assert main(["resume", str(folder), "jobs=1"]) == 0
    assert "1 of them done already, 1 at a time" in capsys.readouterr().out
    assert missing.is_file()


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("resume",), "got 0 folders"),
        (("resume", "absent"), "absent: got no plan.yaml"),
        (("resume", "plan", "other"), "got 2 folders"),
        (("resume", "plan", "method.alpha=0.2"), "method.alpha: got a value"),
        (("resume", "plan", "task=exact"), "task: got a value"),
        (("resume", "plan", "jobs=0"), "jobs: got 0"),
        (("aggregate",), "got no folder"),
        (("aggregate", "absent"), "absent: got no plan.yaml"),
    ],
)
def test_mistakes_after_a_subcommand(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    main([*EXACT, "out=plan"])
    capsys.readouterr()
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.usefixtures("stand_in")
def test_resume_refuses_prompts_that_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path("prompts.txt")
    file.write_text("\n".join(f"Question {i}, what?" for i in range(100)))
    sizes = ("task.eval_prompts=4", "train.prompts=2", "seeds=1")
    arguments = ["ablation=fixed_ref", "task=smollm2", "task.prompts=prompts.txt", *sizes]
    assert main([*arguments, "out=plan"]) == 0
    file.write_text(file.read_text() + "\nAnother question?")
    assert main(["resume", "plan"]) == 2
    assert "'prompts.txt', whose content is not that of the plan" in capsys.readouterr().err


@pytest.mark.usefixtures("stand_in")
def test_a_table_that_fails_says_so_and_keeps_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(folder: Path) -> None:
        raise ZeroDivisionError("no rows")

    monkeypatch.setattr(command_line, "show", broken)
    folder = tmp_path / "plan"
    assert main([*EXACT, f"out={folder}"]) == 1
    told = capsys.readouterr().err
    assert "ZeroDivisionError: no rows" in told and f"run.py aggregate {folder}" in told
    assert len(list(folder.glob("runs/*/result.json"))) == 2


def test_aggregate_shows_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in: None
) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        main([*EXACT, f"out={folder}"])
    shown: list[Path] = []
    monkeypatch.setattr(command_line, "show", shown.append)
    assert main(["aggregate", *map(str, folders)]) == 0
    assert shown == folders
