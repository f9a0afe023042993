"""How prompts and responses are laid out as a batch for one forward pass.

`tree_layout` puts a prompt and a group of its responses into one row, each response seeing the
prompt and itself only: the group computes the shared prefix once. `row_layout` gives each response
a row of its own, for attention kernels that take no mask of pairs. Both say where the hidden state
that predicts each response token stands, so that nobody else needs to know which was used.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mpo.records import Prompts, Responses


class Layout(NamedTuple):
    """S rows of L positions, and where each response token is predicted."""

    ids: Tensor
    """(S, L) token ids."""
    positions: Tensor
    """(S, L) position ids."""
    attention: Tensor
    """(S, 1, L, L) bool, who sees whom, or (S, L) bool, who counts, under causal attention."""
    predicts: Tensor
    """(B, n, T): index into S·L of the position whose hidden state predicts the token."""


def group_size(prompts: Prompts, responses: Responses, width: int) -> int:
    """How many responses of a prompt share a row, for the least work.

    A block of hidden width D costs about 12 D² a position and 2 D a pair of positions: large
    groups compute the prompt less often, small groups attend over shorter rows.
    """
    n, inner = responses.ids.shape[1], max(responses.ids.shape[2] - 1, 0)

    def work(group: int) -> int:
        length = prompts.ids.shape[1] + group * inner
        return -(-n // group) * length * (6 * width + length)

    return min(range(1, n + 1), key=work)


def tree_layout(prompts: Prompts, responses: Responses, group: int) -> Layout:
    """Rows [prompt | response 1 | … | response g], positions as if each stood alone.

    A response's last token predicts nothing and is left out.
    """
    n, steps = responses.ids.shape[1:]
    groups = -(-n // group)
    missing = groups * group - n
    ids = torch.nn.functional.pad(responses.ids, (0, 0, 0, missing)).view(-1, group, steps)
    lengths = torch.nn.functional.pad(responses.lengths, (0, missing)).view(-1, group)
    rows = _tree_rows(
        prompts.ids.repeat_interleave(groups, 0),
        prompts.lengths.repeat_interleave(groups, 0),
        Responses(ids, lengths, lengths > 0),
    )
    predicts = rows.predicts.view(-1, groups * group, steps)[:, :n]
    return rows._replace(predicts=predicts)


def _tree_rows(prompt_ids: Tensor, prompt_lengths: Tensor, responses: Responses) -> Layout:
    batch, n, steps = responses.ids.shape
    width, inner = prompt_ids.shape[1], max(steps - 1, 0)
    device = prompt_ids.device
    ids = torch.cat([prompt_ids, responses.ids[:, :, :inner].reshape(batch, n * inner)], 1)
    positions = torch.cat(
        [
            torch.arange(width, device=device).expand(batch, width),
            prompt_lengths[:, None] + torch.arange(inner, device=device).repeat(n),
        ],
        1,
    )
    owner = torch.cat(
        [
            torch.full((width,), -1, device=device),
            torch.arange(n, device=device).repeat_interleave(inner),
        ]
    )
    length = ids.shape[1]
    order = torch.arange(length, device=device)
    causal = order[:, None] >= order[None, :]
    related = (owner[None, :] == -1) | (owner[:, None] == owner[None, :])
    counts = torch.cat(
        [
            torch.arange(width, device=device) < prompt_lengths[:, None],
            responses.mask[:, :, :inner].reshape(batch, n * inner),
        ],
        1,
    )
    # Every position sees itself, so that no row of the softmax is empty on padding.
    itself = torch.eye(length, dtype=torch.bool, device=device)
    attention = ((causal & related)[None] & counts[:, None, :]) | itself
    starts = torch.arange(batch, device=device)[:, None, None] * length
    first = (prompt_lengths - 1)[:, None, None].expand(batch, n, 1)
    later = width + torch.arange(n * inner, device=device).view(1, n, inner)
    predicts = torch.cat([first, later.expand(batch, n, inner)], 2)[:, :, :steps] + starts
    return Layout(ids, positions, attention[:, None], predicts)


def row_layout(prompts: Prompts, responses: Responses) -> Layout:
    """One row a response: [prompt | response] packed without a gap, padding on the right."""
    batch, n, steps = responses.ids.shape
    width, inner = prompts.ids.shape[1], max(steps - 1, 0)
    device = prompts.ids.device
    length = width + inner
    place = torch.arange(length, device=device)
    start = prompts.lengths[:, None, None]
    offset = place - start
    inside = (offset >= 0) & (offset < inner)
    tail = responses.ids.gather(2, offset.clamp(0, steps - 1).expand(batch, n, length))
    head = torch.nn.functional.pad(prompts.ids, (0, inner))[:, None, :]
    ids = torch.where(inside, tail, head)
    counts = (place < start) | (inside & (offset < responses.lengths[..., None]))
    rows = torch.arange(batch * n, device=device).view(batch, n, 1) * length
    predicts = rows + start - 1 + torch.arange(steps, device=device)
    return Layout(
        ids.reshape(batch * n, length),
        place.expand(batch * n, length),
        counts.reshape(batch * n, length),
        predicts,
    )
