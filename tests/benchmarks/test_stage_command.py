"""The stage command without training: configs, mistakes, help, dry runs, folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compose import read_conf
from benchmarks.plan import PlanError
from benchmarks.stages.command import stage
from benchmarks.stages.describe import help_text
from benchmarks.stages.execute import stage_settings
from benchmarks.stages.folder import STAGE_FOLDER
from benchmarks.stages.kinds import STAGES
from benchmarks.stages.resolve import resolve
from benchmarks.stages.schema import SECTIONS, field_places
from benchmarks.stages.sources import at_most
from mpo.training.data import Parts


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    file = tmp_path / "examples.jsonl"
    rows = [{"prompt": f"What is {n}?", "response": f"A number, {n}."} for n in range(40)]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return file


def refused(*words: str) -> list[str]:
    with pytest.raises(PlanError) as error:
        stage(words)
    return error.value.problems


@pytest.mark.parametrize("name", SECTIONS)
def test_the_shipped_file_of_a_stage_is_whole_and_valid(name: str) -> None:
    resolved = resolve(name, [])
    assert resolved.problems == []
    assert resolved.out == Path("results/stages") / name
    assert set(read_conf(f"stage/{name}").values) == set(field_places(name))
    assert name in STAGES


def test_later_layers_win_and_short_keys_stand_for_long_ones() -> None:
    words = ["model=smollm2", "strategy=deepspeed", "train.lr=5e-7", "data=x.jsonl", "out=here"]
    resolved = resolve("preference", [*words, "preference.form=scalar"])
    assert resolved.problems == []
    assert resolved.out == Path("here")
    config = resolved.config
    assert config["strategy"]["name"] == "deepspeed"
    assert config["train"]["lr"] == 5e-7
    assert config["data"]["source"] == "x.jsonl"
    assert config["preference"]["form"] == "scalar"
    assert "out" not in config


def test_all_mistakes_come_together() -> None:
    found = refused(
        "reward",
        "train.widht=3",
        "train.epochs=0",
        "train.lr=fast",
        "data=/nowhere/x.jsonl",
        "panel.responses=1",
        "device=tpu",
        "ablation=alpha",
        "model=gpt",
        "train.warmup=1.5",
    )
    text = "\n".join(found)
    assert "train.widht: unknown key" in text
    assert "nearest: train.width" in text
    assert "train.epochs: got 0, allowed is an integer ≥ 1" in text
    assert "train.lr: got 'fast', allowed is a number" in text
    assert "data.source: cannot use '/nowhere/x.jsonl'" in text
    assert "panel.responses: got 1, allowed is an integer ≥ 2" in text
    assert "device: got 'tpu', allowed is cpu" in text
    assert "ablation: got 'alpha', which is a group of plans" in text
    assert "model: got 'gpt', allowed is smollm2" in text
    assert "train.warmup: got 1.5, allowed is a share" in text
    assert len(found) == 9


def test_a_stage_knows_only_its_own_keys() -> None:
    assert "preference.form: unknown key" in refused("reward", "preference.form=scalar")[0]
    assert "panel.responses: unknown key" in refused("sft", "panel.responses=4")[0]


def test_the_name_of_the_stage_is_checked() -> None:
    assert refused("rewards") == [
        "stage: got 'rewards', allowed is sft | reward | preference (nearest: reward)"
    ]
    assert refused("train.lr=1") == [
        "stage: got 0 names, allowed is one of sft | reward | preference"
    ]


def test_data_given_twice_is_refused() -> None:
    assert "data.source: given twice, allowed is once" in refused(
        "sft", "data=a.jsonl", "data.source=b.jsonl"
    )


def test_data_of_the_wrong_kind_says_which_columns_it_found(examples: Path) -> None:
    (problem,) = refused("reward", f"data={examples}")
    assert "['prompt', 'response']" in problem


def test_help_names_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_text(SECTIONS)
    for name in SECTIONS:
        assert all(key in text for key in field_places(name)), name
    assert stage(["--help"]) == 0
    assert capsys.readouterr().out.strip() == text
    assert stage(["sft", "--help"]) == 0
    assert "panel.prompts" not in capsys.readouterr().out


def test_a_dry_run_counts_records_and_steps_and_writes_nothing(
    examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = [f"data={examples}", "data.max_records=10", "train.batch_size=4", f"out={out}"]
    assert stage(["sft", *words, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "records: 10 train" in said
    assert "3 optimizer steps" in said
    assert "train.batch_size=4" in said
    assert not out.exists()


def test_a_folder_belongs_to_one_config(tmp_path: Path) -> None:
    config = resolve("sft", []).config
    inputs = {"x.jsonl": "ab"}
    other: dict[str, Any] = {**config, "train": {**config["train"], "lr": 0.5}}
    (tmp_path / "mine").mkdir()
    assert STAGE_FOLDER.problems(tmp_path / "new", config, inputs) == []
    assert STAGE_FOLDER.problems(tmp_path / "mine", config, inputs) == []
    STAGE_FOLDER.write(tmp_path / "mine", config, inputs)
    assert STAGE_FOLDER.problems(tmp_path / "mine", config, inputs) == []
    (problem,) = STAGE_FOLDER.problems(tmp_path / "mine", other, inputs)
    assert "holds a stage with another config" in problem
    assert "train.lr was 0.0001, is 0.5" in problem
    (problem,) = STAGE_FOLDER.problems(tmp_path / "mine", config, {"x.jsonl": "cd"})
    assert "x.jsonl" in problem
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "thesis.txt").write_text("…")
    assert "holds other things" in STAGE_FOLDER.problems(tmp_path / "else", config, inputs)[0]


def test_a_warm_up_below_one_is_a_share_of_all_steps() -> None:
    config = resolve("sft", ["train.warmup=0.03", "train.batch_size=10", "train.epochs=3"]).config
    assert stage_settings(config, 95).optimizer.warmup_steps == 1
    assert stage_settings(config, 1000).optimizer.warmup_steps == 9
    config = resolve("sft", ["train.warmup=40"]).config
    assert stage_settings(config, 95).optimizer.warmup_steps == 40


def test_fewer_records_are_drawn_by_the_seed() -> None:
    parts = Parts(list(range(50)), list(range(50, 60)))
    drawn = []
    for seed in (0, 0, 1):
        config = resolve("sft", [f"seed={seed}", "data.max_records=7"]).config
        drawn.append(at_most(parts, config))
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0].training) == 7
    assert drawn[0].training == sorted(drawn[0].training) != list(range(7))
    assert drawn[0].held_out == parts.held_out
