"""Sources of prompts, what is wrong with bad ones, and splits that do not move."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pandas
import pytest

from mpo import prompts
from mpo.prompts import (
    CORPUS_NAME,
    SPLIT_SHARES,
    Prompt,
    PromptFileError,
    load_prompts,
    make_prompt,
    split_prompts,
)


def texts(loaded: list[Prompt]) -> list[str]:
    return [prompt.text for prompt in loaded]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def many(count: int) -> list[Prompt]:
    return [make_prompt(f"question {number}") for number in range(count)]


def test_corpus() -> None:
    loaded = load_prompts(CORPUS_NAME)
    assert len(loaded) == 747
    assert loaded[0].text == "What is AI?"
    assert max(len(prompt.text) for prompt in loaded) <= 200
    assert len({prompt.id for prompt in loaded}) == len(loaded)
    assert loaded == load_prompts(CORPUS_NAME)


def test_corpus_splits_are_fixed_and_disjoint() -> None:
    loaded = load_prompts(CORPUS_NAME)
    splits = split_prompts(loaded)
    counts = {name: len(split) for name, split in splits.items()}
    assert counts == {"tuning": 146, "training": 381, "evaluation": 220}
    folded = {
        name: {p.text.lower().rstrip(".?! ") for p in split} for name, split in splits.items()
    }
    assert len(set.union(*folded.values())) == sum(map(len, folded.values())) == len(loaded)


def test_corpus_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PromptFileError, match=r"pip install chatterbot-corpus==1\.3\.3"):
        load_prompts(CORPUS_NAME)


def test_an_id_is_a_hash_of_the_text() -> None:
    # The first 63 bits of SHA-256 of "abc", FIPS 180-2, appendix B.1.
    assert make_prompt("abc").id == 0xBA7816BF8F01CFEA >> 1
    assert make_prompt(" abc\n") == make_prompt("abc")
    assert make_prompt("caf\u00e9") == make_prompt("cafe\u0301")
    assert make_prompt("abc").id != make_prompt("abd").id


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.txt", "What is it?\nSchöne Grüße\n"),
        ("p.txt", b"\xef\xbb\xbfWhat is it?\r\nSch\xc3\xb6ne Gr\xc3\xbc\xc3\x9fe"),
        ("p.TXT", "What is it?\nSchöne Grüße\nwhat  is it\n"),
        ("p.jsonl", '{"prompt": "What is it?", "text": 3}\n{"text": "Sch\\u00f6ne Grüße"}\n'),
    ],
)
def test_files(tmp_path: Path, name: str, content: str | bytes) -> None:
    file = write(tmp_path, name, content)
    assert texts(load_prompts(file)) == ["What is it?", "Schöne Grüße"]
    assert load_prompts(str(file)) == load_prompts(file)


@pytest.mark.parametrize("column", ["prompt", "text"])
def test_parquet(tmp_path: Path, column: str) -> None:
    pandas.DataFrame({"n": [1, 2], column: ["One?", "Two?"]}).to_parquet(tmp_path / "p.parquet")
    assert texts(load_prompts(tmp_path / "p.parquet")) == ["One?", "Two?"]


def problems(file: Path) -> list[str]:
    with pytest.raises(PromptFileError) as caught:
        load_prompts(file)
    assert str(file) in str(caught.value)
    return caught.value.problems


def test_all_bad_lines_of_a_text_file_are_listed(tmp_path: Path) -> None:
    found = problems(write(tmp_path, "p.txt", b"fine\n\n  \nna\xffve\na\x00b\nfine too\n\n"))
    assert [line.split(":")[0] for line in found] == [f"line {n}" for n in (2, 3, 4, 5, 7)]
    assert "must not be empty" in found[0]
    assert r"b'na\xffve'" in found[2] and "UTF-8" in found[2]
    assert "control" in found[3]


def test_all_bad_lines_of_a_jsonl_file_are_listed(tmp_path: Path) -> None:
    lines = ['{"prompt": "ok"}', "", "{oops", '["a"]', '{"question": "a"}', '{"prompt": 3}']
    lines += ['{"prompt": null}', '{"prompt": " "}', '{"prompt": "\\ud800"}']
    found = problems(write(tmp_path, "p.jsonl", "\n".join(lines)))
    assert [line.split(":")[0] for line in found] == [f"line {n}" for n in range(2, 10)]
    assert "not JSON" in found[1]
    assert "question" in found[3]
    assert "got 3 of type int; a prompt must be text" in found[4]
    assert "got null of type NoneType" in found[5]


def test_bad_rows_and_columns_of_a_parquet_file(tmp_path: Path) -> None:
    pandas.DataFrame({"prompt": ["One?", None, ""]}).to_parquet(tmp_path / "p.parquet")
    assert [line.split(":")[0] for line in problems(tmp_path / "p.parquet")] == ["row 2", "row 3"]
    pandas.DataFrame({"question": ["One?"]}).to_parquet(tmp_path / "q.parquet")
    assert "'question'" in problems(tmp_path / "q.parquet")[0]
    assert "not a Parquet file" in problems(write(tmp_path, "r.parquet", "text"))[0]


def test_sources_that_hold_nothing_or_are_not_there(tmp_path: Path) -> None:
    assert "no prompts" in problems(write(tmp_path, "p.txt", ""))[0]
    for suffix in ("txt", "jsonl", "parquet"):
        assert "No such file" in problems(tmp_path / f"absent.{suffix}")[0]
    assert CORPUS_NAME in problems(write(tmp_path, "p.csv", "a"))[0]
    (tmp_path / "folder.txt").mkdir()
    assert "cannot be read" in problems(tmp_path / "folder.txt")[0]


def test_a_long_list_of_problems_is_cut_in_the_message_only(tmp_path: Path) -> None:
    file = write(tmp_path, "p.txt", "\n" * 60)
    with pytest.raises(PromptFileError, match="and 10 more") as caught:
        load_prompts(file)
    assert len(caught.value.problems) == 60


def test_splits_do_not_depend_on_the_other_prompts() -> None:
    everything = many(400)
    whole = split_prompts(everything)
    shuffled = random.Random(0).sample(everything, 200)
    part = split_prompts(shuffled)
    for name, split in part.items():
        assert set(split) == set(whole[name]) & set(shuffled)
        assert split == [prompt for prompt in shuffled if prompt in set(split)]


def test_splits_have_the_wanted_shares() -> None:
    count = 4000
    for shares in (SPLIT_SHARES, {"a": 3, "none": 0, "b": 1}):
        splits = split_prompts(many(count), shares)
        assert list(splits) == list(shares)
        for name, share in shares.items():
            expected = share / sum(shares.values())
            error = (expected * (1 - expected) / count) ** 0.5
            assert abs(len(splits[name]) / count - expected) <= 4 * error


def test_texts_that_differ_in_case_or_closing_punctuation_share_a_split() -> None:
    for number in range(50):
        pair = [make_prompt(f"Is it {number}?"), make_prompt(f"is  IT {number}")]
        assert sorted(map(len, split_prompts(pair).values())) == [0, 0, 2]


@pytest.mark.parametrize("shares", [{}, {"a": 0.0}, {"a": 1.0, "b": -0.5}, {"a": float("nan")}])
def test_bad_shares_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="shares: got"):
        split_prompts(many(2), shares)


def test_prompts_can_be_checked_without_loading_torch() -> None:
    code = (
        "import json, sys; from mpo.prompts import load_prompts; "
        "print(json.dumps([len(load_prompts('chatterbot-corpus')), 'torch' in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(prompts.__file__).parents[1],
    )
    assert json.loads(done.stdout) == [747, False]
