"""One budget for all variants: the iterations that follow from it, counted by hand."""

from __future__ import annotations

import pytest

from benchmarks.budgets import UNITS, a_prompt
from mpo.objectives.protocol import Needs
from tests.benchmarks.plans import by_variant, plan_of, problems_of

METHODS = ("mpo", "mpo_paper", "no_self_play", "ppo", "iterative_dpo_4")
ONE = ("experiment=compare", f"methods=[{','.join(METHODS)}]", "task.kinds=smooth", "seeds=1")
SIZES = ("method.responses=6", "method.groups=2", "train.iterations=120", "train.rounds=2")

SAMPLES = {"mpo": 6, "mpo_paper": 6 + 6 + 1, "no_self_play": 12, "ppo": 6, "iterative_dpo_4": 8}
"""A prompt's: mpo_paper has opponents of its own and a greedy response, 4-best-of has 2 groups."""
CALLS = {
    "mpo": 6 * 5 // 2,
    "mpo_paper": 6 + 6,  # six duels, and the greedy response against each opponent
    "no_self_play": 6 * 6,
    "ppo": 6,
    "iterative_dpo_4": 8,
}


@pytest.mark.parametrize(
    ("unit", "each"), [("prompts", dict.fromkeys(METHODS, 1)), ("samples", SAMPLES),
                       ("judge_calls", CALLS)]
)  # fmt: skip
def test_every_variant_may_use_what_mpo_uses(unit: str, each: dict[str, int]) -> None:
    plan = plan_of(*ONE, *SIZES, f"budget={unit}")
    amount = 120 * 3 * each["mpo"]
    assert plan["budget"] == {"unit": unit, "amount": amount, "amounts": {"exact": amount}}
    found = by_variant(plan)
    assert {name: found[name]["train.iterations"] for name in METHODS} == {
        name: amount // (3 * each[name]) for name in METHODS
    }
    assert {values["train.token_budget"] for values in found.values()} == {None}


def test_an_amount_of_ones_own() -> None:
    found = by_variant(plan_of(*ONE, *SIZES[:2], "budget_amount=1000", "train.rounds=1"))
    assert {name: values["train.iterations"] for name, values in found.items()} == {
        name: 1000 // (3 * each) for name, each in SAMPLES.items()
    }


def test_under_a_budget_of_tokens_the_engine_stops() -> None:
    plan = plan_of(*ONE, *SIZES, "budget=tokens")
    amount = 120 * 3 * 6 * 3  # as many as mpo's responses have at their longest
    assert plan["budget"]["amount"] == amount
    for name, values in by_variant(plan).items():
        assert values["train.token_budget"] == amount
        # With one token a response, as short as they can be, the tokens last that long.
        assert values["train.iterations"] == amount // (3 * SAMPLES[name])


def test_without_a_budget_all_have_the_tasks_iterations() -> None:
    plan = plan_of(*ONE, *SIZES, "budget=none")
    assert plan["budget"] is None
    assert {values["train.iterations"] for values in by_variant(plan).values()} == {120}
    assert plan_of("ablation=clip", "seeds=1")["budget"] is None


def test_the_amount_may_differ_between_tasks() -> None:
    tasks = ("task=[exact,smollm2]", "methods=[mpo,no_self_play]", "seeds=1")
    budget = plan_of("experiment=compare", *tasks)["budget"]
    assert budget == {
        "unit": "samples",
        "amount": None,
        "amounts": {"exact": 330 * 3 * 128, "smollm2": 16 * 4 * 8},
    }


def test_a_budget_makes_an_ablation_fair_too() -> None:
    plan = plan_of("ablation=pairs", "seeds=1", "budget=judge_calls", "method.responses=6")
    found = by_variant(plan)
    # 15 pairs of six samples, or 3 disjoint ones.
    assert found["all"]["train.iterations"] == 330
    assert found["disjoint"]["train.iterations"] == 330 * 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("budget=reams",), ["budget: got 'reams'", "none | prompts | samples"]),
        (("budget_amount=0",), ["budget_amount: got 0", "≥ 1"]),
        (("budget_amount=1.5",), ["budget_amount: got 1.5", "an integer"]),
        (("budget=none", "budget_amount=5"), ["budget_amount: got 5", "only with budget="]),
        (
            ("budget_amount=20", "methods=[mpo,mpo_paper]"),
            ["got 20 samples", "at least 39", "mpo_paper", "13 each", "[variant mpo_paper]"],
        ),
        (
            ("budget_amount=53", "budget=tokens", "methods=[mpo]"),
            ["got 53 tokens", "at least 54", "18 each"],
        ),
        (
            ("train.iterations=9", "budget_amount=4000"),
            ["train.iterations: got 9", "budget_amount instead"],
        ),
        (
            ("train.token_budget=9", "budget=tokens", "methods=[mpo]"),
            ["train.token_budget: got 9", "budget of tokens decides it"],
        ),
    ],
)
def test_a_mistake_is_named(arguments: tuple[str, ...], words: list[str]) -> None:
    given = {argument.partition("=")[0] for argument in arguments}
    others = [word for word in ONE if word.partition("=")[0] not in given]
    groups = ["method.groups=2"] if "methods" not in given else []
    (problem,) = problems_of(*others, "method.responses=6", *groups, "train.rounds=1", *arguments)
    assert [word for word in words if word not in problem] == []


def test_a_budget_too_small_stands_beside_other_mistakes() -> None:
    problems = problems_of(*ONE, "budget_amount=2", "train.lr=-1", "seeds=0")
    keys = {problem.partition(":")[0] for problem in problems}
    assert keys == {"budget_amount", "train.lr", "seeds"}


def test_a_unit_that_a_method_does_not_use() -> None:
    from benchmarks.budgets import Budget, iterations_within

    idle = Needs(responses=2, judged=False)
    values = {"method.name": "idle", "train.prompts": 3, "task.max_tokens": 3}
    kept, (problem,) = iterations_within(Budget("judge_calls", 100), values, idle)
    assert kept == {} and "prompts | samples | tokens" in problem
    assert [a_prompt(unit, idle) for unit in UNITS] == [1, 2, 0, 2]
