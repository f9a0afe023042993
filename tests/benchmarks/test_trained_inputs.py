"""Trained reward and preference models that do not fit the policy are refused before work."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from benchmarks import trained_inputs
from benchmarks.inputs import input_hashes
from mpo.judges.fit import template_sha256, tokenizer_sha256
from tests.benchmarks.plans import plan_of, problems_of
from tests.benchmarks.tiny_language_model import save_model, save_prompts

PROMPT = "Reply in one sentence."


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a tokenizer of its own, and prompts beside it."""
    folder = tmp_path_factory.mktemp("policy")
    save_model(folder / "model")
    save_prompts(folder / "prompts.txt")
    return folder


@pytest.fixture(autouse=True)
def fresh() -> None:
    """The checks keep what they found for the rest of a process."""
    trained_inputs._folder_problems.cache_clear()


def write_trained(folder: Path, policy: Path, kind: str = "reward", **other: Any) -> Path:
    """What a stage leaves behind, with weights that nobody reads."""
    tokenizer = AutoTokenizer.from_pretrained(policy / "model")
    about = {
        "schema": 1, "kind": kind, "model": str(policy / "model"), "train_blocks": None,
        "system_prompt": PROMPT, "max_tokens": 64, "probe": 0.0,
        "template_sha256": template_sha256(tokenizer),
        "tokenizer_sha256": tokenizer_sha256(tokenizer),
    } | other  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "about.json").write_text(json.dumps(about))
    (folder / "weights.safetensors").write_bytes(b"weights")
    return folder


def arguments(policy: Path, *more: str) -> tuple[str, ...]:
    sizes = ("seeds=1", "task.eval_prompts=2", "train.prompts=2", "model.train_blocks=1")
    inputs = (f"model.path={policy / 'model'}", f"task.prompts={policy / 'prompts.txt'}")
    return ("task=smollm2", *sizes, *inputs, *more)


def test_a_reward_model_of_the_policys_text_is_taken_and_hashed(
    policy: Path, tmp_path: Path
) -> None:
    folder = write_trained(tmp_path / "reward", policy)
    plan = plan_of(*arguments(policy, "method=ppo", f"reward.path={folder}"))
    digests = [
        hashlib.sha256((folder / name).read_bytes()).digest()
        for name in ("about.json", "weights.safetensors")
    ]
    assert plan["inputs"][str(folder)] == hashlib.sha256(b"".join(digests)).hexdigest()
    before = plan["inputs"]
    (folder / "weights.safetensors").write_bytes(b"others")
    after = input_hashes([run["config"] for run in plan["runs"]])
    assert {name for name in after if after[name] != before[name]} == {str(folder)}


@pytest.mark.parametrize("name", ["reward_model", "preference_model"])
def test_a_trained_judge_is_taken(policy: Path, tmp_path: Path, name: str) -> None:
    folder = write_trained(tmp_path / "judge", policy, name.partition("_")[0])
    plan = plan_of(*arguments(policy, "method=mpo", f"judge={name}", f"judge.path={folder}"))
    assert str(folder) in plan["inputs"]
    assert plan["runs"][0]["config"]["judge"] == {"name": name, "path": str(folder)}


@pytest.mark.parametrize("method", ["ppo", "iterative_dpo_4"])
def test_a_method_that_needs_rewards_says_how_to_get_them(policy: Path, method: str) -> None:
    (problem,) = problems_of(*arguments(policy, f"method={method}"))
    assert problem.startswith("reward.path: got None")
    assert "python benchmarks/run.py stage reward" in problem


@pytest.mark.parametrize("name", ["reward_model", "preference_model"])
def test_a_trained_judge_without_its_folder_says_how_to_get_one(policy: Path, name: str) -> None:
    (problem,) = problems_of(*arguments(policy, "method=mpo", f"judge={name}"))
    stage = name.partition("_")[0]
    assert problem.startswith("judge.path: got None") and f"run.py stage {stage} " in problem


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"kind": "preference"}, "kind 'preference', allowed is 'reward'"),
        ({"schema": 9}, "schema 9"),
        ({"tokenizer_sha256": "0" * 64}, "reward.path: tokenizer: got"),
        ({"template_sha256": "0" * 64}, "reward.path: chat template: got"),
        ({"system_prompt": "Be brief."}, "reward.path: system_prompt: got"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(
    policy: Path, tmp_path: Path, other: dict[str, Any], words: str
) -> None:
    folder = write_trained(tmp_path / "reward", policy, **other)
    (problem,) = problems_of(*arguments(policy, "method=ppo", f"reward.path={folder}"))
    assert problem.startswith("reward.path: ") and words in problem


def test_a_folder_without_a_model_stands_beside_other_mistakes(
    policy: Path, tmp_path: Path
) -> None:
    paths = (f"reward.path={tmp_path}", "judge=reward_model", f"judge.path={tmp_path}")
    problems = problems_of(*arguments(policy, "method=ppo", *paths, "method.beta=-1"))
    assert [problem.partition(":")[0] for problem in problems] == [
        "method.beta",
        "reward.path",
        "judge.path",
    ]
    assert "lacks about.json and weights.safetensors" in problems[1]


def test_judges_fit_their_tasks(policy: Path) -> None:
    (problem,) = problems_of("method=mpo", "task=exact", "judge.name=reward_model")
    assert problem.startswith("judge.name: got 'reward_model', allowed is matrix")
    (problem,) = problems_of(*arguments(policy, "method=mpo", "judge.name=matrix"))
    assert "allowed is annotators | preference_model | reward_model" in problem
    (problem,) = problems_of(*arguments(policy, "method=mpo", "judge.path=somewhere"))
    assert problem.startswith("judge.path: got 'somewhere', which judge annotators does not read")


def test_an_exact_game_has_its_own_reward() -> None:
    plan = plan_of("method=ppo", "task=exact", "seeds=1", "task.kinds=smooth")
    (run,) = plan["runs"]
    assert run["config"]["reward"]["path"] is None and plan["inputs"] == {}


def test_demonstrations_are_needed_and_their_columns_checked(tmp_path: Path) -> None:
    ppo = ("method=ppo", "task=exact", "seeds=1", "method.ptx_coefficient=0.5")
    (problem,) = problems_of(*ppo)
    assert problem.startswith("train.demonstrations: got None") and "response" in problem
    file = tmp_path / "examples.jsonl"
    file.write_text('{"prompt": "a", "answer": "b"}\n')
    (problem,) = problems_of(*ppo, f"train.demonstrations={file}")
    assert str(file) in problem and "answer" in problem and "response" in problem
    good = tmp_path / "good.jsonl"
    good.write_text('{"prompt": "a", "response": "b"}\n')
    plan = plan_of(*ppo, f"train.demonstrations={good}")
    assert plan["inputs"] == {str(good): hashlib.sha256(good.read_bytes()).hexdigest()}


def test_rounds_are_no_more_than_iterations_or_prompts(policy: Path) -> None:
    exact = ("method=mpo", "task=exact", "train.iterations=4")
    (problem,) = problems_of(*exact, "train.rounds=5")
    assert problem.startswith("train.rounds: got 5, allowed is at most the run's iterations (4)")
    assert plan_of(*exact, "train.rounds=4")["runs"]
    many = ("method=mpo", "train.iterations=900", "train.rounds=800")
    (problem,) = problems_of(*arguments(policy, *many))
    assert problem.startswith("train.rounds: got 800, allowed is at most")
    assert "training prompts" in problem


def test_one_sample_has_no_best_and_worst() -> None:
    (problem,) = problems_of("method=iterative_dpo_4", "task=exact", "method.responses=1")
    assert problem.startswith("method.responses: got 1, allowed is an integer ≥ 2")
