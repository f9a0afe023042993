"""The plan: order of merging, expansion into runs, and the hash."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from benchmarks import inputs
from benchmarks.compose import flatten, nest, read_conf
from benchmarks.cost import plan_cost, run_cost
from benchmarks.plan import Plan
from benchmarks.plan_folder import read_plan_file
from tests.benchmarks.plans import plan_of, problems_of

EXACT = ("ablation=fixed_ref", "task=exact")


def configs(plan: Plan, variant: str) -> list[dict[str, Any]]:
    return [run["config"] for run in plan["runs"] if run["variant"] == variant]


def test_default_command_holds_both_tasks_in_the_order_that_completes_pairs_first() -> None:
    names = [run["name"] for run in plan_of("ablation=fixed_ref")["runs"]]
    exact = [
        f"exact-{kind}-8-{variant}-s{seed}"
        for kind in ("smooth", "first_token", "bradley_terry")
        for seed in range(5)
        for variant in ("moving", "fixed")
    ]
    language = [
        f"smollm2-{variant}-s{seed}" for seed in range(2) for variant in ("moving", "fixed")
    ]
    assert names == [*exact, "smollm2-initial", *language]


def test_the_run_of_the_initial_policy_trains_nothing_and_has_no_variants_settings() -> None:
    plan = plan_of("ablation=fixed_ref", "task=smollm2", "seeds=[7]")
    initial, moving, fixed = plan["runs"]
    assert (initial["role"], initial["variant"], initial["group"]) == (
        "initial",
        "initial",
        "smollm2",
    )
    assert initial["config"]["train"]["iterations"] == 0
    assert moving["role"] == fixed["role"] == "train"
    assert moving["seed"] == moving["config"]["seed"] == 7
    differing = _differing(initial["config"], moving["config"])
    assert differing == {"seed", "variant", "train.iterations"}


@pytest.mark.parametrize(
    ("arguments", "key", "expected"),
    [
        ((), "train.clip_norm", 1.0),  # base
        ((), "train.prompts", read_conf("task/exact").values["train.prompts"].value),  # task
        ((), "method.eta", read_conf("task/exact").values["method.eta"].value),
        ((), "train.lr", read_conf("tuned/exact/mpo").values["train.lr"].value),  # tuned
        ((), "method.alpha", read_conf("tuned/exact/mpo").values["method.alpha"].value),
        (("method=mpo_paper",), "method.alpha", 0.2),  # the method's file beats the task's
        (("method=mpo_paper", "method.alpha=0.3"), "method.alpha", 0.3),
        (("strategy=deepspeed",), "strategy.name", "deepspeed"),
        (("strategy=deepspeed", "strategy.zero_stage=1"), "strategy.zero_stage", 1),
        (("train.lr=5e-7",), "train.lr", 5e-7),
        (("method.inner_steps=2",), "method.inner_steps", 2),
    ],
)
def test_later_layers_win(arguments: tuple[str, ...], key: str, expected: object) -> None:
    plan = plan_of(*EXACT, "seeds=1", *arguments)
    for run in plan["runs"]:
        assert flatten(run["config"])[key] == expected


def test_the_ablation_beats_the_files_and_the_command_line_beats_the_ablation() -> None:
    assert plan_of("ablation=alpha", "seeds=1")["runs"][0]["config"]["task"]["game_seed"] == 10
    plan = plan_of("ablation=alpha", "seeds=1", "task.game_seeds=[4]", "task.kinds=smooth")
    assert {run["group"] for run in plan["runs"]} == {"smooth-4"}
    assert all(
        not run["config"]["method"]["symmetric"] for run in plan_of("ablation=opponent")["runs"]
    )


def test_the_command_line_changes_the_side_that_a_comparison_leaves_open() -> None:
    plan = plan_of(*EXACT, "seeds=1", "method.magnet_interval=10")
    assert {config["method"]["magnet_interval"] for config in configs(plan, "moving")} == {10}
    assert {config["method"]["magnet_interval"] for config in configs(plan, "fixed")} == {None}


def test_a_value_that_every_variant_sets_itself_is_refused() -> None:
    (problem,) = problems_of("ablation=alpha", "method.alpha=0.3")
    assert "method.alpha" in problem and "0.3" in problem and "ablation=alpha" in problem


@pytest.mark.parametrize("word", ["never", "null"])
def test_never_and_null_mean_that_the_magnet_never_moves(word: str) -> None:
    plan = plan_of("method=mpo", "task=exact", "seeds=1", f"method.magnet_interval={word}")
    assert all(run["config"]["method"]["magnet_interval"] is None for run in plan["runs"])


def test_seeds_games_and_kinds_expand() -> None:
    plan = plan_of(
        *EXACT, "seeds=[4,9]", "task.game_seeds=[3,5]", "task.kinds=[bradley_terry,smooth]"
    )
    moving = [(run["group"], run["seed"]) for run in plan["runs"] if run["variant"] == "moving"]
    assert moving == [
        (f"{kind}-{game}", seed)
        for kind in ("bradley_terry", "smooth")
        for game in (3, 5)
        for seed in (4, 9)
    ]
    for run in plan["runs"]:
        task = run["config"]["task"]
        assert run["group"] == f"{task['kind']}-{task['game_seed']}"
        assert run["config"]["seed"] == run["seed"]
        assert "seeds" not in run["config"] and "kinds" not in task and "game_seeds" not in task


def test_a_method_alone_is_a_plan_of_one_variant() -> None:
    plan = plan_of("method=mpo_paper", "task=exact", "seeds=1", "task.kinds=smooth")
    (run,) = plan["runs"]
    assert run["name"] == "exact-smooth-8-mpo_paper-s0"
    assert plan["kind"] == "method" and plan["compare"] == []


def test_the_hash_is_that_of_the_canonical_json_of_schema_configs_and_inputs() -> None:
    plan = plan_of(*EXACT, "seeds=2")
    texts = sorted(_canonical(run["config"]) for run in plan["runs"])
    expected = hashlib.sha256(_canonical([1, texts, {}]).encode()).hexdigest()
    assert plan["hash"] == expected


def test_the_hash_changes_with_every_number_and_not_with_the_execution() -> None:
    base = plan_of(*EXACT, "seeds=2")["hash"]
    for argument in ("out=elsewhere", "jobs=7", "progress=plain"):
        assert plan_of(*EXACT, "seeds=2", argument)["hash"] == base
    changes = ["seeds=3", "threads=2", "train.lr=1e-3", "method.gamma=0.5", "task.width=16"]
    hashes = {
        plan_of(*EXACT, *(["seeds=2", c] if c != "seeds=3" else [c]))["hash"] for c in changes
    }
    assert len(hashes | {base}) == len(changes) + 1


def test_a_changed_prompts_file_is_another_plan(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    hashes = set()
    for extra in ("one more", "another one"):
        file.write_text("\n".join([*(f"Question {i}, what?" for i in range(100)), extra]))
        inputs._split_sizes.cache_clear()
        arguments = ("ablation=fixed_ref", "task=smollm2", f"task.prompts={file}")
        plan = plan_of(*arguments, "task.eval_prompts=4", "train.prompts=2")
        assert plan["inputs"] == {str(file): hashlib.sha256(file.read_bytes()).hexdigest()}
        hashes.add(plan["hash"])
    assert len(hashes) == 2


def test_plan_yaml_keeps_every_value(tmp_path: Path) -> None:
    plan = plan_of("ablation=alpha", "train.lr=5e-7", "train.weight_decay=1e-20")
    (tmp_path / "plan.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(plan)))
    assert read_plan_file(tmp_path) == plan


def test_nest_undoes_flatten() -> None:
    tree = {"a": {"b": 1, "c": {"d": [2]}}, "e": None}
    assert flatten(tree) == {"a.b": 1, "a.c.d": [2], "e": None}
    assert nest(flatten(tree)) == tree


def test_the_expected_cost_grows_with_the_work() -> None:
    one, two = (
        plan_of(*EXACT, "seeds=1", f"train.iterations={iterations}") for iterations in (100, 200)
    )
    start = 2.0
    first, second = (run_cost(plan["runs"][0]["config"]) for plan in (one, two))
    assert second - start == pytest.approx(2 * (first - start), rel=1e-12)
    assert plan_cost(one["runs"]) == pytest.approx({"exact": 6 * first}, rel=1e-12)


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _differing(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    first, second = flatten(one), flatten(other)
    return {key for key in first | second if first.get(key) != second.get(key)}
