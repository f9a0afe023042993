"""The engine's scores of enumerated responses, and gradients weighted by their probabilities."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mpo.divergences import token_scores
from mpo.logprobs import frozen_scores
from mpo.objectives.protocol import BEHAVIOUR, MAGNET
from mpo.policy import Policy
from mpo.records import Prompts, Responses, Rollout, Scores


def engine_scores(
    policy: Policy,
    frozen: dict[str, Policy],
    prompts: Prompts,
    responses: Responses,
    chunk: int = 2**20,
) -> Scores:
    """π_θ's scores of the responses and exact KLs to the frozen models, made as the engine does."""
    layout = policy.layout(prompts, responses)
    mask = responses.mask
    tokens = responses.ids[mask]
    references = []
    for model in frozen.values():
        with torch.no_grad():
            hidden = model.hidden(layout)[mask]
        references.append(frozen_scores(hidden, model.head, tokens, chunk))
    scored = token_scores(policy.hidden(layout)[mask], policy.head, tokens, references, chunk)

    def dense(values: Tensor) -> Tensor:
        return torch.zeros(mask.shape, dtype=values.dtype).masked_scatter(mask, values)

    return Scores(
        dense(scored.logprobs),
        dense(scored.entropy),
        {name: dense(kl) for name, kl in zip(frozen, scored.kl, strict=True)},
        {name: dense(r.logprobs) for name, r in zip(frozen, references, strict=True)},
        mask,
        None,
        mask.shape[0],
    )


def at_start(policy: Policy, magnet: Policy, prompts: Prompts, responses: Responses) -> Scores:
    """Scores at θ = θ_k: the behaviour policy is a copy of the policy as it is now."""
    behaviour = policy.frozen_copy()
    return engine_scores(policy, {BEHAVIOUR: behaviour, MAGNET: magnet}, prompts, responses)


def detached(scores: Scores) -> Scores:
    """The scores without their graph."""
    return scores._replace(
        logprobs=scores.logprobs.detach(),
        entropy=scores.entropy.detach(),
        kl={name: kl.detach() for name, kl in scores.kl.items()},
    )


def outcomes(scores: Scores, index: Tensor) -> Scores:
    """One prompt's scores (1, R, T), rearranged to (B, n, T) outcomes: index is (B, n) into R."""
    return scores._replace(
        logprobs=scores.logprobs[0][index],
        entropy=scores.entropy[0][index],
        kl={name: kl[0][index] for name, kl in scores.kl.items()},
        other_logprobs={name: each[0][index] for name, each in scores.other_logprobs.items()},
        mask=scores.mask[0][index],
        total_prompts=index.shape[0],
    )


def rollout_of(
    wins: Tensor,
    compared: Tensor | None = None,
    greedy_wins: Tensor | None = None,
    iteration: int = 0,
    iterations: int = 1,
) -> Rollout:
    """A rollout that holds what targets read: wins (B, n, k), all compared unless said."""
    batch, n, k = wins.shape
    texts = tuple(("",) * n for _ in range(batch))
    zeros = torch.zeros(batch, 1, dtype=torch.long)
    prompts = Prompts(zeros, zeros[:, 0] + 1, zeros[:, 0], ("",) * batch)
    one = zeros.expand(batch, n)
    responses = Responses(one[..., None], one + 1, one > 0)
    compared = torch.ones_like(wins, dtype=torch.bool) if compared is None else compared
    return Rollout(
        iteration,
        iterations,
        prompts,
        responses,
        texts,
        None,
        tuple(("",) * k for _ in range(batch)),
        wins,
        compared,
        greedy_wins,
        int(compared.sum()),
        batch * n,
        batch * n,
    )


def weighted_gradient(
    objective: Any, targets: Any, scores: Scores, weights: Tensor, parameters: list[Tensor]
) -> Tensor:
    """Σ_b weights[b] · ∇ (loss of outcome b), one vector: the loss's exact expectation when the
    weights are the probabilities of the B outcomes.

    The loss is a sum over outcomes divided by B (`total_prompts`), so that its gradient in the
    scores is taken outcome by outcome, weighted, and carried on to the parameters.
    """
    leaves = scores._replace(
        logprobs=scores.logprobs.detach().requires_grad_(),
        kl={name: kl.detach().requires_grad_() for name, kl in scores.kl.items()},
    )
    loss, _ = objective.loss(leaves, targets)
    # A KL that a method only logs has no gradient: zeros.
    inner = torch.autograd.grad(
        loss, [leaves.logprobs, *leaves.kl.values()], allow_unused=True, materialize_grads=True
    )
    scale = weights[:, None, None] * scores.total_prompts
    parts = torch.autograd.grad(
        [scores.logprobs, *scores.kl.values()],
        parameters,
        [part * scale for part in inner],
        retain_graph=True,
        allow_unused=True,
    )
    return torch.cat(
        [
            torch.zeros_like(p).flatten() if part is None else part.flatten()
            for part, p in zip(parts, parameters, strict=True)
        ]
    )
