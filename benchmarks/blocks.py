"""All blocks of a plan's table, in the order in which they are shown."""

from __future__ import annotations

import pandas as pd

from benchmarks.best_alpha import is_sweep
from benchmarks.block import Block
from benchmarks.budget_blocks import budget_block, settings_block
from benchmarks.exact_blocks import exact_blocks
from benchmarks.exact_rows import TASK as EXACT
from benchmarks.language_blocks import language_blocks
from benchmarks.plan_results import PlanResults
from benchmarks.round_blocks import round_blocks
from benchmarks.sweep_blocks import sweep_blocks
from benchmarks.trials import is_tuning, trials_block


def blocks(table: pd.DataFrame, results: PlanResults) -> list[Block]:
    """All blocks that the table has numbers for, exact task first."""
    if is_tuning(results):
        found = [trials_block(table, results)]
    else:
        found = [block for task in results.tasks() for block in _task_blocks(table, results, task)]
    return [block for block in found if not block.frame.empty]


def _task_blocks(table: pd.DataFrame, results: PlanResults, task: str) -> list[Block]:
    if task == EXACT and is_sweep(results):
        return sweep_blocks(table, results)
    found = []
    if task == EXACT:
        found += exact_blocks(table, results)
    else:
        for group in results.groups(task):
            found += language_blocks(table, results, group)
    found += round_blocks(table, results, task)
    return [*found, budget_block(table, results, task), settings_block(results, task)]
