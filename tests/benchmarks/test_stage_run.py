"""The stages on a user's own model and data, from the command to the folder."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.plan import PlanError
from benchmarks.stages.command import stage
from mpo.bundled import load_causal_model
from mpo.chat import ChatFormat
from mpo.judges.preference_model import load_preference_model
from mpo.judges.reward_model import load_reward_model
from mpo.policy import Policy
from mpo.training.data import load_comparisons
from mpo.training.records import Example
from mpo.training.sft import SupervisedModel
from tests.benchmarks.tiny_language_model import save_model, save_prompts, sentences


class User:
    """What a user brings: a model, demonstrations, comparisons, prompts."""

    def __init__(self, folder: Path) -> None:
        self.model, self.prompts = folder / "model", folder / "prompts.txt"
        save_model(self.model)
        save_prompts(self.prompts)
        self.examples = write(
            folder / "examples.jsonl",
            [{"prompt": text, "response": "Rain and tea."} for text in sentences()],
        )
        self.comparisons = write(
            folder / "comparisons.jsonl",
            [
                {"prompt": text, "chosen": "I like music.", "rejected": "Why?"}
                for text in sentences()
            ],
        )

    def words(self, out: Path, **values: Any) -> list[str]:
        given = {
            "out": out,
            "model.path": self.model,
            "model.train_blocks": 1,
            "train.batch_size": 8,
            "train.epochs": 3,
            "train.lr": 1e-2,
            "train.width": 128,
            "train.eval_every": 2,
            **{key.replace("__", "."): value for key, value in values.items()},
        }
        return [f"{key}={value}" for key, value in given.items()]


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return file


def result(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "result.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    return User(tmp_path_factory.mktemp("user"))


@pytest.fixture(scope="module")
def tuned(user: User, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished supervised stage."""
    out = tmp_path_factory.mktemp("stages") / "sft"
    assert stage(["sft", *user.words(out, data=user.examples)]) == 0
    return out


def test_the_folder_of_a_stage_is_whole(tuned: Path) -> None:
    found = result(tuned)
    metrics, counts = found["metrics"], found["counts"]
    assert metrics["held_out_loss"] < metrics["held_out_loss_before"] - 0.5
    assert counts["training_records"] + counts["held_out_records"] == 36
    assert counts["steps"] == 3 * math.ceil(counts["training_records"] / 8)
    assert counts["too_long"] == 0
    assert {"commit", "versions", "device", "threads"} <= found["environment"].keys()
    assert found["seconds"]["wall"] > 0
    with open(tuned / "curves.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(counts["steps"] + 1))
    measured = [int(row["step"]) for row in rows if row["held_out_loss"]]
    assert measured == sorted({*range(0, counts["steps"], 2), counts["steps"]})
    assert float(rows[-1]["held_out_loss"]) == metrics["held_out_loss"]
    assert (tuned / "curve.png").stat().st_size > 5000
    assert list((tuned / "tensorboard").glob("events.*"))


def test_the_tuned_model_is_one_that_model_path_takes(tuned: Path, user: User) -> None:
    losses = []
    for folder in (user.model, tuned / "model"):
        model, tokenizer = load_causal_model(str(folder))
        supervised = SupervisedModel(Policy(model, 1), ChatFormat(tokenizer, ""))
        unit = supervised.encode(Example("Do you like rain?", "Rain and tea."))
        ids = torch.tensor([[*unit.sequences[0], unit.tokens[-1]]])
        logprobs = torch.log_softmax(model(input_ids=ids).logits[0], -1)
        places = list(unit.wanted[0])
        losses.append(-float(logprobs[places, list(unit.tokens)].mean().detach()))
    assert losses[1] < losses[0] - 0.5


def test_a_finished_stage_is_left_alone_and_another_config_is_refused(
    tuned: Path, user: User, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: file.stat().st_mtime_ns for file in tuned.rglob("*")}
    assert stage(["sft", *user.words(tuned, data=user.examples)]) == 0
    assert "nothing was done" in capsys.readouterr().out
    with pytest.raises(PlanError, match="holds a stage with another config"):
        stage(["sft", *user.words(tuned, data=user.examples, seed=1)])
    assert {file: file.stat().st_mtime_ns for file in tuned.rglob("*")} == before


def test_an_interrupted_stage_starts_over_with_the_same_numbers(
    tuned: Path, user: User, tmp_path: Path
) -> None:
    words = user.words(tmp_path / "again", data=user.examples)
    assert stage(["sft", *words]) == 0
    (tmp_path / "again" / "result.json").unlink()
    assert stage(["sft", *words]) == 0
    assert result(tmp_path / "again")["metrics"] == result(tuned)["metrics"]
    assert len(list((tmp_path / "again" / "tensorboard").glob("events.*"))) == 1


def test_a_reward_model_learns_who_wins(user: User, tmp_path: Path) -> None:
    assert stage(["reward", *user.words(tmp_path / "out", data=user.comparisons)]) == 0
    found = result(tmp_path / "out")["metrics"]
    assert found["accuracy"] == 1.0
    model = load_reward_model(tmp_path / "out" / "model")
    better, worse = model.rewards(["Why rain?"], [["I like music.", "Why?"]])[0].tolist()
    assert better > worse


@pytest.mark.parametrize("form", ["next_token", "scalar"])
def test_a_preference_model_learns_who_wins(form: str, user: User, tmp_path: Path) -> None:
    words = user.words(tmp_path / "out", data=user.comparisons, preference__form=form)
    assert stage(["preference", *words]) == 0
    assert result(tmp_path / "out")["metrics"]["accuracy"] == 1.0
    model = load_preference_model(tmp_path / "out" / "model")
    wins = model.win_prob(["Why rain?"] * 2, ["I like music.", "Why?"], ["Why?", "I like music."])
    assert float(wins[0]) > 0.5
    assert float(wins.sum()) == 1.0


def test_pairs_of_the_models_own_samples_are_kept(user: User, tmp_path: Path) -> None:
    panel = {"prompts": user.prompts, "train_prompts": 6, "held_out_prompts": 3, "max_tokens": 8}
    panel["responses"] = 12  # of a random model, most of which hold control characters
    words = user.words(
        tmp_path / "out", data="panel", **{f"panel__{key}": value for key, value in panel.items()}
    )
    assert stage(["reward", *words]) == 0
    found = result(tmp_path / "out")
    kept = load_comparisons(tmp_path / "out" / "pairs.parquet")
    assert len(kept.training) == found["counts"]["training_records"] <= 6
    assert len(kept.held_out) == found["counts"]["held_out_records"] <= 3
    assert 0 <= found["metrics"]["intransitive_share"] <= 1


def test_what_does_not_fit_the_model_is_refused(user: User, tmp_path: Path) -> None:
    for change, words in (
        ({"train__width": 9999}, r"train\.width: got 9999, allowed is at most the model's 256"),
        ({"train__width": 3}, "training records: got .* none fits into train.width = 3"),
        ({"model__train_blocks": 9}, r"model\.train_blocks: got 9, allowed is 1 to 2"),
    ):
        with pytest.raises(PlanError, match=words):
            stage(["sft", *user.words(tmp_path / "out", data=user.examples, **change)])
        # Nothing stands in the way of the mended command.
        assert not (tmp_path / "out").exists()


def test_a_loss_that_is_not_finite_fails_with_its_step(
    user: User, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = user.words(tmp_path / "out", data=user.examples, train__lr=1e30)
    assert stage(["sft", *words]) == 1
    assert "not finite at step" in capsys.readouterr().err
    assert not (tmp_path / "out" / "result.json").exists()
