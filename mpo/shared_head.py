"""The scores of a policy whose frozen output head is also its references' head.

With a frozen linear head W the next-token distributions of policy and references are members of
one exponential family with natural parameter h, log-normaliser A(h) = log Σ_v exp(w_v·h + b_v) and
mean e = ∇A(h) = Σ_v π(v) w_v. The KL is then the Bregman divergence of A,

    KL(π_h ‖ π_g) = A(g) − A(h) − e·(g − h),    ∇_h KL = Cov_π(W) (h − g),

so that one product with W gives the KLs to any number of references, and their gradients need no
logits of the references either. Both passes stream over chunks of positions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mpo.logprobs import Head, chunk_rows


class SharedHeadScores(torch.autograd.Function):
    """(log π(y_t), entropy, A, KL to each of K references), each (N,), K as (K, N).

    Inputs: hidden (N, D), references (K, N, D) hidden states, their normalisers (K, N), tokens
    (N,) ids, a frozen head, and how many logits a chunk holds. Differentiable in hidden, once.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        references: Tensor,
        normalisers: Tensor,
        tokens: Tensor,
        head: Head,
        chunk: int,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The scores; keeps hidden states, e and A, never logits."""
        logprob, entropy, normaliser, mean = [], [], [], []
        rows = chunk_rows(head, chunk)
        for part, ids in zip(hidden.split(rows), tokens.split(rows), strict=True):
            logits = head.logits(part)
            top = logits.max(-1, keepdim=True).values
            chosen = logits.gather(-1, ids[:, None])[:, 0]
            # In place: the chunk's logits are the largest thing in memory.
            probs = logits.sub_(top).exp_()
            total = probs.sum(-1, keepdim=True)
            probs.div_(total)
            lse = (top + total.log())[:, 0]
            scaled = (probs @ head.weight) / head.temperature
            expected = (scaled * part).sum(-1)
            if head.bias is not None:
                expected = expected + (probs @ head.bias) / head.temperature
            logprob.append(chosen - lse)
            entropy.append(lse - expected)
            normaliser.append(lse)
            mean.append(scaled)
        lse, e = torch.cat(normaliser), torch.cat(mean)
        kl = normalisers - lse - (e * (references - hidden)).sum(-1)
        ctx.save_for_backward(hidden, references, tokens, lse, e)
        ctx.head, ctx.rows = head, rows
        return torch.cat(logprob), torch.cat(entropy), lse, kl

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, d_logprob: Tensor, d_entropy: Tensor, d_normaliser: Tensor, d_kl: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Gradient in hidden: the KLs and the entropy through one covariance-vector product."""
        hidden, references, tokens, lse, e = ctx.saved_tensors
        head: Head = ctx.head
        weight, tau = head.weight, head.temperature
        direction = (d_kl[..., None] * (hidden - references)).sum(0) - d_entropy[:, None] * hidden
        gradient = d_logprob[:, None] * (weight[tokens] / tau - e) + d_normaliser[:, None] * e
        for start in range(0, hidden.shape[0], ctx.rows):
            part = slice(start, start + ctx.rows)
            probs = head.logits(hidden[part]).sub_(lse[part, None]).exp_()
            along = direction[part] @ weight.T
            if head.bias is not None:
                along.sub_(d_entropy[part, None] * head.bias)
            weighted = probs.mul_(along).div_(tau)
            spread = (weighted @ weight) / tau
            gradient[part] += spread - weighted.sum(-1, keepdim=True) * e[part]
        return gradient, None, None, None, None, None
