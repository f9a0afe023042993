"""Blocks of a sweep over alpha."""

from __future__ import annotations

import pandas as pd

from benchmarks.best_alpha import ALL_GAMES, family_of, family_pairs
from benchmarks.block import Block, difference_cells, frame_of
from benchmarks.exact_rows import TASK as EXACT
from benchmarks.plan_results import PlanResults
from benchmarks.rows import find
from benchmarks.wording import number


def sweep_blocks(table: pd.DataFrame, results: PlanResults) -> list[Block]:
    """Gaps by alpha, and what each variant reaches at its own best."""
    families = list(dict.fromkeys(str(family_of(name)) for name in results.variants()))
    alphas = {run.variant: float(run.method["alpha"]) for run in results.runs}
    swept, chosen, comparisons = [], [], []
    for group in results.groups(EXACT):
        for alpha in sorted(set(alphas.values())):
            row = {"game": group, "alpha": f"{alpha:g}"}
            for family in families:
                names = [v for v, a in alphas.items() if a == alpha and family_of(v) == family]
                gap = find(table, group, names[0], "gap_last") if names else None
                row[f"gap_last, {family}"] = number(gap)
            swept.append(row)
    pairs = family_pairs(results)
    for group in [*results.groups(EXACT), ALL_GAMES]:
        for family in families:
            alpha_found = find(table, group, family, "best_alpha")
            if alpha_found is not None:
                gap = find(table, group, family, "gap_last_best_alpha")
                chosen.append(
                    {
                        "game": group,
                        "variant": family,
                        "best alpha": f"{alpha_found.value:g}",
                        "gap_last on the other seeds": number(gap),
                        "seeds": str(gap.n if gap else 0),
                    }
                )
        comparisons += [difference_cells(table, group, p, "gap_last_best_alpha") for p in pairs]
    return [
        Block("Exact task: duality gap of the last iterate by alpha", pd.DataFrame(swept)),
        Block("Each variant at its own best alpha", pd.DataFrame(chosen)),
        Block("Differences at each variant's own best alpha", frame_of(comparisons)),
    ]
