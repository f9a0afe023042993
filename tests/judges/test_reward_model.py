"""The reward model against hand calculation, plain forwards and finite differences."""

from __future__ import annotations

import math

import pytest
import torch

from mpo.judges import reward_model
from mpo.judges.protocol import TableJudge
from mpo.judges.reward_model import (
    RewardModel,
    RewardModelJudge,
    accuracy,
    bradley_terry,
    critic_from,
)
from mpo.training.records import Comparison
from tests.judges.text_models import (
    INJECTED,
    PROMPTS,
    RESPONSES,
    chat_format,
    difference_quotient,
    packed_states,
    plain_end_state,
    policy,
    steps,
)
from tests.tiny_llama import prompts_of, responses_of

WINS = ((0.5, 0.9, 0.5), (0.1, 0.5, 0.3), (0.5, 0.7, 0.5))


def model(train_blocks: int | None = None, max_tokens: int = 512, seed: int = 0) -> RewardModel:
    made = RewardModel(policy(train_blocks), chat_format(), max_tokens, seed)
    with torch.no_grad():
        # Far from 0, so that a sign or a factor shows.
        made.head.weight.mul_(10)
    return made


def comparisons() -> list[Comparison]:
    three = Comparison(PROMPTS[0], tuple(RESPONSES[0]), WINS, "a")
    two = Comparison(PROMPTS[1], tuple(RESPONSES[1][:2]), ((0.5, 1.0), (0.0, 0.5)), "b")
    return [three, two]


def plain_reward(made: RewardModel, prompt: str, response: str) -> float:
    ids = [*made.chat.encode(prompt), *made.chat.tokenizer.encode(response), made.end]
    return float(plain_end_state(made.policy, ids) @ made.head.weight[0].detach())


@pytest.mark.parametrize("train_blocks", [None, 1])
def test_rewards_are_those_of_each_text_alone(train_blocks: int | None) -> None:
    made = model(train_blocks)
    rewards = made.rewards(PROMPTS, RESPONSES)
    assert rewards.shape == (2, 3)
    assert rewards.dtype == torch.float64
    for prompt, row, several in zip(PROMPTS, rewards.tolist(), RESPONSES, strict=True):
        wanted = [plain_reward(made, prompt, text) for text in several]
        assert row == pytest.approx(wanted, rel=1e-9)


def test_the_loss_is_the_bradley_terry_likelihood_of_all_pairs() -> None:
    made, records = model(), comparisons()
    units = [made.encode(record) for record in records]
    assert [unit.terms for unit in units] == [3, 1]
    wanted, right = 0.0, []
    for record in records:
        r = [plain_reward(made, record.prompt, text) for text in record.responses]
        for i in range(len(r)):
            for j in range(i + 1, len(r)):
                win = record.wins[i][j]
                p = 1 / (1 + math.exp(r[j] - r[i]))
                wanted -= win * math.log(p) + (1 - win) * math.log(1 - p)
                if win != 0.5:
                    right.append((r[i] > r[j]) == (win > 0.5))
    loss, metrics = made.loss(packed_states(made.policy, units), units)
    assert loss.item() == pytest.approx(wanted, rel=1e-9)
    assert metrics["accuracy"].mean.item() == pytest.approx(sum(right) / len(right))
    assert metrics["accuracy"].weight == len(right) == 3
    assert metrics["margin"].weight == 4


def test_soft_labels_are_learned_as_probabilities() -> None:
    made = model(train_blocks=1)
    units = [made.encode(Comparison("Why?", ("Yes.", "No."), ((0.5, 0.8), (0.2, 0.5)), "a"))]
    steps(made, units, 150, lr=0.01)
    win = RewardModelJudge(made).win_prob(["Why?"], ["Yes."], ["No."])
    assert win.item() == pytest.approx(0.8, abs=1e-2)


@pytest.mark.parametrize("train_blocks", [None, 1])
def test_the_gradient_is_the_difference_quotient(train_blocks: int | None) -> None:
    made = model(train_blocks)
    units = [made.encode(record) for record in comparisons()]
    made.loss(packed_states(made.policy, units), units)[0].backward()
    last = dict(made.policy.model.named_parameters())["model.layers.1.mlp.down_proj.weight"]
    for parameter, at in ((made.head.weight, 3), (last, 5), (last, 100)):
        assert parameter.grad is not None
        wanted = difference_quotient(made, units, parameter, at)
        assert parameter.grad.view(-1)[at].item() == pytest.approx(wanted, rel=1e-6, abs=1e-9)


def test_training_sorts_the_pairs_and_leaves_the_trunk_alone() -> None:
    made = RewardModel(policy(train_blocks=1), chat_format(), 512)
    moving = {name for name, p in made.named_parameters() if p.requires_grad}
    before = {name: p.detach().clone() for name, p in made.named_parameters()}
    words = ["rain", "tea", "music", "snow", "bread"]
    records = [
        Comparison(
            f"Why {word}?", (f"I hate {word}.", f"I love {word}."), ((0.5, 0.0), (1.0, 0.5)), word
        )
        for word in words
    ]
    seen = steps(made, [made.encode(record) for record in records], 15, lr=0.01)
    assert seen[0] < 1.0
    assert seen[-1] == 1.0
    changed = {name for name, p in made.named_parameters() if not torch.equal(p, before[name])}
    assert "policy.model.model.embed_tokens.weight" not in changed
    assert changed == moving


def test_a_tie_is_half_right_and_a_label_of_a_half_does_not_count() -> None:
    found = accuracy(torch.tensor([1.0, -1.0, 0.0, 5.0]), torch.tensor([0.7, 0.9, 0.0, 0.5]))
    assert (found.mean.item(), found.weight) == (0.5, 3)
    none = accuracy(torch.tensor([1.0]), torch.tensor([0.5]))
    assert (none.mean.item(), none.weight) == (0.0, 0)


def test_the_head_is_drawn_from_its_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    backbone = policy()
    torch.set_rng_state(before)
    one, again, other = (RewardModel(backbone, chat_format(), 64, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.head.weight, again.head.weight)
    assert not torch.equal(one.head.weight, other.head.weight)
    assert 0.2 / 17 < one.head.weight.std().item() < 2 / 17


def test_an_unused_output_head_gets_no_gradient_and_tied_embeddings_do() -> None:
    assert not RewardModel(policy(), chat_format(), 64).policy.model.lm_head.weight.requires_grad
    tied = RewardModel(policy(tied=True), chat_format(), 64).policy.model
    assert tied.lm_head.weight.requires_grad


def test_a_response_cannot_write_an_end_token() -> None:
    made = model()
    (first, second) = made.encode(
        Comparison("Why?", (INJECTED, "No."), ((0.5, 0.5), (0.5, 0.5)), "a")
    ).sequences
    prompt = made.chat.encode("Why?")
    for tokens in (first, second):
        assert list(tokens[: len(prompt)]) == prompt
        assert tokens[len(prompt) :].index(made.end) == len(tokens) - len(prompt) - 1
    assert made.chat.tokenizer.decode(first[len(prompt) : -1]) == INJECTED


def test_long_sequences_lose_the_beginning_of_the_prompt_and_are_counted() -> None:
    made = model(max_tokens=24)
    prompt, text = PROMPTS[1], "Tea."
    ids = made.chat.encode(prompt)
    tail = [*made.chat.tokenizer.encode(text), made.end]
    assert len(ids) + len(tail) > 24
    kept = [*ids[len(ids) - (24 - len(tail)) :], *tail]
    assert len(kept) == 24
    wanted = float(plain_end_state(made.policy, kept) @ made.head.weight[0].detach())
    assert made.rewards([prompt], [[text]]).item() == pytest.approx(wanted, rel=1e-9)
    assert made.shortened == 1
    made.rewards([prompt], [["so much tea " * 10]])
    assert made.shortened == 2


def test_a_frozen_model_remembers_its_last_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    made, passes = model(), []
    original = reward_model.end_states
    monkeypatch.setattr(
        reward_model, "end_states", lambda *a: passes.append(len(a[1])) or original(*a)
    )
    first = made.rewards(PROMPTS, RESPONSES)
    assert torch.equal(made.rewards(PROMPTS, RESPONSES), first)
    assert passes == [6, 6]
    made.freeze()
    assert not any(parameter.requires_grad for parameter in made.parameters())
    for _ in range(3):
        rewards = made.rewards(PROMPTS, RESPONSES)
        assert torch.equal(rewards, first)
        rewards.zero_()
    assert passes == [6, 6, 6]
    monkeypatch.setattr(reward_model, "REMEMBERED_CALLS", 1)
    made.rewards(PROMPTS[:1], RESPONSES[:1])
    made.rewards(PROMPTS, RESPONSES)
    assert passes == [6, 6, 6, 3, 6]


def test_the_judge_is_the_logistic_of_the_difference_and_antisymmetric_to_the_bit() -> None:
    made = model()
    made.policy.model.float()
    made.head.float()
    judge = RewardModelJudge(made)
    assert isinstance(judge, TableJudge)
    rewards = made.rewards(PROMPTS, RESPONSES)
    wins = judge.win_matrix(PROMPTS, RESPONSES, RESPONSES)
    wanted = torch.sigmoid(rewards[:, :, None] - rewards[:, None, :])
    torch.testing.assert_close(wins, wanted, rtol=1e-12, atol=0)
    assert torch.equal(wins + wins.mT, torch.ones(2, 3, 3, dtype=torch.float64))
    prompts = [prompt for prompt in PROMPTS for _ in range(3)]
    a = [text for row in RESPONSES for text in row]
    b = [text for row in RESPONSES for text in row[::-1]]
    there, back = judge.win_prob(prompts, a, b), judge.win_prob(prompts, b, a)
    assert torch.equal(there + back, torch.ones(6, dtype=torch.float64))
    assert there[1] == 0.5
    torch.testing.assert_close(
        there, wins.flip(2).diagonal(dim1=1, dim2=2).flatten(), rtol=1e-5, atol=0
    )


def test_the_logistic_adds_up_to_one_at_any_size() -> None:
    margin = torch.tensor([0.0, 1e-300, 0.1, 3.7, 36.0, 40.0, 800.0], dtype=torch.float64)
    total = bradley_terry(margin) + bradley_terry(-margin)
    assert torch.equal(total, torch.ones_like(margin))
    assert bradley_terry(margin)[2].item() == pytest.approx(1 / (1 + math.exp(-0.1)), rel=1e-15)


@pytest.mark.parametrize("train_blocks", [None, 1])
def test_a_critic_starts_as_the_reward_and_trains_apart(train_blocks: int | None) -> None:
    made = model(train_blocks).freeze()
    critic = critic_from(made, shares_trunk=True)
    prompts = prompts_of([made.chat.encode("Why?")])
    tokens = [*made.chat.tokenizer.encode("Tea."), made.end]
    # V(s_t) is the state before token t: one more token shows the state after the end token.
    replies = responses_of([[[*tokens, 0]]], eos=made.end)
    layout = made.policy.layout(prompts, replies)
    values = critic(layout, made.policy.trunk_states(layout))
    wanted = made.rewards(["Why?"], [["Tea."]])
    assert values[0, 0, -1].item() == pytest.approx(wanted.item(), rel=1e-9)
    before = {name: p.clone() for name, p in made.named_parameters()}
    optimizer = torch.optim.SGD([p for p in critic.parameters() if p.requires_grad], lr=0.1)
    values.sum().backward()
    optimizer.step()
    assert all(torch.equal(p, before[name]) for name, p in made.named_parameters())
    moved = critic(layout, made.policy.trunk_states(layout))
    assert not torch.allclose(moved, values)


def test_bad_arguments_name_what_is_allowed() -> None:
    made = model()
    with pytest.raises(ValueError, match=r"max_tokens: got 513, allowed is 2 .*to 512"):
        model(max_tokens=513)
    with pytest.raises(ValueError, match="at least 2"):
        made.encode(Comparison("x", ("only",), ((0.5,),), "a"))
    with pytest.raises(ValueError, match="responses: got rows"):
        made.rewards(PROMPTS, [["a"], ["b", "c"]])
    with pytest.raises(ValueError, match="responses: got rows"):
        made.rewards(PROMPTS, [["a"]])
    empty = RewardModelJudge(made).win_prob([], [], [])
    assert empty.shape == (0,)
