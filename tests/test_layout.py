from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mpo.layout import Layout, group_size, row_layout, tree_layout
from mpo.policy import Policy
from mpo.records import Prompts, Responses
from tests.tiny_llama import prompts_of, responses_of, tiny_llama

EOS = 4
PROMPTS = [[1, 2, 3], [0], [2, 2]]
GROUPS = [
    [(0, 1, EOS), (EOS,), (2, 3, 1, 0)],
    [(3, 3, 3, 3), (1, EOS), (EOS,)],
    [(2, EOS), (0, 0, EOS), (1, 2, 3, EOS)],
]
CLOSE = {"rtol": 1e-10, "atol": 1e-12}


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy(tiny_llama(EOS + 1))


@pytest.fixture(scope="module")
def alone(policy: Policy) -> list[list[Tensor]]:
    """Hidden states that predict each response's tokens, each sequence run by itself."""
    return [
        [
            policy.decoder(torch.tensor([[*prompt, *tokens]])).last_hidden_state[
                0, len(prompt) - 1 : -1
            ]
            for tokens in group
        ]
        for prompt, group in zip(PROMPTS, GROUPS, strict=True)
    ]


def states(policy: Policy, layout: Layout) -> Tensor:
    return policy.hidden(layout)


def assert_as_alone(hidden: Tensor, wanted: list[list[Tensor]]) -> None:
    for x, group in enumerate(wanted):
        for i, rows in enumerate(group):
            torch.testing.assert_close(hidden[x, i, : len(rows)], rows, **CLOSE)


def batch(width: int = 0, fill: int = EOS, steps: int = 0) -> tuple[Prompts, Responses]:
    return prompts_of(PROMPTS, width, fill), responses_of(GROUPS, EOS, fill, steps)


@pytest.mark.parametrize("group", [1, 2, 3])
def test_a_tree_of_any_group_size_is_each_sequence_alone(
    policy: Policy, alone: list[list[Tensor]], group: int
) -> None:
    layout = tree_layout(*batch(), group)
    assert layout.ids.shape[0] == len(PROMPTS) * -(-3 // group)
    assert_as_alone(states(policy, layout), alone)


def test_rows_are_each_sequence_alone(policy: Policy, alone: list[list[Tensor]]) -> None:
    layout = row_layout(*batch())
    assert layout.ids.shape[0] == 9
    assert_as_alone(states(policy, layout), alone)


@pytest.mark.parametrize("kind", [1, 2, 3, "rows"])
@pytest.mark.parametrize("fill", [0, EOS])
@pytest.mark.parametrize("width, steps", [(3, 4), (6, 4), (3, 7), (6, 7)])
def test_padding_changes_nothing_whatever_it_is(
    policy: Policy,
    alone: list[list[Tensor]],
    width: int,
    steps: int,
    fill: int,
    kind: int | str,
) -> None:
    prompts, responses = batch(width, fill, steps)
    is_rows = kind == "rows"
    layout = row_layout(prompts, responses) if is_rows else tree_layout(prompts, responses, kind)
    assert tuple(layout.predicts.shape) == (3, 3, steps)
    assert_as_alone(states(policy, layout), alone)


@pytest.mark.parametrize("kind", [1, 2, "rows"])
def test_order_of_prompts_and_responses_moves_with_the_batch(
    policy: Policy, kind: int | str
) -> None:
    prompts, responses = batch()
    order, turned = torch.tensor([2, 0, 1]), torch.tensor([1, 2, 0])

    def hidden(some: Prompts, replies: Responses) -> Tensor:
        layout = row_layout(some, replies) if kind == "rows" else tree_layout(some, replies, kind)
        return states(policy, layout).masked_fill(~replies.mask[..., None], 0.0)

    texts = tuple(prompts.texts[i] for i in order)
    moved = Prompts(prompts.ids[order], prompts.lengths[order], prompts.keys[order], texts)
    replies = Responses(*(part[order][:, turned] for part in responses))
    wanted = hidden(prompts, responses)[order][:, turned]
    torch.testing.assert_close(hidden(moved, replies), wanted, **CLOSE)


def test_a_response_sees_neither_its_siblings_nor_what_comes_later(policy: Policy) -> None:
    prompts, responses = batch()
    wanted = states(policy, tree_layout(prompts, responses, 3))
    ids = responses.ids.clone()
    ids[:, 0] = (ids[:, 0] + 1) % (EOS + 1)
    ids[:, 1:, 2:] = (ids[:, 1:, 2:] + 1) % (EOS + 1)
    changed = states(policy, tree_layout(prompts, responses._replace(ids=ids), 3))
    assert torch.equal(changed[:, 1:, :3], wanted[:, 1:, :3])
    assert not torch.allclose(changed[:, 0, 1:], wanted[:, 0, 1:])


@pytest.mark.parametrize("kind", [1, 2, "rows"])
def test_responses_of_one_token_need_the_prompt_alone(policy: Policy, kind: int | str) -> None:
    prompts = prompts_of(PROMPTS)
    responses = responses_of([[(EOS,), (2,)]] * 3, EOS)
    is_rows = kind == "rows"
    layout = row_layout(prompts, responses) if is_rows else tree_layout(prompts, responses, kind)
    assert layout.ids.shape[1] == prompts.ids.shape[1]
    got = states(policy, layout)
    for x, prompt in enumerate(PROMPTS):
        wanted = policy.decoder(torch.tensor([prompt])).last_hidden_state[0, -1]
        torch.testing.assert_close(got[x, :, 0], wanted.expand(2, -1), **CLOSE)


def test_the_layout_that_the_policy_picks_is_right(
    policy: Policy, alone: list[list[Tensor]]
) -> None:
    assert policy.shared_prefix
    assert policy.layout(*batch()).attention.dim() == 4
    assert_as_alone(states(policy, policy.layout(*batch())), alone)


def work(count: int, prompt: int, steps: int, width: int, group: int) -> int:
    """Multiplications of a block, row by row and position by position."""
    total = 0
    for _ in range(-(-count // group)):
        length = prompt + group * (steps - 1)
        for _ in range(length):
            total += 12 * width**2
            for _ in range(length):
                total += 2 * width
    return total


@pytest.mark.parametrize("count", [1, 4, 5])
@pytest.mark.parametrize("prompt, steps", [(40, 2), (3, 20), (12, 6), (2, 1)])
@pytest.mark.parametrize("width", [1, 16])
def test_group_size_has_the_least_work(count: int, prompt: int, steps: int, width: int) -> None:
    prompts = prompts_of([[1] * prompt])
    responses = responses_of([[(1,) * steps] * count], EOS)
    found = group_size(prompts, responses, width)
    costs = [work(count, prompt, steps, width, group) for group in range(1, count + 1)]
    assert 1 <= found <= count
    assert costs[found - 1] == min(costs)


def test_group_size_depends_on_the_lengths() -> None:
    long = group_size(prompts_of([[1] * 60]), responses_of([[(1, 1)] * 4], EOS), 16)
    short = group_size(prompts_of([[1]]), responses_of([[(1,) * 60] * 4], EOS), 1)
    assert (long, short) == (4, 1)
