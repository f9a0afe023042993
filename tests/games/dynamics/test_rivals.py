"""What all rivals of MPO promise: calls counted, rows independent, mistakes named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mpo.games.dynamics.ipo_md import IPOMD
from mpo.games.dynamics.nash_md import NashMDMixture
from mpo.games.dynamics.online_dpo import OnlineDPO
from mpo.games.dynamics.registry import DYNAMICS
from mpo.games.dynamics.sppo import SPPO
from tests.games.dynamics.small_games import after, random_games

RIVALS: dict[str, Any] = {
    name: DYNAMICS[name]
    for name in (
        "egpo",
        "nash_md",
        "nash_md_mixture",
        "spo",
        "sppo",
        "dno",
        "inpo",
        "ipo_md",
        "online_ipo",
        "comal",
        "online_dpo",
        "bond",
    )
} | {
    "nash_md_falling": NashMDMixture(schedule="falling"),
    "sppo_exact": SPPO(log_normaliser="exact"),
    "ipo_md_logits": IPOMD(geometry="logits"),
    "online_dpo_logits": OnlineDPO(geometry="logits"),
    "bond_of_4": dataclasses.replace(DYNAMICS["bond"], knockout_rounds=2),
}


@pytest.mark.parametrize("name", RIVALS)
def test_calls_are_counted_and_a_step_changes_nothing_it_was_given(name: str) -> None:
    dynamic = RIVALS[name]
    assert dynamic.problems() == []
    preferences, start = random_games(3, 5)
    asked: list[Tensor] = []

    def payoffs(policies: Tensor) -> Tensor:
        assert policies.shape == (3, 5)
        np.testing.assert_allclose(policies.sum(1), 1, rtol=1e-12)
        asked.append(policies)
        return torch.einsum("nij,nj->ni", preferences, policies)

    state = dynamic.step(dynamic.initial(start), payoffs)
    for steps in range(2, 6):
        before = [field.clone() if isinstance(field, Tensor) else field for field in state]
        new = dynamic.step(state, payoffs)
        assert len(asked) == steps * dynamic.calls_a_step
        for old, field in zip(before, state, strict=True):
            assert torch.equal(old, field) if isinstance(old, Tensor) else old == field
        np.testing.assert_allclose(new.log_policy.exp().sum(1), 1, rtol=1e-12)
        state = new


@pytest.mark.parametrize("name", RIVALS)
def test_rows_have_their_own_games_and_numbers(name: str) -> None:
    dynamic = RIVALS[name]
    preferences, start = random_games(3, 5)
    factors = torch.tensor([[1.0], [0.5], [0.8]], dtype=torch.float64)
    fields = [
        field.name
        for field in dataclasses.fields(dynamic)
        if isinstance(getattr(dynamic, field.name), float)
    ]
    each = {field: getattr(dynamic, field) * factors for field in fields}
    together = dataclasses.replace(dynamic, **each)
    assert together.problems() == []
    got = after(together, preferences, start, 60).log_policy
    for row in range(3):
        one = dataclasses.replace(dynamic, **{f: float(each[f][row]) for f in fields})
        alone = after(one, preferences[row : row + 1], start[row : row + 1], 60).log_policy
        np.testing.assert_allclose(got[row], alone[0], rtol=1e-9)


@pytest.mark.parametrize("name", RIVALS)
def test_all_mistakes_are_named_together(name: str) -> None:
    dynamic = RIVALS[name]
    bad: dict[str, Any] = {}
    for field in dataclasses.fields(dynamic):
        value = getattr(dynamic, field.name)
        bad[field.name] = "?" if isinstance(value, str) else -1 if isinstance(value, int) else -0.5
    problems = dataclasses.replace(dynamic, **bad).problems()
    assert sorted(problem.split(":")[0] for problem in problems) == sorted(bad)


def test_the_documents_table_has_every_dynamic_with_its_calls() -> None:
    page = Path(__file__).parents[3] / "docs" / "dynamics.md"
    rows = [line.split("|") for line in page.read_text(encoding="utf-8").splitlines()]
    calls = {row[1].strip(" `"): row[4].strip() for row in rows if len(row) == 7}
    for name, dynamic in DYNAMICS.items():
        assert calls.get(name) == str(dynamic.calls_a_step), name
