"""`experiment=compare`: which methods stand side by side, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import compose
from benchmarks.compose import flatten, read_conf
from tests.benchmarks.plans import by_variant, plan_of, problems_of

COMPARE = ("experiment=compare",)
EVERY = read_conf("experiment/compare").about["methods"]


@pytest.fixture
def own_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of conf/ that a test may change."""
    folder = tmp_path / "conf"
    shutil.copytree(compose.CONF, folder)
    monkeypatch.setattr(compose, "CONF", folder)
    read_conf.cache_clear()
    yield folder
    read_conf.cache_clear()


def test_every_method_runs_on_each_game_and_seed_side_by_side() -> None:
    plan = plan_of(*COMPARE)
    names = [run["name"] for run in plan["runs"]]
    assert names == [
        f"exact-{kind}-8-{method}-s{seed}"
        for kind in ("smooth", "first_token", "bradley_terry")
        for seed in range(5)
        for method in EVERY
    ]
    assert len(EVERY) == 9 and EVERY[0] == "mpo"
    assert plan["compare"] == [["mpo", other] for other in EVERY[1:]]
    assert (plan["kind"], plan["name"], plan["size"]) == ("experiment", "compare", "full")
    assert {run["config"]["method"]["name"] for run in plan["runs"]} == set(EVERY)


def test_methods_of_the_command_line_are_compared_with_the_first() -> None:
    plan = plan_of(*COMPARE, "methods=[ppo,mpo,mpo_fixed]", "seeds=1", "task.kinds=smooth")
    assert [run["variant"] for run in plan["runs"]] == ["ppo", "mpo", "mpo_fixed"]
    assert plan["compare"] == [["ppo", "mpo"], ["ppo", "mpo_fixed"]]


def test_quick_has_fewer_seeds_and_says_so() -> None:
    full, quick = plan_of(*COMPARE), plan_of(*COMPARE, "size=quick")
    assert quick["size"] == "quick" and "quick" in quick["title"]
    seeds = {run["seed"] for run in quick["runs"]}
    assert seeds < {run["seed"] for run in full["runs"]}
    kept = {run["name"]: run["config"] for run in full["runs"]}
    assert all(kept[run["name"]] == run["config"] for run in quick["runs"])
    assert {run["seed"] for run in plan_of(*COMPARE, "size=quick", "seeds=3")["runs"]} == {0, 1, 2}


def test_each_task_has_its_own_default_methods() -> None:
    # Iterative DPO by the judge and no PPO: neither needs a reward model.
    arguments = ("task=[exact,smollm2]", "seeds=1", "methods=[mpo,no_self_play]")
    plan = plan_of(*COMPARE, *arguments)
    assert {run["task"] for run in plan["runs"]} == {"exact", "smollm2"}
    problems = problems_of(*COMPARE, "task=[exact,smollm2]", "seeds=1")
    assert len(problems) == 1 and problems[0].startswith("reward.path: got None")
    assert problems[0].endswith("[task smollm2; variant ppo, iterative_dpo_4]")


def test_the_command_line_does_not_change_what_makes_up_a_method() -> None:
    arguments = ("methods=[mpo,mpo_fixed,mpo_paper,iterative_dpo_4]", "seeds=1")
    changes = ("method.magnet_interval=7", "method.alpha=0.3", "method.responses=64")
    found = by_variant(plan_of(*COMPARE, *arguments, *changes))
    assert found["mpo"]["method.magnet_interval"] == 7
    assert found["mpo_fixed"]["method.magnet_interval"] is None
    assert (found["mpo"]["method.alpha"], found["mpo_paper"]["method.alpha"]) == (0.3, 0.2)
    assert found["mpo_paper"]["method.responses"] == 64
    assert found["iterative_dpo_4"]["method.responses"] == 4


def test_what_was_tuned_lies_between_method_and_command_line(own_conf: Path) -> None:
    tuned = own_conf / "tuned" / "exact" / "mpo.yaml"
    tuned.write_text("train:\n  lr: 7.0e-3\nmethod:\n  alpha: 0.07\n  gamma: 0.5\n")
    plan = plan_of("method=mpo", "task=exact", "seeds=1", "task.kinds=smooth")
    values = flatten(plan["runs"][0]["config"])
    assert (values["train.lr"], values["method.alpha"]) == (7.0e-3, 0.07)
    assert values["method.gamma"] == 0.5  # tuned after the method's file
    plan = plan_of("method=mpo", "task=exact", "seeds=1", "method.alpha=0.2")
    assert flatten(plan["runs"][0]["config"])["method.alpha"] == 0.2
    other = plan_of("method=mpo_paper", "task=exact", "seeds=1")
    assert flatten(other["runs"][0]["config"])["train.lr"] != 7.0e-3


def test_a_key_of_another_method_in_what_was_tuned_is_found(own_conf: Path) -> None:
    tuned = own_conf / "tuned" / "exact" / "ppo.yaml"
    tuned.write_text("method:\n  alpha: 0.1\n")
    (problem,) = problems_of(*COMPARE, "methods=[mpo,ppo]")
    assert problem.startswith("method.alpha: unknown key in conf/tuned/exact/ppo.yaml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("methods=[mpo,ppo,mpo]",), ["methods: got 'mpo' twice", "once"]),
        (("methods=[mpo,pppo]",), ["methods: got 'pppo'", "nearest: ppo"]),
        (("methods=[]",), ["methods: got []"]),
        (("method=ppo",), ["method: got 'ppo' beside an experiment", "methods=[…]"]),
        (("ablation=alpha",), ["experiment: got 'compare' beside an ablation"]),
        (("size=tiny",), ["size: got 'tiny'", "full | quick"]),
        (("trials=3",), ["trials: got 3", "tune"]),
        (("method.gamma=0.5", "methods=[mpo,ppo]"), ["method.gamma: got 0.5", "every variant"]),
        (("experiment=compar",), ["experiment: got 'compar'", "nearest: compare"]),
    ],
)
def test_a_mistake_is_named(arguments: tuple[str, ...], words: list[str]) -> None:
    others = [] if arguments[0].startswith("experiment=") else COMPARE
    (problem,) = problems_of(*others, "task=exact", *arguments)
    assert [word for word in words if word not in problem] == []


def test_methods_without_an_experiment_and_size_without_sizes_are_refused() -> None:
    problems = problems_of("ablation=fixed_ref", "task=exact", "methods=[mpo]", "size=quick")
    assert [problem.partition(":")[0] for problem in problems] == ["methods", "size"]


@pytest.mark.parametrize(
    ("variants", "words"),
    [
        ("  a: {}\n  a: {}\n", ["ablation: got conf/ablation/own.yaml", "duplicate key a"]),
        ("  1: {}\n  '1': {}\n", ["ablation: got conf/ablation/own.yaml", "1 and '1'"]),
        ("  initial: {}\n  a/b: {}\n", ["variants: got 'initial'", "variants: got 'a/b'"]),
    ],
)
def test_variants_of_one_name_or_of_none_for_a_folder(
    own_conf: Path, variants: str, words: list[str]
) -> None:
    (own_conf / "ablation" / "own.yaml").write_text(f"title: mine\nvariants:\n{variants}")
    problems = "\n".join(problems_of("ablation=own", "task=exact", "method.alpha=-1"))
    assert [word for word in [*words, "method.alpha: got -1.0"] if word not in problems] == []
