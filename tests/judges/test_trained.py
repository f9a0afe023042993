"""Folders of trained models: round trips to the bit, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from mpo.bundled import ModelNotFound, load_causal_model
from mpo.chat import ChatFormat
from mpo.judges.fit import fit_problems, tokenizer_sha256
from mpo.judges.preference_model import (
    PreferenceModel,
    load_preference_model,
    save_preference_model,
)
from mpo.judges.reward_model import RewardModel, load_reward_model, save_reward_model
from mpo.judges.trained import TrainedModelError, read_about
from mpo.policy import Policy
from tests.benchmarks.tiny_language_model import save_model
from tests.judges.text_models import PROMPTS, RESPONSES, SYSTEM
from tests.tiny_llama import near


@pytest.fixture
def base(tmp_path: Path) -> Path:
    save_model(tmp_path / "base")
    return tmp_path / "base"


def parts(base: Path, train_blocks: int | None) -> tuple[Policy, ChatFormat]:
    """The base with other moving weights, as after training."""
    model, tokenizer = load_causal_model(str(base))
    policy = Policy(model, train_blocks)
    for seed, (_, parameter) in enumerate(policy.moving_parameters()):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return policy, ChatFormat(tokenizer, SYSTEM)


def saved_reward(base: Path, folder: Path, train_blocks: int | None = 1) -> RewardModel:
    model = RewardModel(*parts(base, train_blocks), max_tokens=200, seed=5)
    save_reward_model(model, folder, {"model": str(base), "metrics": {"accuracy": 0.75}})
    return model


@pytest.mark.parametrize("train_blocks", [None, 1])
def test_a_reward_model_comes_back_to_the_bit(
    base: Path, tmp_path: Path, train_blocks: int | None
) -> None:
    folder = tmp_path / "new" / "reward"
    model = saved_reward(base, folder, train_blocks)
    loaded = load_reward_model(folder)
    state = loaded.state_dict()
    assert all(torch.equal(weight, state[name]) for name, weight in model.state_dict().items())
    assert torch.equal(loaded.rewards(PROMPTS, RESPONSES), model.rewards(PROMPTS, RESPONSES))
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert (loaded.max_tokens, loaded.base_path) == (200, str(base))
    assert [file.name for file in folder.parent.iterdir()] == ["reward"]
    names = load_file(folder / "weights.safetensors").keys()
    assert "head/weight" in names
    assert any("embed_tokens" in name for name in names) == (train_blocks is None)


@pytest.mark.parametrize("form", ["next_token", "scalar"])
def test_a_preference_model_comes_back_to_the_bit(base: Path, tmp_path: Path, form: str) -> None:
    model = PreferenceModel(*parts(base, 1), form, max_tokens=200)
    save_preference_model(model, tmp_path / "saved", {"model": str(base)})
    loaded = load_preference_model(tmp_path / "saved")
    assert loaded.form == form
    asked = (PROMPTS, [row[0] for row in RESPONSES], [row[1] for row in RESPONSES])
    assert torch.equal(loaded.win_prob(*asked), model.win_prob(*asked))
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert ("head/weight" in load_file(tmp_path / "saved/weights.safetensors")) == (
        form == "scalar"
    )


def test_about_says_what_is_needed_to_load(base: Path, tmp_path: Path) -> None:
    saved_reward(base, tmp_path / "saved")
    about = read_about(tmp_path / "saved", "reward")
    assert {name: about[name] for name in ("schema", "kind", "model", "train_blocks")} == {
        "schema": 1,
        "kind": "reward",
        "model": str(base),
        "train_blocks": 1,
    }
    assert (about["system_prompt"], about["max_tokens"]) == (SYSTEM, 200)
    assert about["metrics"] == {"accuracy": 0.75}
    assert len(about["tokenizer_sha256"]) == len(about["template_sha256"]) == 64


def test_saving_replaces_a_model_and_nothing_else(base: Path, tmp_path: Path) -> None:
    model = saved_reward(base, tmp_path / "saved")
    with torch.no_grad():
        model.head.weight.mul_(2)
    save_reward_model(model, tmp_path / "saved", {"model": str(base)})
    assert torch.equal(load_reward_model(tmp_path / "saved").head.weight, model.head.weight)
    with pytest.raises(TrainedModelError, match="other things"):
        save_reward_model(model, base, {"model": str(base)})
    assert (base / "config.json").is_file()
    with pytest.raises(TrainedModelError, match="no `model`"):
        save_reward_model(model, tmp_path / "other", {})
    with pytest.raises(TrainedModelError, match="max_tokens"):
        save_reward_model(model, tmp_path / "other", {"model": str(base), "max_tokens": 3})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["base", "saved"]


def test_a_failed_save_leaves_the_old_model(base: Path, tmp_path: Path) -> None:
    model = saved_reward(base, tmp_path / "saved")
    with pytest.raises(ValueError, match="JSON"):
        save_reward_model(model, tmp_path / "saved", {"model": str(base), "loss": float("nan")})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["base", "saved"]
    load_reward_model(tmp_path / "saved")


def edit(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_fit_problems_name_all_that_differs(base: Path, tmp_path: Path) -> None:
    saved_reward(base, tmp_path / "saved")
    about = read_about(tmp_path / "saved", "reward")
    tokenizer = AutoTokenizer.from_pretrained(base)
    assert fit_problems(about, tokenizer, SYSTEM) == []
    tokenizer.chat_template += " "
    tokenizer.add_tokens(["new"])
    problems = fit_problems(about, tokenizer, "")
    assert [problem.split(":")[0] for problem in problems] == [
        "tokenizer",
        "chat template",
        "system_prompt",
    ]
    assert (
        f"got '', allowed is that of the reward model trained on '{base}', '{SYSTEM}'"
        in (problems[2])
    )


def test_the_tokenizer_s_hash_survives_use_and_saving(base: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    before = tokenizer_sha256(tokenizer)
    tokenizer(["a", "long text"], padding=True, truncation=True, max_length=2)
    tokenizer("<|im_end|>", split_special_tokens=True)
    assert tokenizer_sha256(tokenizer) == before
    tokenizer.save_pretrained(tmp_path / "again")
    assert tokenizer_sha256(AutoTokenizer.from_pretrained(tmp_path / "again")) == before


def test_a_changed_base_is_refused(base: Path, tmp_path: Path) -> None:
    saved_reward(base, tmp_path / "saved")
    model = load_causal_model(str(base)).model
    near(model.double(), seed=1, scale=0.05)
    model.float().save_pretrained(base)
    with pytest.raises(TrainedModelError, match=r"is not the one that .* was trained on"):
        load_reward_model(tmp_path / "saved")
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template += "\n"
    tokenizer.save_pretrained(base)
    with pytest.raises(TrainedModelError, match="has changed: chat template"):
        load_reward_model(tmp_path / "saved")
    shutil.rmtree(base)
    with pytest.raises(ModelNotFound, match="base"):
        load_reward_model(tmp_path / "saved")


def test_a_folder_of_another_kind_is_refused(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    with pytest.raises(TrainedModelError, match=r"lacks about.json and weights.safetensors"):
        load_reward_model(folder)
    saved_reward(base, folder)
    with pytest.raises(TrainedModelError, match="kind 'reward', allowed is 'preference'"):
        load_preference_model(folder)
    edit(folder / "about.json", lambda about: about.update(schema=0))
    with pytest.raises(TrainedModelError, match="schema 0, allowed is 1"):
        load_reward_model(folder)
    (folder / "about.json").write_text("{")
    with pytest.raises(TrainedModelError, match="is no JSON"):
        load_reward_model(folder)


def test_weights_of_another_shape_are_refused(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    saved_reward(base, folder)
    weights = load_file(folder / "weights.safetensors")
    save_file({**weights, "head/weight": torch.zeros(1, 7)}, folder / "weights.safetensors")
    with pytest.raises(TrainedModelError, match=r"head/weight of shape \(1, 7\).*\(1, 32\)"):
        load_reward_model(folder)
    del weights["head/weight"]
    save_file(weights, folder / "weights.safetensors")
    with pytest.raises(TrainedModelError, match=r"head/weight of shape None"):
        load_reward_model(folder)
