from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mpo.divergences import TokenScores, token_scores
from mpo.logprobs import Head, frozen_scores
from mpo.objectives.protocol import MAGNET
from mpo.policy import Policy
from tests.enumerated_scores import engine_scores
from tests.kl_oracles import kl_by_token, kl_of_enumeration, log_probs
from tests.oracles import all_responses
from tests.tiny_llama import every_response, frozen_twin, prompts_of, tiny_llama

SYMBOLS, MAX_TOKENS = 3, 3
POSITIONS, WIDTH, VOCABULARY = 7, 5, 6
TOLERANCE = {"rtol": 1e-10, "atol": 1e-12}


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_head(seed: int, width: int = WIDTH, **fields: object) -> Head:
    return Head(normal(VOCABULARY, width, seed=seed), **fields)


def tokens_of(seed: int = 9, count: int = POSITIONS) -> Tensor:
    return torch.randint(VOCABULARY, (count,), generator=torch.Generator().manual_seed(seed))


def logits_of(hidden: Tensor, head: Head) -> Tensor:
    """The head's logits, written out."""
    logits = hidden @ head.weight.T
    if head.bias is not None:
        logits = logits + head.bias
    if head.softcap is not None:
        logits = head.softcap * torch.tanh(logits / head.softcap)
    return logits / head.temperature


def log_softmax_of(hidden: Tensor, head: Head) -> Tensor:
    return torch.log_softmax(logits_of(hidden, head), -1)


def plain_scores(
    hidden: Tensor, head: Head, tokens: Tensor, references: list[tuple[Tensor, Head]]
) -> list[Tensor]:
    """Log-probabilities, entropy, normalisers, then KLs, from full logits."""
    mine = log_softmax_of(hidden, head)
    probs = mine.exp()
    found = [mine[torch.arange(len(tokens)), tokens], -(probs * mine).sum(-1)]
    found.append(torch.log(torch.exp(logits_of(hidden, head)).sum(-1)))
    for other_hidden, other in references:
        found.append((probs * (mine - log_softmax_of(other_hidden, other))).sum(-1))
    return found


def columns(scores: TokenScores) -> list[Tensor]:
    return [scores.logprobs, scores.entropy, scores.log_normaliser, *scores.kl]


def gradients(parts: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """Gradients of a fixed random mix of the columns, so that none can hide behind another."""
    mix = sum((part * normal(*part.shape, seed=50 + i)).sum() for i, part in enumerate(parts))
    return list(torch.autograd.grad(mix, inputs))


@pytest.mark.parametrize("train_blocks", [None, 1])
def test_sequential_kl_is_the_kl_of_the_enumerated_responses(train_blocks: int | None) -> None:
    policy = Policy(tiny_llama(SYMBOLS + 1), train_blocks)
    magnet = frozen_twin(policy, seed=1)
    rows = [[1, 2], [0]]
    prompts, responses = prompts_of(rows), every_response(2, SYMBOLS, MAX_TOKENS)
    found = all_responses(SYMBOLS, MAX_TOKENS)
    scores = engine_scores(policy, {MAGNET: magnet}, prompts, responses)
    for x, prompt in enumerate(rows):
        mine = log_probs(policy.model, prompt, found)
        theirs = log_probs(magnet.model, prompt, found)
        torch.testing.assert_close(mine.exp().sum(), torch.tensor(1.0, dtype=torch.float64))
        wanted = kl_of_enumeration(mine, theirs)
        got = (mine.exp() * scores.kl[MAGNET][x].sum(-1)).sum()
        assert float(wanted.detach()) > 0.05
        torch.testing.assert_close(got, wanted, **TOLERANCE)
        torch.testing.assert_close(scores.logprobs[x].sum(-1), mine, **TOLERANCE)


def test_kl_of_each_token_and_zero_where_none_counts() -> None:
    policy = Policy(tiny_llama(SYMBOLS + 1))
    magnet = frozen_twin(policy, seed=1)
    found = all_responses(SYMBOLS, MAX_TOKENS)
    responses = every_response(1, SYMBOLS, MAX_TOKENS)
    scores = engine_scores(policy, {MAGNET: magnet}, prompts_of([[2]]), responses)
    wanted = kl_by_token(policy.model, magnet.model, [2], found)
    for row, kl in zip(scores.kl[MAGNET][0], wanted, strict=True):
        torch.testing.assert_close(row[: len(kl)], kl, **TOLERANCE)
        assert (row[len(kl) :] == 0).all()


@pytest.mark.parametrize(
    "name, mine, other",
    [
        ("other head", random_head(1), random_head(2)),
        ("other width", random_head(1), random_head(2, width=3)),
        (
            "softcap",
            random_head(1, softcap=1.5),
            random_head(2, softcap=1.5, temperature=0.7),
        ),
        (
            "bias and temperature",
            random_head(1, bias=normal(VOCABULARY, seed=3), temperature=1.7),
            random_head(2, bias=normal(VOCABULARY, seed=4), temperature=0.6),
        ),
    ],
)
def test_scores_under_different_heads(name: str, mine: Head, other: Head) -> None:
    hidden = normal(POSITIONS, WIDTH, seed=5).requires_grad_()
    weight = mine.weight.clone().requires_grad_()
    mine = mine._replace(weight=weight)
    frozen = normal(POSITIONS, other.weight.shape[1], seed=6)
    tokens = tokens_of()
    kept = frozen_scores(frozen, other, tokens, 10**6)
    torch.testing.assert_close(
        kept.logprobs, log_softmax_of(frozen, other)[torch.arange(POSITIONS), tokens], **TOLERANCE
    )
    wanted = plain_scores(hidden, mine, tokens, [(frozen, other)])
    got = columns(token_scores(hidden, mine, tokens, [kept], 10**6))
    torch.testing.assert_close(got, wanted, **TOLERANCE)
    torch.testing.assert_close(
        gradients(got, [hidden, weight]), gradients(wanted, [hidden, weight]), **TOLERANCE
    )


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 0.6},
        {"bias": normal(VOCABULARY, seed=3)},
        {"bias": normal(VOCABULARY, seed=3), "temperature": 1.8},
    ],
)
def test_a_shared_frozen_head_gives_the_kl_of_the_direct_form(fields: dict[str, object]) -> None:
    head = random_head(1, **fields)
    # The same numbers in another tensor: the direct form, with the reference's own logits.
    twin = head._replace(weight=head.weight.clone())
    assert head.is_linear_in(head)
    assert not head.is_linear_in(twin)
    hidden = normal(POSITIONS, WIDTH, seed=5).requires_grad_()
    tokens = tokens_of()
    others = [normal(POSITIONS, WIDTH, seed=seed) for seed in (6, 7)]
    short = [frozen_scores(other, head, tokens, 10**6) for other in others]
    direct = [frozen_scores(other, twin, tokens, 10**6) for other in others]
    got = columns(token_scores(hidden, head, tokens, short, 10**6))
    long = columns(token_scores(hidden, head, tokens, direct, 10**6))
    wanted = plain_scores(hidden, head, tokens, [(other, head) for other in others])
    torch.testing.assert_close(got, wanted, **TOLERANCE)
    torch.testing.assert_close(long, wanted, **TOLERANCE)
    torch.testing.assert_close(gradients(got, [hidden]), gradients(wanted, [hidden]), **TOLERANCE)


@pytest.mark.parametrize(
    "other",
    [
        {"softcap": 2.0},
        {"temperature": 0.5},
        {"bias": normal(VOCABULARY, seed=3)},
    ],
)
def test_a_head_that_differs_in_more_than_its_weights_is_not_the_same(
    other: dict[str, object],
) -> None:
    head = random_head(1)
    changed = head._replace(**other)
    hidden, frozen = normal(POSITIONS, WIDTH, seed=5), normal(POSITIONS, WIDTH, seed=6)
    tokens = tokens_of()
    kept = frozen_scores(frozen, changed, tokens, 10**6)
    got = columns(token_scores(hidden, head, tokens, [kept], 10**6))
    wanted = plain_scores(hidden, head, tokens, [(frozen, changed)])
    torch.testing.assert_close(got, wanted, **TOLERANCE)


@pytest.mark.parametrize("chunk", [1, 2 * VOCABULARY, 3 * VOCABULARY + 1, 6 * VOCABULARY])
@pytest.mark.parametrize("shared", [True, False])
def test_chunks_change_nothing(chunk: int, shared: bool) -> None:
    head = random_head(1, bias=normal(VOCABULARY, seed=3), temperature=0.8)
    other = head if shared else random_head(2)
    hidden = normal(POSITIONS, WIDTH, seed=5).requires_grad_()
    inputs = [hidden]
    if not shared:
        weight = head.weight.clone().requires_grad_()
        head, inputs = head._replace(weight=weight), [hidden, weight]
    frozen, tokens = normal(POSITIONS, WIDTH, seed=6), tokens_of()
    whole, parts = (frozen_scores(frozen, other, tokens, size) for size in (10**6, chunk))
    torch.testing.assert_close(parts[2:], whole[2:], **TOLERANCE)
    wanted = columns(token_scores(hidden, head, tokens, [whole], 10**6))
    got = columns(token_scores(hidden, head, tokens, [parts], chunk))
    torch.testing.assert_close(got, wanted, **TOLERANCE)
    torch.testing.assert_close(gradients(got, inputs), gradients(wanted, inputs), **TOLERANCE)


def test_references_under_the_shared_head_and_under_another_together() -> None:
    head, other = random_head(1, temperature=0.7), random_head(2)
    hidden = normal(POSITIONS, WIDTH, seed=5).requires_grad_()
    references = [
        (normal(POSITIONS, WIDTH, seed=6), head),
        (normal(POSITIONS, WIDTH, seed=7), other),
    ]
    tokens = tokens_of()
    kept = [frozen_scores(states, each, tokens, 10**6) for states, each in references]
    got = columns(token_scores(hidden, head, tokens, kept, 2 * VOCABULARY))
    wanted = plain_scores(hidden, head, tokens, references)
    torch.testing.assert_close(got, wanted, **TOLERANCE)
    torch.testing.assert_close(gradients(got, [hidden]), gradients(wanted, [hidden]), **TOLERANCE)
    # Without references at all, the policy's own columns stay.
    alone = columns(token_scores(hidden, head, tokens, [], 2 * VOCABULARY))
    torch.testing.assert_close(alone, wanted[:3], **TOLERANCE)


@pytest.mark.parametrize("chunk", [10**6, 2 * VOCABULARY])
@pytest.mark.parametrize("kind", ["shared", "other head", "softcap"])
def test_gradients_are_those_of_finite_differences(kind: str, chunk: int) -> None:
    head = random_head(1, temperature=0.9, softcap=1.5 if kind == "softcap" else None)
    other = head if kind != "other head" else random_head(2)
    tokens = tokens_of(count=4)
    kept = frozen_scores(normal(4, WIDTH, seed=6), other, tokens, chunk)

    def scored(hidden: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        mine = head if kind == "shared" else head._replace(weight=weight)
        return tuple(columns(token_scores(hidden, mine, tokens, [kept], chunk)))

    hidden = normal(4, WIDTH, seed=5).requires_grad_()
    weight = head.weight.clone().requires_grad_(kind != "shared")
    assert torch.autograd.gradcheck(scored, (hidden, weight), rtol=1e-6, atol=1e-8)


def test_no_positions() -> None:
    head = random_head(1)
    hidden = torch.zeros(0, WIDTH, dtype=torch.float64, requires_grad=True)
    tokens = torch.zeros(0, dtype=torch.long)
    kept = frozen_scores(hidden.detach(), head, tokens, 10)
    assert tuple(kept.logprobs.shape) == tuple(kept.log_normaliser.shape) == (0,)
    scored = token_scores(hidden, head, tokens, [kept, kept], 10)
    assert [tuple(part.shape) for part in columns(scored)] == [(0,)] * 5
    (gradient,) = torch.autograd.grad(sum(part.sum() for part in columns(scored)), hidden)
    assert tuple(gradient.shape) == (0, WIDTH)
