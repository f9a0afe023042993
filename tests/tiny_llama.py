"""Small Llama models in float64, and batches for them, for tests that compare to 1e-6 or better."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from mpo.policy import Policy
from mpo.records import Prompts, Responses
from tests.oracles import all_responses


class DoubleNorm(nn.Module):
    """Llama's RMSNorm, which rounds to float32 inside, without the rounding."""

    def __init__(self, weight: Tensor, epsilon: float):
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.epsilon = epsilon

    def forward(self, hidden: Tensor) -> Tensor:
        variance = hidden.pow(2).mean(-1, keepdim=True)
        return self.weight * hidden * torch.rsqrt(variance + self.epsilon)


def tiny_llama(
    vocabulary: int = 4,
    seed: int = 0,
    layers: int = 2,
    width: int = 16,
    tied: bool = False,
    attention: str = "sdpa",
) -> LlamaForCausalLM:
    """A float64 model whose next-token distributions are far from uniform and from each other."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=None,
        attn_implementation=attention,
    )
    model = LlamaForCausalLM(config).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(1 + 0.2 * draw if "norm" in name else 0.5 * draw)
    parents = [model.model, *model.model.layers]
    for parent in parents:
        for name, child in parent.named_children():
            if name.endswith("norm"):
                setattr(parent, name, DoubleNorm(child.weight.data, config.rms_norm_eps))
    return model


def near(model: LlamaForCausalLM, seed: int, scale: float = 0.1) -> None:
    """Move a model's trainable weights by a random step, in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.add_(scale * draw)


def prompts_of(rows: Sequence[Sequence[int]], width: int = 0, fill: int = 0) -> Prompts:
    """Prompts padded on the right with `fill` to at least `width`; their keys count from 100."""
    longest = max(width, *(len(row) for row in rows))
    ids = torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    texts = tuple(" ".join(map(str, row)) for row in rows)
    return Prompts(ids, lengths, torch.arange(100, 100 + len(rows)), texts)


def responses_of(
    groups: Sequence[Sequence[Sequence[int]]], eos: int, fill: int | None = None, width: int = 0
) -> Responses:
    """Responses (B, n) given by the tokens that count, padded on the right, by default with EOS."""
    longest = max(width, *(len(tokens) for group in groups for tokens in group))
    pad = eos if fill is None else fill
    ids = [[[*tokens, *[pad] * (longest - len(tokens))] for tokens in group] for group in groups]
    lengths = [[len(tokens) for tokens in group] for group in groups]
    ended = [[tokens[-1] == eos for tokens in group] for group in groups]
    return Responses(torch.tensor(ids), torch.tensor(lengths), torch.tensor(ended))


def every_response(prompts: int, symbols: int, max_tokens: int) -> Responses:
    """(B, R, T): all responses over the symbols, EOS = symbols, for each prompt."""
    return responses_of([all_responses(symbols, max_tokens)] * prompts, eos=symbols)


def frozen_twin(policy: Policy, seed: int | None = None, scale: float = 0.3) -> Policy:
    """A frozen copy, with other moving weights when a seed is given."""
    twin = policy.frozen_copy()
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for _, parameter in twin.moving_parameters():
                draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.add_(scale * draw)
    return twin
