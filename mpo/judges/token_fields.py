"""Texts as fields of a token sequence, each closed by the end token, and scalar heads to read them.

A response is tokenised as plain text: what spells a special token stays text. So a response holds
no end token and cannot close its own field, whatever it says.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from mpo.chat import ChatFormat
from mpo.policy import Policy


def text_tokens(chat: ChatFormat, text: str) -> tuple[int, ...]:
    """Token ids of a text that begins in the middle of a sequence, without any special token."""
    ids = chat.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return tuple(int(token) for token in ids)


def end_token(chat: ChatFormat, policy: Policy) -> int:
    """The token that closes a field. Raises ValueError when tokenizer and model name none."""
    ends = chat.end_tokens(policy.model)
    if not ends:
        raise ValueError("model.path: got a model without an end token, allowed is one with it")
    return ends[0]


def shortened(
    prompt: Sequence[int], responses: Sequence[Sequence[int]], room: int
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Prompt and K responses in at most `room` tokens.

    First the beginning of the prompt goes; when no prompt is left, the ends of responses of more
    than room / K tokens.
    """
    kept = [tuple(tokens) for tokens in responses]
    if sum(map(len, kept)) > room:
        kept = [tokens[: room // len(kept)] for tokens in kept]
    left = room - sum(map(len, kept))
    return tuple(prompt[max(len(prompt) - left, 0) :]), kept


def check_max_tokens(policy: Policy, max_tokens: int, least: int) -> None:
    """Raise ValueError when sequences of `max_tokens` do not fit the model or the template."""
    most = getattr(policy.model.config, "max_position_embeddings", None) or max_tokens
    if not least <= max_tokens <= most:
        raise ValueError(
            f"max_tokens: got {max_tokens}, allowed is {least} (what the template needs) to {most} "
            "(the model's positions)"
        )


def scalar_head(policy: Policy, seed: int) -> nn.Linear:
    """A linear map from hidden states (N, D) to one number, normal of deviation 1 / (D + 1).

    Without a bias, which differences of rewards cannot see. Leaves the global random numbers alone.
    """
    like = policy.head.weight
    width = like.shape[1]
    head = nn.utils.skip_init(
        nn.Linear, width, 1, bias=False, dtype=like.dtype, device=policy.device
    )
    draw = torch.randn(1, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_(draw / (width + 1))
    return head


def freeze_unused_output_head(policy: Policy) -> None:
    """An output head that no loss reads gets no gradient, where it is not the embeddings' too."""
    output = policy.model.get_output_embeddings()
    if output.weight is not policy.model.get_input_embeddings().weight:
        output.requires_grad_(False)
