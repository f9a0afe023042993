"""Sampling responses with random numbers keyed by what they are for.

A response's uniforms depend on (seed, stream, iteration, prompt, response index) alone, so that
micro-batches, ranks and the number of responses change nothing. Tokens are drawn by inverting the
distribution function at the uniform.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from mpo.policy import Policy
from mpo.records import Prompts, Responses

COMPACT_BELOW = 0.9
"""Finished responses leave the batch when fewer than this share of its rows still grows."""


def keyed_uniforms(
    seed: int, stream: int, iteration: int, keys: Tensor, responses: int, tokens: int
) -> Tensor:
    """Uniforms in [0, 1): (B, n, T) float64; row (prompt, i) does not depend on n or on B.

    `stream` separates uses (policy, opponent, evaluation) of the same seed.
    """
    rows = []
    for key in keys.tolist():
        entropy = np.random.SeedSequence([seed, stream, iteration, key])
        rows.append(np.random.Generator(np.random.Philox(entropy)).random((responses, tokens)))
    return torch.from_numpy(np.stack(rows))


def sample(
    policy: Policy,
    prompts: Prompts,
    uniforms: Tensor,
    end_tokens: tuple[int, ...],
    greedy: bool = False,
) -> Responses:
    """n sampled responses a prompt, and with `greedy` the greedy one after them: (B, n[+1], T).

    uniforms is (B, n, max_tokens). A response ends with one of `end_tokens`, which counts, or is
    truncated at max_tokens. Ids after the end are the first end token. T is the longest response's
    length. The distribution is the policy's at its temperature, not truncated.
    """
    training = policy.model.training
    # Under gradient checkpointing a block in training mode drops its key-value cache.
    policy.model.eval()
    try:
        return _sample(policy, prompts, uniforms, end_tokens, greedy)
    finally:
        policy.model.train(training)


@torch.no_grad()
def _sample(
    policy: Policy,
    prompts: Prompts,
    uniforms: Tensor,
    end_tokens: tuple[int, ...],
    greedy: bool,
) -> Responses:
    batch, n, max_tokens = uniforms.shape
    each = n + greedy
    if greedy:
        uniforms = torch.cat([uniforms, torch.full((batch, 1, max_tokens), -1.0)], 1)
    draws = uniforms.reshape(batch * each, max_tokens).to(policy.device)
    ends = torch.tensor(end_tokens, device=policy.device)
    ids = torch.full((batch * each, max_tokens), end_tokens[0], device=policy.device)
    lengths = torch.full((batch * each,), max_tokens, device=policy.device)
    ended = torch.zeros(batch * each, dtype=torch.bool, device=policy.device)
    alive = torch.arange(batch * each, device=policy.device)

    decoder, head = policy.decoder, policy.head
    cache = DynamicCache()
    padded, counts = _left_padded(prompts)
    hidden = decoder(
        input_ids=padded,
        attention_mask=counts,
        position_ids=(counts.cumsum(-1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state[:, -1]
    hidden = hidden.repeat_interleave(each, 0)
    counts = counts.repeat_interleave(each, 0)
    if each > 1:
        cache.batch_repeat_interleave(each)
    for step in range(max_tokens):
        tokens = _draw(head.logits(hidden), draws[alive, step])
        ids[alive, step] = tokens
        stops = torch.isin(tokens, ends) & ~ended[alive]
        ended[alive[stops]] = True
        lengths[alive[stops]] = step + 1
        if step == max_tokens - 1 or bool(ended[alive].all()):
            break
        # Rows that have ended are kept as dead weight until enough of them can leave at once.
        running = ~ended[alive]
        if running.float().mean() < COMPACT_BELOW:
            keep = running.nonzero()[:, 0]
            alive, tokens, counts = alive[keep], tokens[keep], counts[keep]
            cache.batch_select_indices(keep)
        positions = counts.sum(-1, keepdim=True)
        counts = torch.cat([counts, torch.ones_like(counts[:, :1])], 1)
        hidden = decoder(
            input_ids=tokens[:, None],
            attention_mask=counts,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state[:, -1]
    longest = int(lengths.max())
    steps = torch.arange(max_tokens, device=policy.device)
    ids = torch.where(steps < lengths[:, None], ids, end_tokens[0])[:, :longest]
    shape = (batch, each)
    return Responses(ids.view(*shape, longest), lengths.view(shape), ended.view(shape))


def _left_padded(prompts: Prompts) -> tuple[Tensor, Tensor]:
    width = prompts.ids.shape[1]
    shift = width - prompts.lengths[:, None]
    source = torch.arange(width, device=prompts.ids.device) - shift
    counts = (source >= 0).long()
    return prompts.ids.gather(1, source.clamp(min=0)), counts


def _draw(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Token ids (N,): the inverse distribution function at the uniforms, argmax where negative."""
    cumulative = torch.softmax(logits, -1).to(torch.float64).cumsum(-1)
    target = (uniforms.clamp(min=0) * cumulative[:, -1]).unsqueeze(-1)
    drawn = torch.searchsorted(cumulative, target, right=True).squeeze(-1)
    drawn = drawn.clamp(max=logits.shape[-1] - 1)
    return torch.where(uniforms < 0, logits.argmax(-1), drawn)
