"""Independent probabilities, KLs and gradients of a causal model, by enumeration.

A model is run as transformers runs it, on prompt and response alone, without padding, masks or
chunks; responses of equal length share a batch. Nothing here uses the code under test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

Tokens = tuple[int, ...]


def next_token_log_probs(
    model: nn.Module, prompt: Sequence[int], responses: Sequence[Tokens]
) -> list[Tensor]:
    """For each response, log π(· | prompt, y_<t) at its tokens: (length, V) with gradient."""
    found: dict[int, Tensor] = {}
    for length in sorted({len(tokens) for tokens in responses}):
        which = [i for i, tokens in enumerate(responses) if len(tokens) == length]
        rows = torch.tensor([[*prompt, *responses[i]] for i in which])
        logits = model(input_ids=rows).logits
        log_probs = torch.log_softmax(logits[:, len(prompt) - 1 : -1], -1)
        for place, i in enumerate(which):
            found[i] = log_probs[place]
    return [found[i] for i in range(len(responses))]


def token_log_probs(
    model: nn.Module, prompt: Sequence[int], responses: Sequence[Tokens]
) -> list[Tensor]:
    """For each response, log π(y_t | prompt, y_<t): (length,) with gradient."""
    tables = next_token_log_probs(model, prompt, responses)
    return [
        table[torch.arange(len(tokens)), torch.tensor(tokens)]
        for table, tokens in zip(tables, responses, strict=True)
    ]


def log_probs(model: nn.Module, prompt: Sequence[int], responses: Sequence[Tokens]) -> Tensor:
    """log π(y | prompt) of each response: (R,) with gradient."""
    return torch.stack([parts.sum() for parts in token_log_probs(model, prompt, responses)])


def kl_of_enumeration(log_policy: Tensor, log_other: Tensor) -> Tensor:
    """KL(π ‖ μ) = Σ_y π(y) (log π(y) − log μ(y)) over all responses (R,)."""
    return (log_policy.exp() * (log_policy - log_other)).sum()


def kl_by_token(
    model: nn.Module, other: nn.Module, prompt: Sequence[int], responses: Sequence[Tokens]
) -> list[Tensor]:
    """For each response, KL(π(· | s_t) ‖ μ(· | s_t)) at its tokens: (length,) with gradient."""
    mine = next_token_log_probs(model, prompt, responses)
    theirs = next_token_log_probs(other, prompt, responses)
    return [(p.exp() * (p - q)).sum(-1) for p, q in zip(mine, theirs, strict=True)]


def flat_gradient(value: Tensor, parameters: Iterable[Tensor]) -> Tensor:
    """∇ of a scalar in all parameters, as one vector; zero where it does not depend on one."""
    chosen = list(parameters)
    parts = torch.autograd.grad(value, chosen, retain_graph=True, allow_unused=True)
    return torch.cat(
        [
            torch.zeros_like(p).flatten() if part is None else part.flatten()
            for part, p in zip(parts, chosen, strict=True)
        ]
    )


@torch.no_grad()
def directional_differences(
    value: Callable[[], Tensor],
    parameters: Iterable[Tensor],
    directions: Tensor,
    step: float = 1e-3,
) -> Tensor:
    """d/dε value(θ + ε u) for each row u of `directions`, by central differences.

    Richardson's extrapolation of two steps: the error is of fourth order. The parameters are
    moved in place and moved back.
    """
    chosen = list(parameters)
    start = [p.clone() for p in chosen]
    sizes = [p.numel() for p in chosen]

    def at(direction: Tensor, amount: float) -> Tensor:
        for p, origin, part in zip(chosen, start, direction.split(sizes), strict=True):
            p.copy_(origin + amount * part.view_as(origin))
        return value()

    found = []
    for direction in directions:
        wide = (at(direction, step) - at(direction, -step)) / (2 * step)
        narrow = (at(direction, step / 2) - at(direction, -step / 2)) / step
        found.append((4 * narrow - wide) / 3)
    for p, origin in zip(chosen, start, strict=True):
        p.copy_(origin)
    return torch.stack(found)


def unit_directions(count: int, size: int, seed: int) -> Tensor:
    """(count, size) random directions of length 1."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(count, size, generator=generator, dtype=torch.float64)
    return draw / draw.norm(dim=1, keepdim=True)
