"""A Llama of width 32 with a tokenizer of its own and prompts, saved as a user would bring them."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mpo.prompts import load_prompts, split_prompts

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TOPICS = ("rain", "tea", "music", "the sea", "a garden", "snow", "bread", "a train", "the moon")
QUESTIONS = ("What do you think of {}?", "Tell me about {}.", "Do you like {}?", "Why {}?")


def sentences() -> list[str]:
    """36 prompts."""
    return [question.format(topic) for topic in TOPICS for question in QUESTIONS]


def save_prompts(file: Path) -> dict[str, int]:
    """A prompt a line; how many fall into each split."""
    file.write_text("".join(f"{line}\n" for line in sentences()), encoding="utf-8")
    return {name: len(split) for name, split in split_prompts(load_prompts(file)).items()}


def save_model(folder: Path) -> None:
    """Byte-level BPE, a chat template, and the end token as padding, as SmolLM2 has them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>"
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.1,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    prompt = fast.apply_chat_template(
        [{"role": "user", "content": "Why rain?"}], add_generation_prompt=True, return_dict=False
    )
    with torch.no_grad():
        # Otherwise one token in 300 would end a response, and none of such short ones would end.
        state = model.model(input_ids=torch.tensor([prompt])).last_hidden_state[0, -1]
        model.lm_head.weight[fast.eos_token_id] = 6.0 * state / (state @ state)
    model.save_pretrained(folder)
