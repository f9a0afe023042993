"""The network of both seats: from what a player knows to the logits of its actions."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

ILLEGAL = -1e9
"""Logit of an action that is not there: its probability is exactly 0 and its KL is finite."""


class InfosetNetwork(nn.Module):
    """A multi-layer perceptron over features (I, F), evaluated on all information sets at once.

    A game has few information sets, of which the episodes of a batch visit each many times: one
    pass over all of them costs less than one over every visit, and gives the same gradient.
    """

    def __init__(self, features: Tensor, outputs: int, hidden: int, layers: int, seed: int):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("features", features.to(torch.get_default_dtype()))
        sizes = [features.shape[1], *[hidden] * layers, outputs]
        linear = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
        for layer in linear:
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)
        # Near the uniform policy (and the value 0), whatever the seed.
        nn.init.xavier_uniform_(linear[-1].weight, gain=0.1, generator=generator)
        parts: list[nn.Module] = [linear[0]]
        for layer in linear[1:]:
            parts += [nn.ReLU(), layer]
        self.body = nn.Sequential(*parts)

    def forward(self) -> Tensor:
        """(I, outputs)."""
        assert isinstance(self.features, Tensor)
        found = self.body(self.features)
        assert isinstance(found, Tensor)
        return found


def log_policy(logits: Tensor, legal: Tensor) -> Tensor:
    """(I, V) log π(a | i) over the legal actions; exp of the others is 0."""
    return logits.masked_fill(~legal, ILLEGAL).log_softmax(-1)
