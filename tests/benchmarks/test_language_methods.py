"""PPO and iterative DPO on a user's own model, from the reward model's stage to the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from benchmarks.build import build
from benchmarks.plan import PlanError
from benchmarks.rows import read_table
from benchmarks.stages.command import stage
from mpo.critic import ValueModel
from mpo.judges.reward_model import RewardModel, RewardModelJudge, load_reward_model
from tests.benchmarks.tiny_command import finish, planned_runs, popen, result
from tests.benchmarks.tiny_language_model import save_model, save_prompts, sentences
from tests.engine import same_bits

METHODS = ("mpo", "ppo", "iterative_dpo_4")
pytestmark = pytest.mark.slow


class User:
    """A model, prompts, demonstrations, and a reward model that was trained on the model."""

    def __init__(self, folder: Path) -> None:
        self.model, self.prompts = folder / "model", folder / "prompts.txt"
        save_model(self.model)
        save_prompts(self.prompts)
        self.examples, pairs = folder / "examples.jsonl", folder / "pairs.jsonl"
        write(self.examples, [{"prompt": t, "response": "Rain and tea."} for t in sentences()])
        better = {"chosen": "I like music.", "rejected": "Why?"}
        write(pairs, [{"prompt": text, **better} for text in sentences()])
        trained = folder / "reward"
        values = {
            "data": pairs,
            "model.path": self.model,
            "model.train_blocks": 1,
            "train.batch_size": 8,
            "train.width": 128,
            "out": trained,
        }
        assert stage(["reward", *(f"{key}={value}" for key, value in values.items())]) == 0
        self.reward = trained / "model"

    def values(self) -> dict[str, Any]:
        """The comparison at its smallest."""
        return {
            "experiment": "compare",
            "task": "smollm2",
            "judge": "reward_model",
            "judge.path": self.reward,
            "reward.path": self.reward,
            "model.path": self.model,
            "model.train_blocks": 1,
            "task.prompts": self.prompts,
            "task.max_tokens": 6,
            "task.eval_prompts": 4,
            "task.eval_responses": 2,
            "seeds": 1,
            "train.iterations": 2,
            "train.rounds": 2,
            "train.eval_every": 1,
            "train.prompts": 3,
            "train.lr": 1e-3,
            "train.warmup_steps": 0,
            "train.checkpoint_every": 1,
            "progress": "plain",
            "jobs": 2,
        }


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    return User(tmp_path_factory.mktemp("user"))


@pytest.fixture(scope="module")
def out(user: User, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan") / "out"
    finish(popen(folder, user.values()))
    return folder


def test_every_method_trains_within_one_budget(out: Path) -> None:
    counts = {}
    for method in METHODS:
        found = result(out / "runs" / f"smollm2-{method}-s0")
        assert found["metrics"]["iterations"] == 2
        assert found["metrics"]["kl_reference"] > 0
        counts[method] = found["counts"]
    assert {count["samples"] for count in counts.values()} == {2 * 3 * 8}
    assert counts["ppo"]["judge_calls"] == counts["iterative_dpo_4"]["judge_calls"] == 48
    assert counts["mpo"]["judge_calls"] == 2 * 3 * 28
    table = read_table(out / "table.csv")
    rates = table[(table["metric"] == "win_rate") & (table["versus"] == "")]
    assert set(rates["variant"]) == set(METHODS)


def test_each_rounds_policy_is_kept_and_sampled(out: Path) -> None:
    for method in METHODS:
        folder = out / "runs" / f"smollm2-{method}-s0"
        first, last = (load_file(folder / f"policy_round{r}.safetensors") for r in (1, 2))
        assert not same_bits(first, last)
        assert same_bits(last, load_file(folder / "policy.safetensors"))
        assert len((folder / "samples_round1.jsonl").read_text().splitlines()) == 4 * 2


def test_the_critic_starts_as_the_reward_model_on_the_policys_trunk(user: User) -> None:
    run = planned_runs(Path("unused"), user.values())["ppo"]
    module = build(run).module
    critic, reward = module.critic, module.reward
    assert isinstance(critic, ValueModel) and isinstance(reward, RewardModel)
    assert critic.shares_trunk
    kept = {name: p.detach().clone() for name, p in reward.policy.moving_parameters()}
    assert same_bits(kept, {n: p.detach() for n, p in critic.backbone.moving_parameters()})
    groups = module.configure_optimizers()["optimizer"].param_groups
    assert [group["name"] for group in groups] == ["policy", "critic"]
    assert not any(parameter.requires_grad for parameter in reward.parameters())


def test_a_reward_model_can_be_the_judge(user: User) -> None:
    run = planned_runs(Path("unused"), user.values())["mpo"]
    module = build(run).module
    assert isinstance(module.judge, RewardModelJudge)
    wins = module.judge.win_prob(["Why rain?"], ["I like music."], ["Why?"])
    direct = load_reward_model(user.reward).rewards(["Why rain?"], [["I like music.", "Why?"]])[0]
    assert float(wins[0]) == pytest.approx(float(1 / (1 + (direct[1] - direct[0]).exp())))


def test_ppo_trains_on_demonstrations_beside_the_reward(user: User, tmp_path: Path) -> None:
    values = user.values() | {
        "method.ptx_coefficient": 0.5,
        "train.demonstrations": user.examples,
    }
    del values["experiment"], values["judge"], values["judge.path"]
    values = {"method": "ppo", **values, "train.iterations": 1, "train.rounds": 1}
    finish(popen(tmp_path / "out", values))
    curve = (tmp_path / "out" / "runs" / "smollm2-ppo-s0" / "curves.csv").read_text()
    assert "demonstrations" in curve.splitlines()[0]


def test_a_reward_model_of_another_template_is_refused(user: User, tmp_path: Path) -> None:
    values = user.values() | {"task.system_prompt": "Be rude."}
    with pytest.raises(PlanError, match=r"system.prompt"):
        planned_runs(tmp_path / "out", values)
    values = user.values()
    del values["reward.path"]
    with pytest.raises(PlanError, match=r"reward\.path: .*stage reward"):
        planned_runs(tmp_path / "out", values)
