"""Prompts and responses between text and tokens, through a tokenizer's chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class ChatFormat:
    """A tokenizer with its chat template and one system prompt for all.

    Raises ValueError when the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Any, system_prompt: str):
        if tokenizer.chat_template is None:
            raise ValueError(
                "model.path: got a tokenizer without a chat template, allowed is one with it"
            )
        self.tokenizer = tokenizer
        self.system = [{"role": "system", "content": system_prompt}] if system_prompt else []

    def encode(self, text: str) -> list[int]:
        """Token ids of the whole prompt, up to where the assistant's reply begins."""
        messages = [*self.system, {"role": "user", "content": text}]
        ids = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )
        return [int(token) for token in ids]

    def decode(self, ids: Sequence[int]) -> str:
        """A response's text, without special tokens and outer white space."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def end_tokens(self, model: Any) -> tuple[int, ...]:
        """Every id that ends a response: the tokenizer's and those the model's config names."""
        configured = getattr(model.generation_config, "eos_token_id", None)
        listed = configured if isinstance(configured, list) else [configured]
        ids = [self.tokenizer.eos_token_id, *listed]
        return tuple(dict.fromkeys(int(each) for each in ids if each is not None))
