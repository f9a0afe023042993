"""The files under conf/: what ablations vary, what methods are, and that all is documented."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from benchmarks.compose import CONF, available, flatten, has_conf, read_conf
from benchmarks.plan import Plan
from benchmarks.schema import METHODS, SECTIONS, TASKS, Machine, make_objective, method_class
from benchmarks.settings_docs import class_settings, method_settings
from benchmarks.task_settings import GAME_KINDS
from tests.benchmarks.plans import plan_of


def configs(plan: Plan, variant: str) -> list[dict[str, Any]]:
    return [run["config"] for run in plan["runs"] if run["variant"] == variant]


VARIED = {
    "fixed_ref": {"method.magnet_interval"},
    "opponent": {"method.opponent"},
    "kl_gradient": {"method.kl_gradient"},
    "alpha": {"method.magnet_interval"},
    "no_self_play": {"method.self_play"},
    "clip": {"method.proximal"},
    "baseline": {"method.baseline"},
    "magnet_interval": {"method.magnet_interval"},
    "inner_steps": {"method.inner_steps"},
    "pairs": {"method.pairs"},
    "ppo_beta": {"method.beta"},
}


@pytest.mark.parametrize("name", available("ablation"))
def test_an_ablation_varies_exactly_one_thing(name: str) -> None:
    plan = plan_of(f"ablation={name}", "seeds=1")
    assert plan["compare"]
    for first, second in plan["compare"]:
        ones, others = configs(plan, first), configs(plan, second)
        assert len(ones) == len(others) > 0
        for one, other in zip(ones, others, strict=True):
            assert _differing(one, other) == VARIED[name] | {"variant"}


@pytest.mark.parametrize("name", available("ablation"))
def test_an_ablation_compares_every_variant_and_one_that_is_the_method_itself(name: str) -> None:
    plan = plan_of(f"ablation={name}", "seeds=1", "task=exact")
    variants = {run["variant"] for run in plan["runs"]}
    assert {variant for pair in plan["compare"] for variant in pair} == variants
    # What the ablation sets for all its variants is no difference from the method.
    about = read_conf(f"ablation/{name}").about
    (method,) = {(own or {}).get("method", "mpo") for own in about["variants"].values()}
    plan_alone = plan_of(*_alone(method, about.get("set", {})))
    (alone,) = {str(config["method"]) for config in configs(plan_alone, method)}
    assert alone in {str(run["config"]["method"]) for run in plan["runs"]}


def _alone(method: str, shared: dict[str, Any]) -> list[str]:
    values = [f"{key}={str(value).lower()}" for key, value in shared.items()]
    return [f"method={method}", "task=exact", "seeds=1", *values]


@pytest.mark.parametrize(
    ("method", "varied"),
    [
        ("mpo_clip", {"proximal"}),
        ("mpo_fixed", {"magnet_interval"}),
        # The initial policy's responses are not samples of the policy: they cannot train.
        ("no_self_play", {"self_play", "symmetric"}),
    ],
)
@pytest.mark.parametrize("task", list(TASKS))
def test_a_method_that_extends_mpo_differs_in_what_its_name_says(
    method: str, varied: set[str], task: str
) -> None:
    plan = plan_of("experiment=compare", f"methods=[mpo,{method}]", f"task={task}", "seeds=1")
    for one, other in zip(configs(plan, "mpo"), configs(plan, method), strict=True):
        names = {"method.name", "variant", *(f"method.{field}" for field in varied)}
        # The budget decides the iterations, tuning the learning rate and the strength.
        free = {"train.iterations", *_tuned(task, "mpo"), *_tuned(task, method)}
        assert names <= _differing(one, other) <= names | free


def _tuned(task: str, method: str) -> set[str]:
    name = f"tuned/{task}/{method}"
    return set(read_conf(name).values) if has_conf(name) else set()


def test_mpo_rt_shares_with_mpo_what_both_have() -> None:
    plan = plan_of("experiment=compare", "methods=[mpo,mpo_rt]", "seeds=1")
    (mpo, *_), (transformed, *_) = configs(plan, "mpo"), configs(plan, "mpo_rt")
    shared = set(mpo["method"]) & set(transformed["method"]) - {"name"}
    assert shared == set(transformed["method"]) - {"name", "log_ratio"}
    assert {key for key in shared if mpo["method"][key] != transformed["method"][key]} == set()


@pytest.mark.parametrize("size", [4, 8])
def test_best_of_n_keeps_its_n_and_samples_as_many_as_the_others(size: int) -> None:
    for task, total in (("exact", 128), ("smollm2", 8)):
        path = () if task == "exact" else ("method.selection=judge",)
        name = f"iterative_dpo_{size}"
        run = plan_of(f"method={name}", f"task={task}", "seeds=1", *path)["runs"][-1]
        objective = make_objective(run["config"]["method"])
        assert objective.responses == size
        assert objective.needs().responses == total


def test_what_was_tuned_is_for_tasks_and_methods_that_exist() -> None:
    files = sorted((CONF / "tuned").rglob("*.yaml"))
    assert files
    for file in files:
        assert file.parent.name in TASKS and file.stem in METHODS
        values = read_conf(f"tuned/{file.parent.name}/{file.stem}").values
        own = read_conf(f"method/{file.stem}").values
        # What makes up a method is no tuning.
        assert not set(values) & set(own)


def test_the_alpha_ablation_sweeps_both_variants_on_games_and_seeds_of_its_own() -> None:
    plan, reported = plan_of("ablation=alpha"), plan_of("ablation=fixed_ref", "task=exact")
    for variant in ("moving", "fixed"):
        for alpha in (0.03, 0.06, 0.12, 0.24):
            found = configs(plan, f"{variant}_alpha{alpha}")
            assert {config["method"]["alpha"] for config in found} == {alpha}
            assert {config["method"]["magnet_interval"] is None for config in found} == {
                variant == "fixed"
            }
    groups = {run["group"] for run in plan["runs"]}
    assert not groups & {run["group"] for run in reported["runs"]}
    seeds = {run["seed"] for run in plan["runs"]}
    select = plan["select"]
    assert set(select["seeds"]) | set(select["report"]) == seeds
    assert not set(select["seeds"]) & set(select["report"])


def test_mpo_paper_is_the_paper_to_the_letter() -> None:
    plan = plan_of("method=mpo_paper", "seeds=1")
    trained = [run["config"]["method"] for run in plan["runs"]]
    expected = {
        "alpha": 0.2,
        "gamma": 0.95,
        "inner_steps": 4,
        "eta_schedule": "linear",
        "eta_horizon": None,
        "opponent": "snapshot",
        "opponent_interval": None,
        "baseline": "remax",
        "reward": "every_token",
        "discount_baseline": False,
        "symmetric": False,
        "pairs": "disjoint",
        "kl_gradient": "per_token",
    }
    for method in trained:
        assert {key: method[key] for key in expected} == expected


def test_every_method_is_a_file_and_a_class_and_its_config_makes_the_objective() -> None:
    assert set(METHODS) == set(available("method"))
    assert set(TASKS) == set(available("task"))
    for name in METHODS:
        (run,) = plan_of(f"method={name}", "task=exact", "seeds=1", "task.kinds=smooth")["runs"]
        method = run["config"]["method"]
        objective = make_objective(method)
        assert isinstance(objective, method_class(name))
        assert {key: getattr(objective, key) for key in method if key != "name"} == {
            key: value for key, value in method.items() if key != "name"
        }
        assert {field.name for field in fields(objective)} == set(method) - {"name"}


def test_every_setting_is_documented() -> None:
    schemas = [Machine, *TASKS.values(), *SECTIONS.values()]
    settings = [setting for schema in schemas for setting in class_settings(schema)]
    settings += [setting for method in METHODS for setting in method_settings(method)]
    assert len(settings) > 50
    assert [setting.name for setting in settings if not setting.doc] == []
    for name in METHODS:
        documented = [setting.name for setting in method_settings(name)]
        assert documented == [field.name for field in fields(method_class(name))]


def test_the_kinds_of_games_are_those_of_the_zoo() -> None:
    from mpo.games.zoo import KINDS

    assert GAME_KINDS == KINDS


def _differing(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    first, second = flatten(one), flatten(other)
    return {key for key in first | second if first.get(key) != second.get(key)}
