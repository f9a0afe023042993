"""Examples and comparisons: every road in, every complaint, and splits by group."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pandas
import pytest

from mpo.prompts import CORPUS_NAME, load_prompts, split_prompts
from mpo.training.data import (
    DataError,
    data_problems,
    load_comparisons,
    load_examples,
    split_records,
)
from mpo.training.records import Comparison, Example

Row = dict[str, Any]
MESSAGES = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}]
OTHER = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "No."}]


def lines(folder: Path, rows: list[Row] | list[str], name: str = "d.jsonl") -> Path:
    file = folder / name
    texts = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    file.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return file


def loaded(source: str | Path, kind: str) -> list[Any]:
    load = load_examples if kind == "examples" else load_comparisons
    parts = load(source, held_out=0)
    assert parts.held_out == []
    return list(parts.training)


def pair(first: float, texts: tuple[str, str] = ("Hello.", "No."), prompt: str = "Hi?") -> Any:
    return Comparison(prompt, texts, ((0.5, first), (1 - first, 0.5)), prompt)


TWO = {"prompt": " Hi? ", "response_a": "Hello.", "response_b": "No."}
CASES: list[tuple[str, list[Row], list[Any]]] = [
    ("examples", [{"prompt": "Hi?", "response": " Hello.\n"}], [Example("Hi?", "Hello.")]),
    ("examples", [{"messages": MESSAGES, "id": 3}], [Example("Hi?", "Hello.")]),
    ("comparisons", [{"prompt": "Hi?", "chosen": "Hello.", "rejected": "No."}], [pair(1.0)]),
    ("comparisons", [{"prompt": "Hi?", "chosen": MESSAGES, "rejected": OTHER}], [pair(1.0)]),
    ("comparisons", [{"chosen": MESSAGES, "rejected": OTHER}], [pair(1.0)]),
    ("comparisons", [{**TWO, "label": 1}, {**TWO, "label": 0}], [pair(1.0), pair(0.0)]),
    ("comparisons", [{**TWO, "win_prob": 0.25}, {**TWO, "win_prob": 1}], [pair(0.25), pair(1.0)]),
    (
        "comparisons",
        [{"prompt": "Hi?", "responses": ["Hello.", "No."], "wins": [[0.5, 0.75], [0.25, 0.5]]}],
        [pair(0.75)],
    ),
]


@pytest.mark.parametrize(("kind", "rows", "records"), CASES)
@pytest.mark.parametrize("road", ["jsonl", "parquet", "datasets_jsonl", "datasets_parquet"])
def test_every_form_by_every_road(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    road: str,
    kind: str,
    rows: list[Row],
    records: list[Any],
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "data"
    folder.mkdir()
    file = folder / f"test.{road.removeprefix('datasets_')}"
    if file.suffix == ".jsonl":
        lines(folder, rows, file.name)
    else:
        pandas.DataFrame(rows).to_parquet(file)
    source = f"{folder}:test" if road.startswith("datasets") else str(file)
    assert loaded(source, kind) == records
    assert data_problems(source, "examples" if kind == "examples" else "comparisons", 0) == []


def test_what_the_datasets_library_cannot_find_is_said_in_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "data").mkdir()
    lines(tmp_path / "data", [{"prompt": "Hi?", "response": "x"}], "test.jsonl")
    assert "train" in data_problems(str(tmp_path / "data"), "examples")[0]
    (problem,) = data_problems("nobody/nothing:train", "examples")
    assert problem.startswith("the datasets library says")
    monkeypatch.setattr("mpo.training.rows.importlib.util.find_spec", lambda name: None)
    assert "pip install datasets" in data_problems("nobody/nothing", "comparisons")[0]


def test_sources_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_text("text")
    wanted = {
        tmp_path / "absent.jsonl": "No such file",
        tmp_path / "absent.parquet": "No such file",
        tmp_path / "bad.parquet": "not a Parquet file",
        tmp_path / "absent.csv": "unknown kind of source",
        lines(tmp_path, [], "empty.jsonl"): "holds no rows",
    }
    for source, message in wanted.items():
        (problem,) = data_problems(source, "examples")
        assert message in problem, source


def test_missing_columns_are_said_with_those_found(tmp_path: Path) -> None:
    file = lines(tmp_path, ["{oops", '{"question": "a", "answer": "b"}'])
    problems = data_problems(file, "comparisons")
    assert "['question', 'answer']" in problems[0]
    assert "prompt, chosen, rejected" in problems[0] and "win_prob" in problems[0]
    assert problems[1].startswith("line 1: ") and "not JSON" in problems[1]
    assert "needed are prompt, response; or messages" in data_problems(file, "examples")[0]


def test_all_bad_lines_are_listed_at_once(tmp_path: Path) -> None:
    good = {**TWO, "win_prob": 0.5}
    rows = [json.dumps(good), "", "[1]"]
    rows += [json.dumps({**good, "win_prob": value}) for value in (1.5, -0.1, True, "0.5", None)]
    rows += [json.dumps({**good, "win_prob": float("nan")})]
    rows += [json.dumps({**good, "prompt": " "}), json.dumps({"prompt": "Hi?"})]
    problems = data_problems(lines(tmp_path, rows), "comparisons")
    assert [problem.split(":")[0] for problem in problems] == [f"line {n}" for n in range(2, 12)]
    assert all("'win_prob' must be a probability" in problem for problem in problems[2:8])
    assert "'prompt' must not be empty" in problems[8]
    assert "got no ['response_a', 'response_b', 'win_prob']" in problems[9]
    with pytest.raises(DataError, match=r"data\.source: cannot use .*d\.jsonl"):
        load_comparisons(tmp_path / "d.jsonl")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**TWO, "label": 2}, "'label' must be 1"),
        ({"chosen": MESSAGES, "rejected": MESSAGES * 2}, "one message of the user and one of"),
        ({"chosen": MESSAGES, "rejected": "No."}, "'rejected' must be one message of the user"),
        ({"prompt": "Ho?", "chosen": MESSAGES, "rejected": OTHER}, "must be the same"),
        ({"prompt": "Hi?", "responses": ["a"], "wins": [[0.5]]}, "at least 2"),
        ({"prompt": "Hi?", "responses": ["a", "b"], "wins": [[0.5, 1.0]]}, "want 2 rows"),
        (
            {"prompt": "Hi?", "responses": ["a", "b"], "wins": [[0.5, 0.7], [0.7, 0.5]]},
            "differs from 1 by 0.4",
        ),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: Row, message: str) -> None:
    (problem,) = data_problems(lines(tmp_path, [row]), "comparisons")
    assert problem.startswith("line 1: ") and message in problem


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{**TWO, "label": 1}] * 3, "'label' is 1 in all 3 rows"),
        ([{**TWO, "win_prob": 0.8}] * 2, "'win_prob' is 0.8 in all 2 rows"),
        ([{"prompt": "Hi?", "chosen": "a", "rejected": "a"}], "all 1 comparisons are ties"),
    ],
)
def test_labels_of_one_class(tmp_path: Path, rows: list[Row], message: str) -> None:
    (problem,) = data_problems(lines(tmp_path, rows), "comparisons", 0)
    assert message in problem


def test_the_same_text_on_both_sides_is_a_tie(tmp_path: Path) -> None:
    rows = [{"prompt": "Hi?", "chosen": "a", "rejected": other} for other in ("a", "b")]
    assert loaded(lines(tmp_path, rows), "comparisons") == [
        pair(0.5, ("a", "a")),
        pair(1.0, ("a", "b")),
    ]


def test_a_group_is_on_one_side_and_stays_there(tmp_path: Path) -> None:
    rows = [
        {**TWO, "label": place % 2, "group": f"chat {place // 3}", "prompt": f"p{place}"}
        for place in range(300)
    ]
    parts = load_comparisons(lines(tmp_path, rows), held_out=0.3)
    sides = [{record.group for record in side} for side in parts]
    assert not sides[0] & sides[1] and len(sides[0] | sides[1]) == 100
    assert 15 <= len(sides[1]) <= 45
    fewer = load_comparisons(lines(tmp_path, rows[:150]), held_out=0.3)
    assert {record.group for record in fewer.held_out} <= sides[1]
    assert {record.group for record in fewer.training} <= sides[0]


def test_a_column_says_what_is_held_out(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{n}", "response": "r", "held_out": n == 2} for n in range(4)]
    parts = load_examples(lines(tmp_path, rows))
    assert parts.held_out == [Example("p2", "r")] and len(parts.training) == 3
    rows[3]["prompt"] = "p2"
    assert "on both sides" in data_problems(lines(tmp_path, rows), "examples")[0]
    rows[3]["held_out"] = "no"
    assert "must be true or false" in data_problems(lines(tmp_path, rows), "examples")[0]


def test_a_side_without_records_and_a_bad_share(tmp_path: Path) -> None:
    file = lines(tmp_path, [{"prompt": "Hi?", "response": "x"}])
    assert "each side needs at least one" in data_problems(file, "examples", 0.5)[0]
    for share in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"data\.held_out: got"):
            split_records("x", ["a", "b"], share, str)


def test_the_corpus_trains_on_its_training_prompts_only() -> None:
    parts = load_examples(CORPUS_NAME)
    assert (len(parts.training), len(parts.held_out)) == (1104, 419)
    splits = split_prompts(load_prompts(CORPUS_NAME))
    evaluation = {prompt.text for prompt in splits["evaluation"]}
    texts = {example.prompt for side in parts for example in side}
    assert evaluation and not texts & evaluation
    assert {prompt.text for prompt in splits["training"]} <= {e.prompt for e in parts.training}
    # In mixed order: the first are not all from the file that is first by name.
    assert sum("AI" in example.prompt for example in parts.training[:60]) < 20
