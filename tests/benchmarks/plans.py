"""Plans of command lines, and what is wrong with command lines, without running anything."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.compose import flatten, read_command_line
from benchmarks.plan import Plan, PlanError, make_plan


def plan_of(*arguments: str) -> Plan:
    """The plan of a valid command line."""
    return make_plan(read_command_line(arguments), arguments)[0]


def problems_of(*arguments: str) -> list[str]:
    """Every problem of a command line that is refused."""
    with pytest.raises(PlanError) as caught:
        make_plan(read_command_line(arguments), arguments)
    return caught.value.problems


def by_variant(plan: Plan) -> dict[str, dict[str, Any]]:
    """A variant's config by dotted key; of its last run where it has several."""
    return {run["variant"]: flatten(run["config"]) for run in plan["runs"]}
