"""A language-model run on a user's own model and prompts, through the command line and Python."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from mpo.bundled import load_causal_model
from mpo.chat import ChatFormat
from mpo.data import Iterations, PromptDataModule, PromptSet
from mpo.module import AlignmentModule, EngineSettings
from mpo.objectives import MPO
from mpo.optimization import OptimizerSettings
from mpo.policy import Policy
from mpo.prompts import load_prompts, split_prompts
from mpo.rollout import SamplingSettings
from tests.benchmarks.tiny_command import curve, finish, popen, result
from tests.benchmarks.tiny_language_model import save_model, save_prompts, sentences
from tests.engine import quiet_trainer, same_bits, weights_of

MAX_TOKENS, EVAL_PROMPTS = 6, 4
RUNS = {"initial": "smollm2-initial", "moving": "smollm2-moving-s0", "fixed": "smollm2-fixed-s0"}


class User:
    """What a user brings: a model's folder and a file of prompts."""

    def __init__(self, folder: Path) -> None:
        self.model, self.prompts = folder / "model", folder / "prompts.txt"
        save_model(self.model)
        self.splits = save_prompts(self.prompts)


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    return User(tmp_path_factory.mktemp("user"))


@pytest.fixture(scope="module")
def out(user: User, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plan's folder after the command."""
    folder = tmp_path_factory.mktemp("plan") / "out"
    values: dict[str, Any] = {
        "ablation": "fixed_ref",
        "task": "smollm2",
        "model.path": user.model,
        "model.train_blocks": 1,
        "task.prompts": user.prompts,
        "task.max_tokens": MAX_TOKENS,
        "task.eval_prompts": EVAL_PROMPTS,
        "task.eval_responses": 2,
        "seeds": 1,
        "train.iterations": 2,
        "train.rounds": 2,
        "train.eval_every": 1,
        "train.prompts": 3,
        "train.lr": 1e-3,
        "train.warmup_steps": 0,
        "train.checkpoint_every": 1,
        "method.responses": 3,
        "method.magnet_interval": 1,
        "progress": "plain",
        "jobs": 2,
    }
    finish(popen(folder, values))
    return folder


pytestmark = pytest.mark.slow


@pytest.mark.parametrize("variant", RUNS)
def test_each_run_leaves_its_samples_and_metrics(variant: str, out: Path, user: User) -> None:
    folder = out / "runs" / RUNS[variant]
    found, metrics = result(folder), result(folder)["metrics"]
    lines = [json.loads(line) for line in (folder / "samples.jsonl").open(encoding="utf-8")]
    assert len(lines) == EVAL_PROMPTS * 2
    evaluation = {p.id for p in split_prompts(load_prompts(user.prompts))["evaluation"]}
    assert {line["prompt_id"] for line in lines} <= evaluation
    assert all(1 <= line["tokens"] <= MAX_TOKENS for line in lines)
    assert all(line["ended"] or line["tokens"] == MAX_TOKENS for line in lines)
    assert not any("<|im" in line["response"] for line in lines)
    assert metrics["response_length"] == pytest.approx(sum(r["tokens"] for r in lines) / len(lines))
    assert metrics["truncated"] == pytest.approx(sum(not r["ended"] for r in lines) / len(lines))
    worded = [any(letter.isalnum() for letter in r["response"]) for r in lines]
    assert metrics["empty"] == pytest.approx(1 - sum(worded) / len(lines))
    trained = variant != "initial"
    assert trained or 0 < metrics["truncated"] < 1
    assert (metrics["kl_reference"] > 1e-4) == trained
    assert metrics["magnet_moves"] == (2 if variant == "moving" else 0)
    assert metrics["iterations"] == 2 * trained
    # Three responses of three prompts, each pair judged once, in each of two iterations.
    expected = {"samples": 18, "judge_calls": 18} if trained else {"samples": 0, "judge_calls": 0}
    assert {name: found["counts"][name] for name in expected} == expected


def test_the_curve_has_a_row_an_iteration(out: Path) -> None:
    rows = {name: curve(out / "runs" / RUNS[name]) for name in ("moving", "fixed")}
    for variant, found in rows.items():
        assert [row["iteration"] for row in found] == ["0", "1", "2"], variant
        for row in found[1:]:
            assert float(row["kl_step"]) > 0
            assert 1 <= float(row["response_length"]) <= MAX_TOKENS
            assert float(row["grad_norm"]) > 0
    # Until the magnet has moved the variants are one run.
    same = ("response_length", "grad_norm", "kl_step", "tokens")
    assert [rows["moving"][1][k] for k in same] == [rows["fixed"][1][k] for k in same]
    assert rows["moving"][2]["kl_magnet"] != rows["fixed"][2]["kl_magnet"]


def test_prompts_are_shared_and_samples_are_independent(out: Path) -> None:
    texts = {}
    for variant, name in RUNS.items():
        file = out / "runs" / name / "samples.jsonl"
        lines = [json.loads(line) for line in file.open(encoding="utf-8")]
        assert [line["index"] for line in lines] == [0, 1] * EVAL_PROMPTS
        texts[variant] = {line["prompt_id"]: line["response"] for line in lines}
    assert texts["initial"].keys() == texts["moving"].keys() == texts["fixed"].keys()
    assert texts["initial"] != texts["moving"] != texts["fixed"]


def test_the_table_says_what_the_runs_say(out: Path) -> None:
    table = pd.read_csv(out / "table.csv")
    for variant in ("moving", "fixed"):
        metrics = result(out / "runs" / RUNS[variant])["metrics"]
        mine = table[table["variant"] == variant].drop_duplicates("metric").set_index("metric")
        for name in ("kl_reference", "response_length", "truncated", "empty"):
            assert mine.loc[name, "value"] == pytest.approx(metrics[name], rel=1e-6), name
        assert 0 <= mine.loc["win_rate", "value"] <= 1


def test_each_rounds_policy_is_kept_and_sampled(out: Path) -> None:
    first, last = {}, {}
    for variant in ("moving", "fixed"):
        folder = out / "runs" / RUNS[variant]
        metrics = result(folder)["metrics"]
        one, two = metrics["rounds"]
        assert [(one["round"], one["iteration"]), (two["round"], two["iteration"])] == [
            (1, 1), (2, 2),
        ]  # fmt: skip
        assert 0 < one["kl_reference"] != two["kl_reference"] == metrics["kl_reference"]
        lines = [json.loads(x) for x in (folder / "samples_round1.jsonl").open(encoding="utf-8")]
        assert len(lines) == EVAL_PROMPTS * 2
        assert one["response_length"] == pytest.approx(sum(r["tokens"] for r in lines) / len(lines))
        assert not (folder / "samples_round2.jsonl").exists()
        first[variant], last[variant] = (
            load_file(folder / f"policy_round{r}.safetensors") for r in (1, 2)
        )
        final = load_file(folder / "policy.safetensors")
        assert all(torch.equal(final[name], weight) for name, weight in last[variant].items())
    # Until the magnet has moved the variants are one run.
    assert all(torch.equal(first["moving"][name], w) for name, w in first["fixed"].items())
    assert any(not torch.equal(last["moving"][name], w) for name, w in last["fixed"].items())
    table = pd.read_csv(out / "table.csv").set_index(["variant", "metric"])["value"]
    rounds = [table["moving", f"win_rate_round{r}"] for r in (1, 2)]
    assert rounds[1] == table["moving", "win_rate"] and 0 <= rounds[0] <= 1


def test_tensorboard_shows_texts_side_by_side(out: Path) -> None:
    events = EventAccumulator(str(out / "runs" / RUNS["moving"] / "tensorboard")).Reload()
    assert {"train/policy_loss", "train/kl_step", "train/truncated"} <= set(
        events.Tags()["scalars"]
    )
    assert any("samples" in tag for tag in events.Tags()["tensors"])


class Shorter:
    """Any object with `win_prob` judges: the shorter response wins."""

    def win_prob(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> Tensor:
        assert all(prompt in sentences() for prompt in prompts)
        lengths = [(len(mine), len(other)) for mine, other in zip(a, b, strict=True)]
        return torch.tensor([(x < y) + 0.5 * (x == y) for x, y in lengths])


def test_any_judge_from_python(user: User) -> None:
    model, tokenizer = load_causal_model(str(user.model))
    chat = ChatFormat(tokenizer, "Be brief.")
    texts = sentences()[:4]
    prompts = PromptSet([chat.encode(text) for text in texts], range(4), texts)
    policy = Policy(model, train_blocks=1)
    before, twin = weights_of(policy), policy.frozen_copy()
    module = AlignmentModule(
        policy,
        MPO(responses=4, inner_steps=2, magnet_interval=1),
        Shorter(),
        SamplingSettings(0, MAX_TOKENS, chat.end_tokens(model), chat.decode),
        EngineSettings(2, OptimizerSettings(lr=1e-2)),
    )
    quiet_trainer().fit(module, PromptDataModule(Iterations(prompts, 4, 2, seed=0)))
    assert not same_bits(weights_of(policy), before)
    assert same_bits(weights_of(twin), before)
    rollout = module.last_rollout
    assert rollout is not None
    for x, row in enumerate(rollout.texts):
        for i, mine in enumerate(row):
            for j, other in enumerate(row):
                better = len(mine) < len(other) or (0.5 if len(mine) == len(other) else 0)
                assert float(rollout.wins[x, i, j]) == (better if i != j else 0.5)


def test_the_chat_format_ends_where_the_reply_begins(user: User) -> None:
    model, tokenizer = load_causal_model(str(user.model))
    chat = ChatFormat(tokenizer, "Be brief.")
    whole = tokenizer.decode(chat.encode("Hi"))
    assert whole == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    plain = tokenizer.decode(ChatFormat(tokenizer, "").encode("Hi"))
    assert plain == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert chat.end_tokens(model) == (tokenizer.eos_token_id,)
    reply = tokenizer("  Yes. ")["input_ids"]
    assert chat.decode([*reply, tokenizer.eos_token_id]) == "Yes."
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match=r"model\.path: got a tokenizer without a chat template"):
        ChatFormat(tokenizer, "")
