"""Panel-labelled samples: the labels, what is dropped, and a file that is made once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mpo import rollout
from mpo.data import PromptSet
from mpo.judges.annotators import AnnotatorPanel
from mpo.rollout import SamplingSettings
from mpo.training import panel_pairs as module
from mpo.training.data import DataError, load_comparisons
from mpo.training.panel_pairs import labelled_samples, panel_pairs
from tests.engine import prompt_set, tiny_game, tiny_policy

GAME = tiny_game(prompts=4)
SETTINGS = SamplingSettings(0, GAME.max_tokens, (GAME.eos,), GAME.text)


def length(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    return [float(len(text)) for text in responses]


def first_letter(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
    return [float(ord(text[0])) for text in responses]


def panel(**more: Any) -> AnnotatorPanel:
    return AnnotatorPanel({"length": length, "first_letter": first_letter, **more})


def side(start: int, stop: int) -> PromptSet:
    everything = prompt_set(GAME)
    return PromptSet(*(list(part)[start:stop] for part in vars(everything).values()))


def made(file: Path, **changed: Any) -> Any:
    arguments: dict[str, Any] = {
        "policy": tiny_policy(GAME),
        "training": side(0, 3),
        "held_out": side(3, 4),
        "settings": SETTINGS,
        "panel": panel(),
        "responses": 5,
    }
    return panel_pairs(file, **{**arguments, **changed})


def test_labels_are_the_panels_and_identical_samples_are_dropped() -> None:
    found = labelled_samples(tiny_policy(GAME), side(0, 4), SETTINGS, panel(), 6)
    assert [record.prompt for record in found] == list(GAME.prompt_texts[:4])
    judge, sizes = panel(), set()
    for record in found:
        texts = record.responses
        assert len(set(texts)) == len(texts) and record.group == record.prompt
        sizes.add(len(texts))
        for i, a in enumerate(texts):
            for j, b in enumerate(texts):
                expected = float(judge.win_prob([record.prompt], [a], [b]))
                assert record.wins[i][j] == expected
    assert min(sizes) < 6, "no sample came twice: the test has lost its case"


def test_a_prompt_whose_samples_are_alike_is_dropped(tmp_path: Path) -> None:
    alike = dataclasses.replace(SETTINGS, decode=lambda ids: "x")
    assert labelled_samples(tiny_policy(GAME), side(0, 4), alike, panel(), 3) == []
    with pytest.raises(DataError, match="0 comparisons for training"):
        made(tmp_path / "p.parquet", settings=alike)


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = labelled_samples(tiny_policy(GAME), side(0, 4), SETTINGS, panel(), 4)
    monkeypatch.setattr(module, "BATCH", 3)
    assert labelled_samples(tiny_policy(GAME), side(0, 4), SETTINGS, panel(), 4) == whole


def test_the_file_is_made_once_and_is_an_ordinary_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "deeper" / "pairs.parquet"
    parts = made(file)
    assert {record.prompt for record in parts.held_out} == set(side(3, 4).texts)
    assert parts.training == labelled_samples(tiny_policy(GAME), side(0, 3), SETTINGS, panel(), 5)
    assert load_comparisons(file) == parts
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    monkeypatch.setattr(module, "labelled_samples", None)
    assert made(file) == parts


def test_a_file_made_from_other_arguments_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pairs.parquet"
    made(file)
    for field, changed in {
        "weights": {"policy": tiny_policy(GAME, seed=1)},
        "temperature": {"policy": tiny_policy(GAME, temperature=0.5)},
        "training_prompts": {"training": side(0, 2)},
        "held_out_prompts": {"training": side(0, 2), "held_out": side(2, 4)},
        "seed": {"settings": dataclasses.replace(SETTINGS, seed=1)},
        "annotators": {"panel": panel(again=length)},
        "responses": {"responses": 4},
    }.items():
        with pytest.raises(DataError) as caught:
            made(file, **changed)
        assert field in [problem.split(":")[0] for problem in caught.value.problems]
    other = tmp_path / "other.parquet"
    other.write_text("text")
    with pytest.raises(DataError, match="not a Parquet file"):
        made(other)


def test_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"panel\.responses: got 1, allowed is at least 2"):
        made(tmp_path / "p.parquet", responses=1)
    with pytest.raises(ValueError, match="for training and held out"):
        made(tmp_path / "p.parquet", held_out=side(2, 4))
    assert list(tmp_path.iterdir()) == []


def test_samples_are_those_of_no_other_use() -> None:
    taken = {rollout.POLICY_STREAM, rollout.OPPONENT_STREAM, rollout.EVALUATION_STREAM}
    assert module.LABELLING_STREAM not in taken
