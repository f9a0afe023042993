"""Whether a trained model was trained on the token sequences that it would now be given.

A reward or preference model reads a prompt in the chat format of its training. Another tokenizer,
chat template or system prompt gives it sequences of another kind, and quietly wrong answers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

PROBE_TEXT = "Hello,  world!\nIt's 2024: naïve café, 你好 🙂 (x+1)**2 == 'y'\t_end."
"""Shows how a tokenizer splits and merges, apart from its vocabulary."""


def tokenizer_sha256(tokenizer: Any) -> str:
    """A hash of the vocabulary, the special tokens and how a text with all kinds of characters is
    split; the same for a tokenizer that was saved and loaded again."""
    content = {
        "vocabulary": tokenizer.get_vocab(),
        "special": {
            str(token): tokenizer.convert_tokens_to_ids(str(token))
            for token in sorted(map(str, tokenizer.all_special_tokens))
        },
        "end": tokenizer.eos_token_id,
        "probe": tokenizer(PROBE_TEXT, add_special_tokens=False)["input_ids"],
    }
    return _sha256(json.dumps(content, sort_keys=True))


def template_sha256(tokenizer: Any) -> str:
    """A hash of the chat template."""
    return _sha256(str(tokenizer.chat_template))


def fit_problems(about: Mapping[str, Any], tokenizer: Any, system_prompt: str) -> list[str]:
    """What differs between the model of an about.json and a policy; empty when nothing does.

    Needs no weights. `system_prompt` is the policy's, "" for none.
    """
    kind = f"{about['kind']} model trained on {about['model']!r}"
    found = {
        "tokenizer": (tokenizer_sha256(tokenizer), about["tokenizer_sha256"]),
        "chat template": (template_sha256(tokenizer), about["template_sha256"]),
    }
    problems = [
        f"{field}: got one with sha256 {mine[:12]}…, allowed is that of the {kind}, {theirs[:12]}…"
        for field, (mine, theirs) in found.items()
        if mine != theirs
    ]
    if system_prompt != about["system_prompt"]:
        problems.append(
            f"system_prompt: got {system_prompt!r}, allowed is that of the {kind}, "
            f"{about['system_prompt']!r}"
        )
    return problems


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
