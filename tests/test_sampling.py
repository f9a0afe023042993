from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor
from transformers import DynamicCache

import mpo.sampling
from mpo.policy import Policy
from mpo.records import Prompts, Responses
from mpo.sampling import keyed_uniforms, sample
from tests.kl_oracles import log_probs
from tests.oracles import all_responses
from tests.tiny_llama import prompts_of, tiny_llama

SYMBOLS, MAX_TOKENS = 3, 3
EOS = SYMBOLS
LONG = 5
"""Seed of a model whose responses have all lengths."""
PROMPTS = [[1, 2, 0], [0], [2, 2]]
Tokens = tuple[int, ...]


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy(tiny_llama(SYMBOLS + 1, seed=LONG))


def uniforms_of(prompts: Prompts, count: int, tokens: int = MAX_TOKENS, seed: int = 0) -> Tensor:
    return keyed_uniforms(seed, 0, 0, prompts.keys, count, tokens)


def tokens_of(responses: Responses) -> list[list[Tokens]]:
    """The tokens that count."""
    return [
        [tuple(ids[:length]) for ids, length in zip(rows, lengths, strict=True)]
        for rows, lengths in zip(responses.ids.tolist(), responses.lengths.tolist(), strict=True)
    ]


def by_hand(
    policy: Policy, prompt: list[int], uniforms: Tensor | None, ends: tuple[int, ...], tokens: int
) -> Tokens:
    """One response, a token at a time without cache or batch; greedy without uniforms."""
    said: list[int] = []
    for step in range(tokens):
        with torch.no_grad():
            logits = policy.model(input_ids=torch.tensor([[*prompt, *said]])).logits[0, -1].numpy()
        scaled = logits / policy.temperature
        probs = np.exp(scaled - scaled.max())
        steps = np.cumsum(probs / probs.sum())
        if uniforms is None:
            said.append(int(np.argmax(logits)))
        else:
            said.append(int(np.sum(steps <= float(uniforms[step]))))
        if said[-1] in ends:
            break
    return tuple(said)


def p_value(counts: Counter[Tokens], responses: list[Tokens], probs: np.ndarray) -> float:
    """Chi-square of the counts; responses expected fewer than five times are one cell."""
    draws = sum(counts.values())
    expected = probs * draws
    observed = np.array([counts[tokens] for tokens in responses], dtype=float)
    rare = expected < 5
    observed = np.append(observed[~rare], observed[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    return float(chisquare(observed, expected * observed.sum() / expected.sum()).pvalue)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_frequencies_are_the_enumerated_probabilities(temperature: float) -> None:
    policy = Policy(tiny_llama(SYMBOLS + 1, seed=LONG), temperature=temperature)
    found = all_responses(SYMBOLS, MAX_TOKENS)
    prompts = prompts_of([[1, 2], [0]])
    drawn = tokens_of(sample(policy, prompts, uniforms_of(prompts, 10_000), (EOS,)))

    def probabilities(prompt: list[int], at: float) -> np.ndarray:
        model = tiny_llama(SYMBOLS + 1, seed=LONG)
        with torch.no_grad():
            model.lm_head.weight /= at
            return log_probs(model, prompt, found).exp().numpy()

    for prompt, rows in zip([[1, 2], [0]], drawn, strict=True):
        counts = Counter(rows)
        assert set(counts) <= set(found)
        assert p_value(counts, found, probabilities(prompt, temperature)) > 1e-3
        # Another temperature's probabilities would be told apart.
        assert p_value(counts, found, probabilities(prompt, 1.1 * temperature)) < 1e-6


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("ends", [(EOS,), (EOS, 1)])
def test_each_response_is_the_inverse_distribution_function_of_its_uniforms(
    ends: tuple[int, ...], temperature: float
) -> None:
    policy = Policy(tiny_llama(SYMBOLS + 1, seed=LONG), temperature=temperature)
    prompts = prompts_of(PROMPTS, width=5, fill=EOS)
    uniforms = uniforms_of(prompts, 20, tokens=5)
    drawn = sample(policy, prompts, uniforms, ends)
    got = tokens_of(drawn)
    for x, prompt in enumerate(PROMPTS):
        for i in range(20):
            wanted = by_hand(policy, prompt, uniforms[x, i], ends, 5)
            assert got[x][i] == wanted
            assert bool(drawn.ended[x, i]) == (wanted[-1] in ends)
    assert drawn.ended.any()
    assert not drawn.ended.all()


def test_lengths_masks_and_padding(policy: Policy) -> None:
    prompts = prompts_of(PROMPTS)
    drawn = sample(policy, prompts, uniforms_of(prompts, 20, tokens=5), (EOS, 1))
    assert drawn.ids.shape == (3, 20, int(drawn.lengths.max()))
    for ids, length, ended in zip(
        drawn.ids.flatten(0, 1).tolist(),
        drawn.lengths.flatten().tolist(),
        drawn.ended.flatten().tolist(),
        strict=True,
    ):
        assert all(token not in (EOS, 1) for token in ids[: length - 1])
        assert (ids[length - 1] in (EOS, 1)) == ended
        assert ended or length == 5
        assert ids[length:] == [EOS] * (len(ids) - length)
    # An end at the very last place is an end, not a truncation.
    assert (drawn.ended & (drawn.lengths == 5)).any()


def test_no_column_beyond_the_longest_response(policy: Policy) -> None:
    prompts = prompts_of([[1, 2]])
    first = torch.full((1, 2, 5), 1.0 - 1e-12, dtype=torch.float64)
    drawn = sample(policy, prompts, first, (EOS,))
    assert drawn.ids.tolist() == [[[EOS], [EOS]]]
    assert drawn.ended.all()


def test_the_greedy_response_comes_last_and_disturbs_nothing(policy: Policy) -> None:
    prompts = prompts_of(PROMPTS)
    uniforms = uniforms_of(prompts, 4, tokens=5)
    both = tokens_of(sample(policy, prompts, uniforms, (EOS,), greedy=True))
    alone = tokens_of(sample(policy, prompts, uniforms, (EOS,)))
    assert [rows[:4] for rows in both] == alone
    assert [len(rows) for rows in both] == [5, 5, 5]
    for x, prompt in enumerate(PROMPTS):
        assert both[x][4] == by_hand(policy, prompt, None, (EOS,), 5)


def test_prompts_draw_the_same_alone_in_any_order_and_under_any_padding(policy: Policy) -> None:
    prompts = prompts_of(PROMPTS)
    together = tokens_of(sample(policy, prompts, uniforms_of(prompts, 8, 5), (EOS,)))
    for x, prompt in enumerate(PROMPTS):
        one = prompts_of([prompt])._replace(keys=prompts.keys[x : x + 1])
        assert tokens_of(sample(policy, one, uniforms_of(one, 8, 5), (EOS,))) == [together[x]]
    order = [2, 0, 1]
    moved = prompts_of([PROMPTS[x] for x in order], width=7, fill=2)
    moved = moved._replace(keys=prompts.keys[order])
    again = tokens_of(sample(policy, moved, uniforms_of(moved, 8, 5), (EOS,)))
    assert again == [together[x] for x in order]


def test_more_responses_keep_the_first_ones(policy: Policy) -> None:
    prompts = prompts_of(PROMPTS)
    few = tokens_of(sample(policy, prompts, uniforms_of(prompts, 2, 5), (EOS,)))
    many = tokens_of(sample(policy, prompts, uniforms_of(prompts, 9, 5), (EOS,)))
    assert [rows[:2] for rows in many] == few


def test_uniforms_are_keyed_by_what_they_are_for() -> None:
    keys = torch.tensor([7, 2**62, 9])
    base = keyed_uniforms(1, 0, 3, keys, 4, 5)
    assert base.dtype == torch.float64
    assert tuple(base.shape) == (3, 4, 5)
    assert ((base >= 0) & (base < 1)).all()
    assert len(base.unique()) == base.numel()
    order = torch.tensor([2, 0, 1])
    assert torch.equal(keyed_uniforms(1, 0, 3, keys[order], 4, 5), base[order])
    assert torch.equal(keyed_uniforms(1, 0, 3, keys[1:2], 4, 5), base[1:2])
    assert torch.equal(keyed_uniforms(1, 0, 3, keys, 2, 5), base[:, :2])
    for other in [(2, 0, 3), (1, 1, 3), (1, 0, 4)]:
        assert not (keyed_uniforms(*other, keys, 4, 5) == base).any()
    assert torch.equal(keyed_uniforms(1, 0, 3, torch.tensor([7, 7]), 4, 5)[0], base[0])


@pytest.mark.parametrize("greedy", [False, True])
def test_letting_finished_responses_go_changes_nothing(
    policy: Policy, monkeypatch: pytest.MonkeyPatch, greedy: bool
) -> None:
    kept: list[int] = []
    select = DynamicCache.batch_select_indices

    def counting(cache: DynamicCache, indices: Tensor) -> None:
        kept.append(len(indices))
        select(cache, indices)

    monkeypatch.setattr(DynamicCache, "batch_select_indices", counting)
    prompts = prompts_of(PROMPTS)
    uniforms = uniforms_of(prompts, 16, 8)
    found = []
    for threshold, compacts in ((0.9, True), (0.0, False), (1.1, True)):
        kept.clear()
        monkeypatch.setattr(mpo.sampling, "COMPACT_BELOW", threshold)
        drawn = sample(policy, prompts, uniforms, (EOS,), greedy)
        assert bool(kept) == compacts
        found.append(drawn)
    for drawn in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(drawn, found[0], strict=True))


@pytest.mark.parametrize("after", [0.0, 1.0 - 1e-12])
def test_a_response_that_has_ended_stays_ended_while_others_grow(
    policy: Policy, after: float
) -> None:
    # One of twenty ends at once, too few to leave the batch; whatever it would draw next is not
    # its own. The others end together: nothing is left to compute.
    end = 1.0 - 1e-12
    uniforms = torch.tensor([[[end, after, after]] + [[0.0, end, 0.0]] * 19], dtype=torch.float64)
    passes: list[int] = []
    handle = policy.decoder.register_forward_hook(lambda *_: passes.append(1))
    drawn = sample(policy, prompts_of([[1, 2]]), uniforms, (EOS,))
    handle.remove()
    assert drawn.lengths.tolist() == [[1] + [2] * 19]
    assert drawn.ids.tolist() == [[[EOS, EOS]] + [[0, EOS]] * 19]
    assert drawn.ended.all()
    assert len(passes) == 2


def test_float32_cannot_draw_beyond_the_vocabulary() -> None:
    policy = Policy(tiny_llama(SYMBOLS + 1).float())
    prompts = prompts_of([[1]])
    last = torch.full((1, 3, MAX_TOKENS), float(np.nextafter(1.0, 0.0)), dtype=torch.float64)
    drawn = sample(policy, prompts, last, (EOS,))
    assert (drawn.ids == EOS).all()


def test_probability_zero_is_never_drawn() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0]], dtype=torch.float64)
    ends = torch.tensor([0.0, 0.25, 0.5, 0.75, float(np.nextafter(1.0, 0.0))], dtype=torch.float64)
    drawn = mpo.sampling._draw(logits.expand(5, 4), ends)
    assert drawn.tolist() == [1, 1, 3, 3, 3]
