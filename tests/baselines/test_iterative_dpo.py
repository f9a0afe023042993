"""Iterative DPO's pairs, loss and gradient against the analytic form, token by token."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from baselines.iterative_dpo import BestAndWorst, IterativeDPO
from mpo.objectives.protocol import (
    MAGNET,
    Needs,
    compared_pairs,
    judge_calls_a_prompt,
    targets_slice,
)
from mpo.records import Scores
from tests.baselines.made_scores import (
    LENGTHS,
    draw,
    made_rollout,
    made_scores,
    moved,
    part_of,
)

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
REWARDS = torch.tensor(
    [[0.3, -1.0, 2.0], [1.0, 1.0, 0.0], [0.5, 0.5, 0.5], [-3.0, -4.0, -2.0]], dtype=torch.float64
)
PAIRS = [(2, 1), (0, 2), None, (2, 1)]
"""(best, worst) of each prompt; None: a tie."""


def made(epsilon: float, beta: float = 0.4) -> tuple[IterativeDPO, Scores, BestAndWorst]:
    method = IterativeDPO(responses=3, beta=beta, label_smoothing=epsilon)
    start = made_scores(MAGNET)
    return method, moved(start, 0.5, seed=13), method.targets(made_rollout(REWARDS), start)


def margins(scores: Scores, beta: float) -> list[float]:
    """z of each prompt by loops; 0 where it is tied."""
    found = []
    for x, pair in enumerate(PAIRS):
        drift = [
            math.fsum(
                float(scores.logprobs[x, i, t] - scores.other_logprobs[MAGNET][x, i, t])
                for t in range(LENGTHS[x][i])
            )
            for i in range(3)
        ]
        found.append(0.0 if pair is None else beta * (drift[pair[0]] - drift[pair[1]]))
    return found


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


@pytest.mark.parametrize("epsilon", [0.0, 0.2])
def test_loss_and_metrics_written_out(epsilon: float) -> None:
    method, now, targets = made(epsilon)
    loss, metrics = method.loss(now, targets)
    z = margins(now, 0.4)
    wanted = [-(1 - epsilon) * math.log(sigmoid(v)) - epsilon * math.log(sigmoid(-v)) for v in z]
    assert float(loss) == pytest.approx(sum(wanted) / 4, rel=1e-10)
    got = {name: float(metric.mean) for name, metric in metrics.items()}
    assert got["dpo_loss"] == pytest.approx(sum(wanted) / 4, rel=1e-10)
    assert got["margin"] == pytest.approx(sum(z) / 4, rel=1e-10)
    assert got["accuracy"] == sum(v > 0 for v in z) / 4
    assert got["tied"] == 0.25
    # Both directions occur, and neither is so sure that its gradient is nothing.
    assert min(z) < -0.1 and max(z) > 0.1 and max(map(abs, z)) < 5


@pytest.mark.parametrize("epsilon", [0.0, 0.2])
def test_gradient_is_the_analytic_form(epsilon: float) -> None:
    method, now, targets = made(epsilon)
    leaf = now.logprobs.clone().requires_grad_()
    loss, _ = method.loss(now._replace(logprobs=leaf), targets)
    (gradient,) = torch.autograd.grad(loss, leaf)
    wanted = torch.zeros_like(gradient)
    for x, (pair, z) in enumerate(zip(PAIRS, margins(now, 0.4), strict=True)):
        if pair is None:
            continue
        # dℓ/dz = −(1 − ε − σ(z)), and z rises by β with each token's log-probability of y_w.
        slope = -0.4 * (1 - epsilon - sigmoid(z)) / 4
        for i, sign in zip(pair, (1, -1), strict=True):
            wanted[x, i, : LENGTHS[x][i]] = sign * slope
    torch.testing.assert_close(gradient, wanted, **CLOSE)


def test_the_pair_is_best_and_worst_and_a_tie_is_no_pair() -> None:
    _, _, targets = made(0.0)
    for x, pair in enumerate(PAIRS):
        got = (int(targets.best[x]), int(targets.worst[x]))
        if pair is None:
            assert got[0] == got[1] and bool(targets.tied[x])
        else:
            assert got == pair and not bool(targets.tied[x])


def test_one_text_with_two_roundings_of_its_reward_is_a_tie() -> None:
    rewards = torch.tensor([[1.0, 1.0 + 1e-7, 0.5], [1.0, 1.0 + 1e-7, 1.0]], dtype=torch.float64)
    texts = (("yes", "yes", "no"), ("yes", "yes", "yes"))
    rollout = made_rollout(rewards, LENGTHS[:2], texts=texts)
    targets = IterativeDPO(responses=3).targets(rollout, made_scores(MAGNET, lengths=LENGTHS[:2]))
    assert targets.tied.tolist() == [[False], [True]]
    assert targets.best.tolist()[0] == [1] and targets.worst.tolist()[0] == [2]
    assert int(targets.best[1]) == int(targets.worst[1])


def test_the_judge_selects_by_the_mean_win_over_the_others() -> None:
    wins = torch.full((2, 3, 3), 0.5, dtype=torch.float64)
    for i, j, p in ((0, 1, 0.9), (0, 2, 0.4), (1, 2, 0.7)):
        wins[0, i, j], wins[0, j, i] = p, 1 - p
    method = IterativeDPO(responses=3, selection="judge")
    rollout = made_rollout(None, LENGTHS[:2], wins=wins)
    targets = method.targets(rollout, made_scores(MAGNET, lengths=LENGTHS[:2]))
    # Means: 0.65, 0.40, 0.45; the second prompt's judge is indifferent.
    assert (int(targets.best[0]), int(targets.worst[0])) == (0, 1)
    assert targets.tied.tolist() == [[False], [True]]


def test_groups_are_best_of_n_each_by_itself() -> None:
    """Two groups of three give what two rollouts of three give, for either selection."""
    lengths = [[3, 1, 5, 2, 4, 4], [1, 1, 5, 5, 2, 3]]
    rewards = draw(3, 2, 6)
    skew = draw(4, 2, 6, 6)
    wins = torch.sigmoid(skew - skew.transpose(1, 2))
    for selection in ("reward", "judge"):
        method = IterativeDPO(responses=3, groups=2, selection=selection)
        scores = made_scores(MAGNET, lengths=lengths)
        whole = method.targets(made_rollout(rewards, lengths, wins=wins), scores)
        loss, metrics = method.loss(scores, whole)
        single = IterativeDPO(responses=3, selection=selection)
        losses = []
        for group in range(2):
            of = slice(3 * group, 3 * group + 3)
            own = [row[of] for row in lengths]
            rollout = made_rollout(rewards[:, of], own, wins=wins[:, of, of])
            mask, steps = scores.mask[:, of], max(max(row) for row in own)
            part = scores._replace(
                logprobs=scores.logprobs[:, of, :steps],
                entropy=scores.entropy[:, of, :steps],
                other_logprobs={MAGNET: scores.other_logprobs[MAGNET][:, of, :steps]},
                mask=mask[..., :steps],
            )
            targets = single.targets(rollout, part)
            assert torch.equal(whole.best[:, group], targets.best[:, 0] + 3 * group)
            assert torch.equal(whole.worst[:, group], targets.worst[:, 0] + 3 * group)
            losses.append(single.loss(part, targets)[0])
        torch.testing.assert_close(loss, torch.stack(losses).mean(), **CLOSE)
        assert metrics["margin"].weight == 4.0
    assert IterativeDPO(responses=3, groups=2).needs().responses == 6


@pytest.mark.parametrize("size", [1, 3])
def test_micro_batches_add_up(size: int) -> None:
    method, now, targets = made(0.1)
    whole, wanted = method.loss(now, targets)
    total, found = torch.zeros((), dtype=torch.float64), dict.fromkeys(wanted, 0.0)
    for begin in range(0, 4, size):
        part = slice(begin, min(4, begin + size))
        share, metrics = method.loss(part_of(now, part), targets_slice(targets, part))
        total = total + share
        for name, (mean, weight) in metrics.items():
            found[name] += float(mean) * weight / wanted[name].weight
    torch.testing.assert_close(total, whole, **CLOSE)
    assert found == pytest.approx({name: float(m.mean) for name, m in wanted.items()}, rel=1e-10)


def test_at_the_rounds_start_the_loss_is_log_2() -> None:
    method, now, targets = made(0.1)
    same: Tensor = now.other_logprobs[MAGNET]
    loss, metrics = method.loss(now._replace(logprobs=same), targets)
    assert float(loss) == pytest.approx(math.log(2))
    assert float(metrics["margin"].mean) == 0.0


def test_needs() -> None:
    wanted = Needs(
        responses=8,
        all_pairs=True,
        judged=False,
        rewards=True,
        samples_from_magnet=True,
        logprobs_of=(MAGNET,),
        inner_steps=2,
        magnet_follows_rounds=True,
    )
    by_reward = IterativeDPO(responses=8, inner_steps=2).needs()
    assert by_reward == wanted
    by_judge = IterativeDPO(responses=8, inner_steps=2, selection="judge").needs()
    assert by_judge == wanted._replace(judged=True, rewards=False)
    assert judge_calls_a_prompt(by_reward) == 8
    assert judge_calls_a_prompt(by_judge) == 28
    assert int(compared_pairs(by_judge, 1).sum()) == 56


def test_rewards_that_are_missing_are_named() -> None:
    with pytest.raises(ValueError, match=r"reward: .*got None"):
        IterativeDPO(responses=3).targets(made_rollout(None), made_scores(MAGNET))


@pytest.mark.parametrize(
    "field, value",
    [
        *itertools.product(["responses"], [1, 0]),
        ("groups", 0),
        *itertools.product(["beta"], [0.0, -0.1, float("nan"), float("inf")]),
        *itertools.product(["label_smoothing"], [-0.1, 0.5, 1.0, float("nan")]),
        ("selection", "best"),
        ("inner_steps", 0),
    ],
)
def test_a_bad_value_is_named_with_what_was_given(field: str, value: object) -> None:
    (problem,) = IterativeDPO(**{field: value}).problems()
    assert problem.startswith(f"{field}: got {value!r}, allowed is ")


def test_valid_values_have_no_problem_and_all_problems_come_at_once() -> None:
    assert IterativeDPO().problems() == []
    assert IterativeDPO(2, 3, 1e-3, 0.49, "judge", 5).problems() == []
    bad = {
        "responses": 1,
        "groups": 0,
        "beta": 0.0,
        "label_smoothing": 0.5,
        "selection": "x",
        "inner_steps": 0,
    }
    assert [p.split(":")[0] for p in IterativeDPO(**bad).problems()] == list(bad)
