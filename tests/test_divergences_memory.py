from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mpo.divergences import token_scores
from mpo.logprobs import Head, frozen_scores
from tests.live_bytes import peak_bytes

WIDTH = 4
BYTES = 8
CHUNK = 2**14
"""Logits a chunk: 16 positions of the small vocabulary."""
SMALL_V, LARGE_V = 1024, 4096
SMALL_N, LARGE_N = 64, 256
"""Positions B × T at two lengths T of the same batch."""

Score = Callable[[Tensor, Head, Tensor, list[tuple[Tensor, Head]]], Tensor]


def chunked(
    hidden: Tensor, head: Head, tokens: Tensor, references: list[tuple[Tensor, Head]]
) -> Tensor:
    kept = [frozen_scores(states, other, tokens, CHUNK) for states, other in references]
    scored = token_scores(hidden, head, tokens, kept, CHUNK)
    return scored.logprobs.sum() + scored.entropy.sum() + sum(kl.sum() for kl in scored.kl)


def full_logits(
    hidden: Tensor, head: Head, tokens: Tensor, references: list[tuple[Tensor, Head]]
) -> Tensor:
    mine = torch.log_softmax(head.logits(hidden), -1)
    probs = mine.exp()
    total = mine.gather(-1, tokens[:, None]).sum() - (probs * mine).sum()
    for states, other in references:
        total = total + (probs * (mine - torch.log_softmax(other.logits(states), -1))).sum()
    return total


def peak(score: Score, positions: int, vocabulary: int, trains: bool, shared: bool) -> int:
    """Bytes of forward and backward beyond inputs and gradients of the inputs and the head."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    hidden = draw(positions, WIDTH).requires_grad_()
    head = Head(draw(vocabulary, WIDTH).requires_grad_(trains))
    other = head if shared else Head(draw(vocabulary, WIDTH))
    references = [(draw(positions, WIDTH), other), (draw(positions, WIDTH), other)]
    tokens = torch.randint(vocabulary, (positions,), generator=generator)
    existing = [hidden, head.weight, other.weight, tokens, *(states for states, _ in references)]
    most = peak_bytes(lambda: score(hidden, head, tokens, references).backward(), existing)
    assert hidden.grad is not None
    outputs = hidden.grad.nbytes
    if trains:
        assert head.weight.grad is not None
        outputs += head.weight.grad.nbytes
    return most - outputs


CASES = [
    pytest.param(False, True, id="shared frozen head"),
    pytest.param(False, False, id="frozen heads"),
    pytest.param(True, False, id="head that trains"),
]


def vectors(positions: int) -> int:
    """Bytes that a few numbers a position take: hidden states and token scores, never logits."""
    return 40 * positions * BYTES


@pytest.mark.parametrize("trains, shared", CASES)
@pytest.mark.parametrize("vocabulary", [SMALL_V, LARGE_V])
def test_the_peak_holds_one_chunk_whatever_the_length(
    vocabulary: int, trains: bool, shared: bool
) -> None:
    short = peak(chunked, SMALL_N, vocabulary, trains, shared)
    long = peak(chunked, LARGE_N, vocabulary, trains, shared)
    assert short > CHUNK * BYTES
    assert long - short < vectors(LARGE_N - SMALL_N)
    # Far less than a single tensor of the added positions' logits.
    assert vectors(LARGE_N - SMALL_N) < (LARGE_N - SMALL_N) * vocabulary * BYTES / 20


@pytest.mark.parametrize("trains, shared", CASES)
@pytest.mark.parametrize("positions", [SMALL_N, LARGE_N])
def test_the_peak_holds_one_chunk_whatever_the_vocabulary(
    positions: int, trains: bool, shared: bool
) -> None:
    small = peak(chunked, positions, SMALL_V, trains, shared)
    large = peak(chunked, positions, LARGE_V, trains, shared)
    # A head that trains gets its gradient from each chunk: one more (V, D) while it is added.
    added = (LARGE_V - SMALL_V) * WIDTH * BYTES if trains else 0
    assert large - small < 2 * added + CHUNK * BYTES / 4


@pytest.mark.parametrize("trains, shared", CASES)
def test_full_logits_grow_with_both(trains: bool, shared: bool) -> None:
    short = peak(full_logits, SMALL_N, SMALL_V, trains, shared)
    long = peak(full_logits, LARGE_N, SMALL_V, trains, shared)
    wide = peak(full_logits, SMALL_N, LARGE_V, trains, shared)
    assert long - short > (LARGE_N - SMALL_N) * SMALL_V * BYTES
    assert wide - short > SMALL_N * (LARGE_V - SMALL_V) * BYTES


def test_the_counter_counts_what_the_graph_saves() -> None:
    weight = torch.ones(1000, dtype=torch.float64, requires_grad=True)

    def twice_saved() -> Tensor:
        return torch.exp(torch.exp(weight)).sum()

    # Both exponentials are saved for the backward pass; without a graph the first is freed.
    with torch.no_grad():
        freed = peak_bytes(lambda: [twice_saved() for _ in range(3)], [weight])
    assert freed <= 2 * weight.nbytes + 4 * BYTES
    held = peak_bytes(lambda: [twice_saved() for _ in range(3)], [weight])
    assert held >= 6 * weight.nbytes


def test_values_of_the_two_are_equal() -> None:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(40, WIDTH, generator=generator, dtype=torch.float64)
    states = torch.randn(40, WIDTH, generator=generator, dtype=torch.float64)
    head = Head(torch.randn(SMALL_V, WIDTH, generator=generator, dtype=torch.float64))
    tokens = torch.randint(SMALL_V, (40,), generator=generator)
    torch.testing.assert_close(
        chunked(hidden, head, tokens, [(states, head)]),
        full_logits(hidden, head, tokens, [(states, head)]),
        rtol=1e-10,
        atol=0,
    )
