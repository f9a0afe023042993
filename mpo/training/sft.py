"""Supervised fine-tuning: imitate responses (paper, appendix B.2 and Table 6)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mpo.chat import ChatFormat
from mpo.divergences import token_scores
from mpo.judges.token_fields import text_tokens
from mpo.policy import Policy
from mpo.records import Metrics, Weighted
from mpo.training.records import Example, Unit


class SupervisedModel(nn.Module):
    """A policy with the cross-entropy of demonstrated responses,

        loss(x, y) = − Σ_t log π_θ(y_t | x, y_<t),

    over the response's tokens and the end token, never the prompt's. `chunk` logits are in memory
    at a time. Raises ValueError when the policy's temperature is not 1, or when neither tokenizer
    nor model names an end token.
    """

    def __init__(self, policy: Policy, chat: ChatFormat, chunk: int = 2**23):
        super().__init__()
        if policy.temperature != 1.0:
            raise ValueError(f"temperature: got {policy.temperature}, allowed is 1")
        self.policy, self.chat, self.chunk = policy, chat, chunk
        self.end = _end_token(chat, policy)

    def encode(self, record: Example) -> Unit:
        """The prompt in the chat format, the response's tokens, the end token.

        Raises ValueError for a response of no text.
        """
        if not record.response.strip():
            raise ValueError(f"response: got {record.response!r}, allowed is text, for {record}")
        prompt = self.chat.encode(record.prompt)
        wanted = (*text_tokens(self.chat, record.response.strip()), self.end)
        # The end token predicts nothing.
        sequence = (*prompt, *wanted[:-1])
        places = tuple(range(len(prompt) - 1, len(sequence)))
        return Unit((sequence,), (places,), len(wanted), wanted)

    def loss(self, hidden: Tensor, units: Sequence[Unit]) -> tuple[Tensor, Metrics]:
        """Σ −log π_θ of the units' tokens, and the mean entropy at them."""
        tokens = torch.tensor([token for unit in units for token in unit.tokens])
        scored = token_scores(hidden, self.policy.head, tokens.to(hidden.device), (), self.chunk)
        entropy = Weighted(scored.entropy.detach().mean(), len(tokens))
        return -scored.logprobs.sum(), {"token_entropy": entropy}


def _end_token(chat: ChatFormat, policy: Policy) -> int:
    """The end token that the chat template writes after a reply, else the tokenizer's."""
    ends = chat.end_tokens(policy.model)
    if not ends:
        raise ValueError("model.path: got a model without an end token, allowed is one with it")
    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello"}]
    written = chat.tokenizer.apply_chat_template(turns, return_dict=False)
    return next((int(token) for token in reversed(written) if token in ends), ends[0])
