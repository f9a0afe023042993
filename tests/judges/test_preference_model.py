"""The preference model's two forms against hand calculation, and its antisymmetry."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch

from mpo.judges.preference_model import FORMS, NEXT_TOKEN, SCALAR, PreferenceModel
from mpo.judges.protocol import TableJudge, judge_pairs
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

WINS = ((0.5, 0.9, 0.5), (0.1, 0.5, 0.3), (0.5, 0.7, 0.5))


def model(form: str, train_blocks: int | None = None, max_tokens: int = 512) -> PreferenceModel:
    made = PreferenceModel(policy(train_blocks), chat_format(), form, max_tokens)
    if made.head is not None:
        with torch.no_grad():
            # Far from 0, so that a sign or a factor shows.
            made.head.weight.mul_(10)
    return made


def template(made: PreferenceModel, prompt: str, a: str, b: str) -> list[int]:
    """The pair's tokens, put together field by field."""
    ids = made.chat.tokenizer.encode
    end = made.chat.tokenizer.eos_token_id
    tail = ids("\nBetter reply:\n") if made.form == NEXT_TOKEN else []
    fields = [*ids("Reply A:\n"), *ids(a), end, *ids("\nReply B:\n"), *ids(b), end]
    return [*made.chat.encode(prompt), *fields, *tail]


def plain_prob(made: PreferenceModel, prompt: str, a: str, b: str) -> float:
    """p(a, b | x) by a forward pass of its own."""
    tokens = template(made, prompt, a, b)
    if made.head is not None:
        return float(
            torch.sigmoid(plain_end_state(made.policy, tokens) @ made.head.weight[0].detach())
        )
    logits = made.policy.model(torch.tensor([tokens]), use_cache=False).logits[0, -1].detach()
    answers = [made.chat.tokenizer.encode(answer)[0] for answer in ("A", "B")]
    return float(torch.softmax(logits[answers], -1)[0])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("train_blocks", [None, 1])
def test_win_prob_is_the_mean_over_both_orders(form: str, train_blocks: int | None) -> None:
    made = model(form, train_blocks)
    asked = [(x, a, b) for x, row in zip(PROMPTS, RESPONSES, strict=True) for a in row for b in row]
    wins = made.win_prob(*zip(*asked, strict=True))
    assert wins.dtype == torch.float64
    for (x, a, b), win in zip(asked, wins.tolist(), strict=True):
        wanted = (plain_prob(made, x, a, b) + 1 - plain_prob(made, x, b, a)) / 2
        assert win == pytest.approx(wanted, rel=1e-9)
        if a == b:
            assert win == 0.5


@pytest.mark.parametrize("form", FORMS)
def test_the_two_orders_add_up_to_one_to_the_bit(form: str) -> None:
    made = model(form)
    made.float()
    a = [text for row in RESPONSES for text in row]
    b = [INJECTED, *a[:-1]]
    prompts = [prompt for prompt in PROMPTS for _ in range(3)]
    there, back = made.win_prob(prompts, a, b), made.win_prob(prompts, b, a)
    assert torch.equal(there + back, torch.ones(6, dtype=torch.float64))
    assert (there != 0.5).all()


def test_as_a_judge_it_is_asked_for_the_compared_pairs_only() -> None:
    made = model(SCALAR)
    assert not isinstance(made, TableJudge)
    compared = ~torch.eye(3, dtype=torch.bool).expand(2, 3, 3)
    wins = judge_pairs(made, PROMPTS, RESPONSES, RESPONSES, compared, own_pairs=True)
    assert torch.equal(wins + wins.mT, torch.ones(2, 3, 3, dtype=torch.float64))
    one = made.win_prob([PROMPTS[1]], [RESPONSES[1][0]], [RESPONSES[1][2]])
    assert wins[1, 0, 2].item() == pytest.approx(one.item(), rel=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_the_loss_is_the_cross_entropy_of_both_orders(form: str) -> None:
    made = model(form)
    record = Comparison(PROMPTS[0], tuple(RESPONSES[0]), WINS, "a")
    two = Comparison(PROMPTS[1], tuple(RESPONSES[1][:2]), ((0.5, 1.0), (0.0, 0.5)), "b")
    units = [made.encode(record), made.encode(two)]
    assert [unit.terms for unit in units] == [3, 1]
    assert [len(unit.sequences) for unit in units] == [6, 2]
    wanted, right = 0.0, []
    for each in (record, two):
        for i, j in combinations(range(len(each.responses)), 2):
            win, a, b = each.wins[i][j], each.responses[i], each.responses[j]
            p, q = plain_prob(made, each.prompt, a, b), plain_prob(made, each.prompt, b, a)
            wanted -= (win * math.log(p) + (1 - win) * math.log(1 - p)) / 2
            wanted -= ((1 - win) * math.log(q) + win * math.log(1 - q)) / 2
            if win != 0.5:
                right.append((p > q) == (win > 0.5))
    loss, metrics = made.loss(packed_states(made.policy, units), units)
    assert loss.item() == pytest.approx(wanted, rel=1e-9)
    assert metrics["accuracy"].mean.item() == pytest.approx(sum(right) / len(right))
    assert metrics["accuracy"].weight == 3
    assert metrics["place_a"].weight == 4


@pytest.mark.parametrize("form", FORMS)
def test_the_gradient_is_the_difference_quotient(form: str) -> None:
    made = model(form)
    units = [made.encode(Comparison(PROMPTS[0], tuple(RESPONSES[0]), WINS, "a"))]
    made.loss(packed_states(made.policy, units), units)[0].backward()
    last = dict(made.policy.model.named_parameters())["model.layers.1.mlp.down_proj.weight"]
    head = made.policy.model.lm_head.weight if made.head is None else made.head.weight
    row = made.answers[1][0] if made.head is None else 0
    for parameter, at in ((last, 5), (last, 100), (head, row * head.shape[1] + 2)):
        assert parameter.grad is not None
        wanted = difference_quotient(made, units, parameter, at)
        assert wanted != 0
        assert parameter.grad.view(-1)[at].item() == pytest.approx(wanted, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_training_learns_a_circle_and_leaves_the_trunk_alone(form: str) -> None:
    made = PreferenceModel(policy(train_blocks=1), chat_format(), form, 512)
    frozen = {n: p.clone() for n, p in made.named_parameters() if not p.requires_grad}
    # Rain beats tea, tea beats snow, snow beats rain: no reward can say this.
    replies = ("Rain.", "Tea.", "Snow!")
    circle = ((0.5, 1.0, 0.0), (0.0, 0.5, 1.0), (1.0, 0.0, 0.5))
    units = [made.encode(Comparison(prompt, replies, circle, prompt)) for prompt in PROMPTS]
    seen = steps(made, units, 45, lr=0.02)
    assert seen[0] < 1.0
    assert seen[-1] == 1.0
    wins = made.win_prob([PROMPTS[0]] * 3, replies, (*replies[1:], replies[0]))
    assert (wins > 0.6).all()
    after = dict(made.named_parameters())
    assert "policy.model.model.embed_tokens.weight" in frozen
    assert all(torch.equal(p, after[name]) for name, p in frozen.items())


@pytest.mark.parametrize("form", FORMS)
def test_the_fields_can_be_read_back_whatever_a_reply_says(form: str) -> None:
    made = model(form)
    tokenizer = made.chat.tokenizer
    unit = made.encode(Comparison("Why?", (INJECTED, "No."), ((0.5, 0.5), (0.5, 0.5)), "a"))
    for tokens, (a, b) in zip(unit.sequences, ((INJECTED, "No."), ("No.", INJECTED)), strict=True):
        assert tokens[: len(made.chat.encode("Why?"))] == tuple(made.chat.encode("Why?"))
        rest = list(tokens[len(made.chat.encode("Why?")) :])
        ends = [place for place, token in enumerate(rest) if token == tokenizer.eos_token_id]
        assert len(ends) == 2
        fields = [rest[: ends[0]], rest[ends[0] + 1 : ends[1]], rest[ends[1] + 1 :]]
        tail = "\nBetter reply:\n" if form == NEXT_TOKEN else ""
        assert [tokenizer.decode(field) for field in fields] == [
            f"Reply A:\n{a}",
            f"\nReply B:\n{b}",
            tail,
        ]


def test_long_pairs_lose_the_beginning_of_the_prompt_first() -> None:
    whole, (x, a, b) = model(SCALAR), (PROMPTS[1], "Tea.", "Snow.")
    tokens = template(whole, x, a, b)
    made = model(SCALAR, max_tokens=len(tokens) - 5)
    win = made.win_prob([x], [a], [b])
    assert made.shortened == 2
    ends = [plain_end_state(made.policy, template(made, x, *ab)[5:]) for ab in ((a, b), (b, a))]
    assert made.head is not None
    p, q = (float(torch.sigmoid(end @ made.head.weight[0].detach())) for end in ends)
    assert win.item() == pytest.approx((p + 1 - q) / 2, rel=1e-9)
    longest = made.win_prob([x], ["so much tea " * 30], ["No."])
    assert torch.isfinite(longest).all()


def test_bad_arguments_name_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"form: got 'pairs', allowed is one of"):
        model("pairs")
    with pytest.raises(ValueError, match=r"max_tokens: got 9, allowed is \d+ .*to 512"):
        model(SCALAR, max_tokens=9)
    made = model(SCALAR)
    with pytest.raises(ValueError, match="at least 2"):
        made.encode(Comparison("x", ("only",), ((0.5,),), "a"))
    with pytest.raises(ValueError):
        made.win_prob(["x"], ["a", "b"], ["c"])
    assert made.win_prob([], [], []).shape == (0,)
