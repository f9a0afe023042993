"""Several token sequences in one row, none of which sees another (paper, Table 4: packing).

A row holds sequences one after the other. A token attends to the earlier tokens of its own
sequence only (a block-diagonal causal mask), and positions restart with each sequence, so that
packing changes time and memory, never a hidden state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from mpo.layout import Layout
from mpo.training.records import Unit


class Place(NamedTuple):
    """A sequence: its unit's place in the list of units, and its own in the unit."""

    unit: int
    sequence: int


Rows = list[list[Place]]
"""Sequences by row, from left to right."""


def pack(units: Sequence[Unit], width: int, packed: bool = True) -> Rows:
    """Rows of at most `width` tokens that hold all sequences; without `packed`, one a row.

    First fit by decreasing length, ties in the order of units, so that the rows are a function of
    the arguments. Raises ValueError for a sequence of more than `width` tokens or of none.
    """
    lengths = {
        Place(u, s): len(tokens)
        for u, unit in enumerate(units)
        for s, tokens in enumerate(unit.sequences)
    }
    for place, length in lengths.items():
        if not 1 <= length <= width:
            raise ValueError(
                f"width: got a sequence of {length} tokens (unit {place.unit}), allowed is 1 to "
                f"{width}"
            )
    if not packed:
        return [[place] for place in lengths]
    rows: Rows = []
    room: list[int] = []
    for place in sorted(lengths, key=lambda place: (-lengths[place], place)):
        length = lengths[place]
        fits = (row for row, left in enumerate(room) if left >= length)
        row = next(fits, len(rows))
        if row == len(rows):
            rows.append([])
            room.append(width)
        rows[row].append(place)
        room[row] -= length
    return rows


def packed_layout(units: Sequence[Unit], rows: Rows, device: torch.device | str = "cpu") -> Layout:
    """The rows as a batch for one forward pass, padded to the longest.

    `predicts` is (N,): the wanted positions of all units, unit by unit, sequence by sequence. Rows
    of one sequence each need no mask of pairs: their attention is (S, L), for any kernel.
    """
    tokens = [[units[p.unit].sequences[p.sequence] for p in row] for row in rows]
    length = max(sum(map(len, row)) for row in tokens)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    positions = torch.zeros(len(rows), length, dtype=torch.long)
    # The sequence that each token belongs to, counted from 1 in its row; 0 is padding.
    owner = torch.zeros(len(rows), length, dtype=torch.long)
    starts: dict[Place, int] = {}
    for row, (places, sequences) in enumerate(zip(rows, tokens, strict=True)):
        start = 0
        for number, (place, sequence) in enumerate(zip(places, sequences, strict=True), start=1):
            here = slice(start, start + len(sequence))
            ids[row, here] = torch.tensor(sequence)
            positions[row, here] = torch.arange(len(sequence))
            owner[row, here] = number
            starts[place] = row * length + start
            start += len(sequence)
    predicts = [
        starts[Place(u, s)] + position
        for u, unit in enumerate(units)
        for s, wanted in enumerate(unit.wanted)
        for position in wanted
    ]
    if all(len(row) == 1 for row in rows):
        attention = owner > 0
    else:
        order = torch.arange(length)
        # Every position sees itself, so that no row of the softmax is empty on padding.
        related = (owner[:, :, None] == owner[:, None, :]) & (owner[:, None, :] > 0)
        itself = torch.eye(length, dtype=torch.bool)
        attention = ((related & (order[:, None] >= order)) | itself)[:, None]
    layout = Layout(ids, positions, attention, torch.tensor(predicts, dtype=torch.long))
    return Layout(*(part.to(device) for part in layout))


def micro_batches(
    units: Sequence[Unit], width: int, rows: int | None, packed: bool = True
) -> list[list[int]]:
    """Places of the units, cut in order into parts of at most `rows` rows each, or one unit.

    None: all units in one part.
    """
    parts: list[list[int]] = []
    for place in range(len(units)):
        grown = [*parts[-1], place] if parts else [place]
        fits = rows is None or len(pack([units[p] for p in grown], width, packed)) <= rows
        if parts and fits:
            parts[-1] = grown
        else:
            parts.append([place])
    return parts
