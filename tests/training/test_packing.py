"""Packing changes rows, never a hidden state: compared with each sequence on its own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mpo.policy import Policy
from mpo.training.packing import Place, Rows, micro_batches, pack, packed_layout
from mpo.training.records import Unit
from tests.tiny_llama import tiny_llama

VOCABULARY = 9
UNITS = [
    Unit(((1, 2, 3), (4, 5)), ((1, 2), (0, 1)), 1),
    Unit(((6, 5, 4, 3, 2),), ((0, 4),), 1),
    Unit(((2, 2), (7, 1, 8, 2)), ((1,), (3,)), 1),
    Unit(((8,),), ((0,),), 1),
]
WIDTH = 8


def policy(train_blocks: int | None = None) -> Policy:
    return Policy(tiny_llama(VOCABULARY), train_blocks)


def alone(model: Policy, units: list[Unit]) -> Tensor:
    """The wanted hidden states, each sequence in a forward pass of its own, without any mask."""
    states = []
    for unit in units:
        for tokens, wanted in zip(unit.sequences, unit.wanted, strict=True):
            output = model.decoder(input_ids=torch.tensor([tokens])).last_hidden_state[0]
            states.append(output[list(wanted)])
    return torch.cat(states)


def in_rows(model: Policy, units: list[Unit], rows: Rows) -> Tensor:
    return model.hidden(packed_layout(units, rows))


def test_rows_are_full_and_hold_each_sequence_once() -> None:
    rows = pack(UNITS, WIDTH)
    lengths = [sum(len(UNITS[p.unit].sequences[p.sequence]) for p in row) for row in rows]
    # 17 tokens need three rows of 8; lengths 5, 4, 3, 2, 2, 1 by first fit make 5+3, 4+2+2, 1.
    assert lengths == [8, 8, 1]
    places = [Place(u, s) for u, unit in enumerate(UNITS) for s in range(len(unit.sequences))]
    assert sorted(place for row in rows for place in row) == places
    assert pack(UNITS, WIDTH) == rows
    assert pack(UNITS, WIDTH, packed=False) == [[place] for place in places]


@pytest.mark.parametrize("train_blocks", [None, 1])
@pytest.mark.parametrize("packed", [True, False])
def test_hidden_states_are_those_of_each_sequence_alone(
    packed: bool, train_blocks: int | None
) -> None:
    model = policy(train_blocks)
    rows = pack(UNITS, WIDTH, packed)
    torch.testing.assert_close(
        in_rows(model, UNITS, rows), alone(model, UNITS), rtol=1e-10, atol=1e-12
    )


def test_gradients_are_those_of_each_sequence_alone() -> None:
    model = policy()
    weights = [p for _, p in model.moving_parameters()]
    direction = torch.randn(9, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    both = []
    for hidden in (in_rows(model, UNITS, pack(UNITS, WIDTH)), alone(model, UNITS)):
        loss = (hidden * direction).sum()
        both.append(torch.autograd.grad(loss, weights, allow_unused=True))
    moved = 0
    for mine, theirs in zip(*both, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            moved += 1
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-11)
    assert moved > 10


def test_a_sample_never_sees_another() -> None:
    model = policy()
    rows = pack(UNITS, WIDTH)
    neighbours = [row for row in rows if len({place.unit for place in row}) > 1]
    assert neighbours
    before = in_rows(model, UNITS, rows)
    changed = UNITS[1]._replace(sequences=((3, 3, 8, 7, 1),))
    after = in_rows(model, [UNITS[0], changed, *UNITS[2:]], rows)
    # Unit 1's states are the two after unit 0's four.
    others = torch.ones(9, dtype=torch.bool)
    others[4:6] = False
    torch.testing.assert_close(after[others], before[others], rtol=0, atol=1e-12)
    assert (after[4:6] - before[4:6]).abs().amax(1).min() > 1e-3


def test_a_sample_would_see_another_under_plain_causal_attention() -> None:
    # Without the mask the states differ, so the tests above can fail.
    model = policy()
    layout = packed_layout(UNITS, pack(UNITS, WIDTH))
    open_rows = layout._replace(attention=torch.ones_like(layout.ids))
    assert (model.hidden(open_rows) - model.hidden(layout)).abs().max() > 1e-3


def test_micro_batches_keep_units_whole_and_rows_few() -> None:
    parts = micro_batches(UNITS, WIDTH, 2)
    assert [place for part in parts for place in part] == list(range(len(UNITS)))
    # Lengths 3, 2, 5, 2 and 4 fill two rows of 8; unit 3 would need a third.
    assert parts == [[0, 1, 2], [3]]
    # Unit 0 fills a row of 5, and so does unit 1.
    assert micro_batches(UNITS[:2], 5, 1) == [[0], [1]]
    assert micro_batches(UNITS, WIDTH, None) == [[0, 1, 2, 3]]
    assert micro_batches(UNITS, WIDTH, 2, packed=False) == [[0], [1], [2], [3]]


def test_a_sequence_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match=r"width: got a sequence of 5 tokens \(unit 1\), allowed"):
        pack(UNITS, 4)
    with pytest.raises(ValueError, match="got a sequence of 0 tokens"):
        pack([Unit(((),), ((),), 1)], 4)
