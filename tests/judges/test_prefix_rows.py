"""Rows that share prefixes against one plain forward a sequence."""

from __future__ import annotations

import random

import pytest
import torch

from mpo.judges import prefix_rows
from mpo.judges.prefix_rows import Branch, Row, end_states, rows_layout
from tests.judges.text_models import plain_end_state, policy


def branches(seed: int = 0, prefixes: int = 4, tails: int = 5) -> list[Branch]:
    draw = random.Random(seed)

    def tokens(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw.randrange(300) for _ in range(draw.randint(low, high)))

    heads = [(), *(tokens(1, 12) for _ in range(prefixes - 1))]
    return [Branch(head, tokens(1, 9)) for head in heads for _ in range(tails)]


@pytest.mark.parametrize("blocks", [None, 1])
@pytest.mark.parametrize("positions", [1, 60, 1024])
def test_states_are_those_of_each_sequence_alone(
    blocks: int | None, positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix_rows, "POSITIONS", positions)
    model, asked = policy(blocks), branches()
    wanted = torch.stack([plain_end_state(model, each.prefix + each.tail) for each in asked])
    torch.testing.assert_close(end_states(model, asked), wanted, rtol=1e-9, atol=1e-9)


def test_without_pair_masks_each_sequence_has_a_row() -> None:
    model, asked = policy(), branches()
    shared = end_states(model, asked)
    model.shared_prefix = False
    torch.testing.assert_close(end_states(model, asked), shared, rtol=1e-9, atol=1e-9)
    layout = rows_layout([Row((1, 2), ((3,),)), Row((1,), ((4,),))], shared=False)
    assert layout.attention.tolist() == [[True, True, True], [True, True, False]]
    assert layout.predicts.tolist() == [2, 4]


def test_neither_order_nor_repetition_changes_a_bit() -> None:
    model, asked = policy(), branches()
    model.model.float()
    states = dict(zip(asked, end_states(model, asked), strict=True))
    shuffled = random.Random(1).sample(asked * 2, k=2 * len(asked))
    for branch, state in zip(shuffled, end_states(model, shuffled), strict=True):
        assert torch.equal(state, states[branch])


def test_a_layout_counts_positions_from_the_prefix_and_keeps_tails_apart() -> None:
    layout = rows_layout([Row((7, 8), ((1, 2), (3,))), Row((9,), ((4,),))])
    assert layout.ids.tolist() == [[7, 8, 1, 2, 3], [9, 4, 0, 0, 0]]
    assert layout.positions[0].tolist() == [0, 1, 2, 3, 2]
    assert layout.predicts.tolist() == [3, 4, 6]
    sees = layout.attention[:, 0]
    assert sees[0, 4].tolist() == [True, True, False, False, True]
    assert sees[0, 3].tolist() == [True, True, True, True, False]
    assert sees[1, 3].tolist() == [True, False, False, True, False]


def test_a_prefix_is_computed_once_where_that_is_less_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, seen = policy(), []
    original = model.hidden
    monkeypatch.setattr(
        model, "hidden", lambda layout: seen.append(layout.ids.shape) or original(layout)
    )
    end_states(model, [Branch((5,) * 30, (token, 1)) for token in range(4)])
    assert seen == [(1, 38)]


def test_no_branches_and_the_training_mode() -> None:
    model = policy()
    assert end_states(model, []).shape == (0, 16)
    model.model.train()
    assert not end_states(model, branches()).requires_grad
    assert model.model.training
