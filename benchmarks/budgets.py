"""One budget for all variants of a plan: how many iterations each of them has.

An iteration of B = `train.prompts` prompts uses, by what the objective needs,

    prompts       B
    samples       B · responses generated for a prompt
    judge_calls   B · (unordered pairs judged + responses scored by a reward model) for a prompt
    tokens        known only when they are sampled: 1 to T = `task.max_tokens` a sample

so that a variant has ⌊amount / (an iteration's use)⌋ iterations. Under a budget of tokens it has as
many as responses of a single token would allow, and the engine stops at `train.token_budget`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # --help, which names the units, needs no torch
    from mpo.objectives.protocol import Needs

UNITS = ("prompts", "samples", "judge_calls", "tokens")
TOKENS = "tokens"


class Budget(NamedTuple):
    """What each run of a task may use."""

    unit: str
    amount: int


def a_prompt(unit: str, needs: Needs) -> int:
    """What one prompt uses in one iteration; of tokens, the least."""
    from mpo.objectives.protocol import judge_calls_a_prompt, samples_a_prompt

    if unit == "prompts":
        return 1
    if unit == "judge_calls":
        return judge_calls_a_prompt(needs)
    return samples_a_prompt(needs)


def used(unit: str, values: Mapping[str, Any], needs: Needs) -> Budget:
    """What a run of these values by dotted key uses; of tokens, the most."""
    longest = values["task.max_tokens"] if unit == TOKENS else 1
    prompts = values["train.iterations"] * values["train.prompts"]
    return Budget(unit, prompts * a_prompt(unit, needs) * longest)


def iterations_within(
    budget: Budget, values: Mapping[str, Any], needs: Needs
) -> tuple[dict[str, int], list[str]]:
    """The values that keep a run within its budget, or why it has not even one iteration."""
    method, prompts = values["method.name"], values["train.prompts"]
    each = a_prompt(budget.unit, needs)
    if each == 0:
        return {}, [
            f"budget: got {budget.unit!r}, which method {method} does not use; allowed is "
            f"{' | '.join(unit for unit in UNITS if a_prompt(unit, needs))}"
        ]
    least = used(budget.unit, {**values, "train.iterations": 1}, needs).amount
    if budget.amount < least:
        return {}, [
            f"budget_amount: got {budget.amount} {budget.unit}, allowed is at least {least}, one "
            f"iteration of method {method} (train.prompts {prompts}, {least // prompts} each)"
        ]
    kept = {"train.iterations": budget.amount // (prompts * each)}
    if budget.unit == TOKENS:
        kept["train.token_budget"] = budget.amount
    return kept, []


def clashes(values: Mapping[str, Any], on_command_line: Mapping[str, Any]) -> list[str]:
    """Settings of a budget that would do nothing."""
    unit, amount = values.get("budget"), values.get("budget_amount")
    if unit is None:
        if amount is None:
            return []
        return [f"budget_amount: got {amount}, allowed only with budget={' | '.join(UNITS)}"]
    decided = {
        "train.iterations": amount is not None,
        "train.token_budget": unit == TOKENS,
    }
    return [
        f"{key}: got {on_command_line[key].value!r}, but the budget of {unit} decides it; allowed "
        f"is budget_amount instead, or budget=none"
        for key, is_decided in decided.items()
        if is_decided and key in on_command_line
    ]
