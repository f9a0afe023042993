"""Final hidden states of sequences that share their beginnings, each beginning computed once.

A row is [prefix | tail 1 | … | tail g]: each tail sees the prefix and itself only, at the positions
that it would have alone, and nothing is padded inside a row. The responses to one prompt share the
prompt; the pairs that one response is compared in share prompt and response.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mpo.layout import Layout
from mpo.policy import Policy

POSITIONS = 1024
"""Rows of a forward pass: as many as fit into so many positions, and at least one."""
PREFIX, PADDING = -1, -2
"""Owners of positions that belong to no tail."""


class Branch(NamedTuple):
    """A token sequence as prefix + tail; the tail holds at least one token."""

    prefix: tuple[int, ...]
    tail: tuple[int, ...]


class Row(NamedTuple):
    """Branches of one prefix."""

    prefix: tuple[int, ...]
    tails: tuple[tuple[int, ...], ...]

    @property
    def length(self) -> int:
        """Positions that the row takes."""
        return len(self.prefix) + sum(map(len, self.tails))


@torch.no_grad()
def end_states(policy: Policy, branches: Sequence[Branch]) -> Tensor:
    """(N, D): the hidden state of each branch's last token.

    The forward passes are a function of the *set* of branches: neither their order nor repetitions
    change a bit of any answer.
    """
    rows = _rows(branches, policy)
    training = policy.model.training
    policy.model.eval()
    try:
        known: dict[Branch, Tensor] = {}
        for part in _parts(rows):
            layout = rows_layout(part, policy.shared_prefix)
            layout = Layout(*(field.to(policy.device) for field in layout))
            names = (Branch(row.prefix, tail) for row in part for tail in row.tails)
            known.update(zip(names, policy.hidden(layout), strict=True))
    finally:
        policy.model.train(training)
    if not branches:
        weight = policy.head.weight
        return weight.new_empty(0, weight.shape[1])
    return torch.stack([known[branch] for branch in branches])


def rows_layout(rows: Sequence[Row], shared: bool = True) -> Layout:
    """The rows as a batch, padded on the right; `predicts` (N,) is the last token of each tail.

    Without `shared` a row has one tail and the attention is (S, L), for any kernel.
    """
    length = max(row.length for row in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    positions = torch.zeros_like(ids)
    owner = torch.full_like(ids, PADDING)
    ends: list[int] = []
    for place, row in enumerate(rows):
        tokens, start = list(row.prefix), len(row.prefix)
        where, owners = list(range(start)), [PREFIX] * start
        for number, tail in enumerate(row.tails):
            tokens += tail
            where += range(start, start + len(tail))
            owners += [number] * len(tail)
            ends.append(place * length + len(tokens) - 1)
        ids[place, : len(tokens)] = torch.tensor(tokens)
        positions[place, : len(tokens)] = torch.tensor(where)
        owner[place, : len(tokens)] = torch.tensor(owners)
    predicts = torch.tensor(ends)
    if not shared:
        return Layout(ids, positions, owner != PADDING, predicts)
    order = torch.arange(length)
    mine, theirs = owner[:, :, None], owner[:, None, :]
    related = (theirs == PREFIX) | ((theirs == mine) & (theirs != PADDING))
    # Every position sees itself, so that no row of the softmax is empty on padding.
    itself = torch.eye(length, dtype=torch.bool)
    attention = ((order[:, None] >= order) & related) | itself
    return Layout(ids, positions, attention[:, None], predicts)


def _rows(branches: Iterable[Branch], policy: Policy) -> list[Row]:
    """All distinct branches, in rows of the least work, longest row first."""
    tails: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for branch in sorted(set(branches)):
        tails.setdefault(branch.prefix, []).append(branch.tail)
    width = policy.head.weight.shape[1]
    rows = []
    for prefix, several in tails.items():
        group = _group_size(len(prefix), several, width) if policy.shared_prefix else 1
        several.sort(key=len)
        parts = (several[start : start + group] for start in range(0, len(several), group))
        rows += [Row(prefix, tuple(part)) for part in parts]
    return sorted(rows, key=lambda row: -row.length)


def _group_size(prefix: int, tails: Sequence[tuple[int, ...]], width: int) -> int:
    """How many tails share a row, for the least work; see mpo.layout.group_size."""
    mean = sum(map(len, tails)) / len(tails)

    def work(group: int) -> float:
        length = prefix + group * mean
        return -(-len(tails) // group) * length * (6 * width + length)

    return min(range(1, len(tails) + 1), key=work)


def _parts(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows, longest first, cut into the parts of one forward pass each."""
    part: list[Row] = []
    for row in rows:
        if part and (len(part) + 1) * part[0].length > POSITIONS:
            yield part
            part = []
        part.append(row)
    if part:
        yield part
