from __future__ import annotations

import itertools

import pytest

from baselines.ppo import PPO
from mpo.objectives.protocol import REFERENCE, AdaptiveObjective, Needs
from tests.baselines.made_scores import draw, made_rollout, made_scores

NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"responses": 1, "inner_steps": 1, "beta": 0.0, "gamma": 0.5, "gae_lambda": 0.0},
        {"gae_lambda": 1.0, "clip_range": 1.5, "value_coefficient": 0.0, "ptx_coefficient": 27.8},
        {"adaptive_kl": True, "beta": 1e-3, "kl_target": 0.1, "kl_horizon": 1},
    ],
    ids=str,
)
def test_valid_values(fields: dict[str, object]) -> None:
    assert PPO(**fields).problems() == []


@pytest.mark.parametrize(
    "field, value",
    [
        ("responses", 0),
        ("inner_steps", 0),
        *itertools.product(["beta", "value_coefficient", "ptx_coefficient"], [-0.1, NAN, INFINITE]),
        *itertools.product(["gamma"], [0.0, 1.01, NAN]),
        *itertools.product(["gae_lambda"], [-0.1, 1.01, NAN]),
        *itertools.product(["clip_range", "value_clip_range", "kl_target"], [0.0, NAN, INFINITE]),
        ("kl_horizon", 0),
    ],
)
def test_a_bad_value_is_named_with_what_was_given(field: str, value: object) -> None:
    (problem,) = PPO(**{field: value}).problems()
    assert problem.startswith(f"{field}: got {value!r}, allowed is ")


def test_an_adaptive_beta_cannot_start_at_zero() -> None:
    (problem,) = PPO(beta=0.0, adaptive_kl=True).problems()
    assert problem.startswith("beta: got 0.0, allowed is a number > 0 when adaptive_kl")


def test_all_problems_come_at_once() -> None:
    bad = {
        "responses": 0,
        "inner_steps": 0,
        "beta": -1.0,
        "gamma": 2.0,
        "gae_lambda": 2.0,
        "clip_range": 0.0,
        "value_clip_range": 0.0,
        "value_coefficient": -1.0,
        "ptx_coefficient": -1.0,
        "kl_target": 0.0,
        "kl_horizon": 0,
    }
    assert sorted(problem.split(":")[0] for problem in PPO(**bad).problems()) == sorted(bad)


def test_needs() -> None:
    wanted = Needs(
        responses=6,
        judged=False,
        rewards=True,
        logprobs_of=(REFERENCE,),
        values=True,
        demonstrations=False,
        inner_steps=3,
    )
    assert PPO(responses=6, inner_steps=3).needs() == wanted
    with_ptx = PPO(responses=6, inner_steps=3, ptx_coefficient=0.1).needs()
    assert with_ptx == wanted._replace(demonstrations=True)


@pytest.mark.parametrize(
    "kl, samples, factor",
    [
        (6.0, 100.0, 1.0),
        (6.6, 1000.0, 1 + 0.1 * 0.1),
        (5.4, 1000.0, 1 - 0.1 * 0.1),
        (60.0, 1000.0, 1 + 0.2 * 0.1),
        (-3.0, 1000.0, 1 - 0.2 * 0.1),
        (60.0, 1e9, 1.2),
        (0.0, 1e9, 0.8),
    ],
)
def test_beta_follows_the_kl(kl: float, samples: float, factor: float) -> None:
    ppo = PPO(adaptive_kl=True)
    assert isinstance(ppo, AdaptiveObjective)
    state = ppo.initial_state()
    assert state == {"beta": 0.1}
    state = ppo.next_state(state, {"kl_reference": kl, "kl_samples": samples})
    assert state["beta"] == pytest.approx(0.1 * factor, rel=1e-12)
    again = ppo.next_state(state, {"kl_reference": kl, "kl_samples": samples})
    assert again["beta"] == pytest.approx(0.1 * factor**2, rel=1e-12)


def test_a_constant_beta_stays_and_the_rollouts_beta_counts_when_it_is_adaptive() -> None:
    fixed = PPO(responses=3)
    assert fixed.next_state({"beta": 0.1}, {"kl_reference": 60.0}) == {"beta": 0.1}
    scores, rewards = made_scores(REFERENCE), draw(0, 4, 3)
    rollout = made_rollout(rewards, state={"beta": 0.4})
    for adaptive, beta in ((False, 0.1), (True, 0.4)):
        ppo = PPO(responses=3, adaptive_kl=adaptive)
        targets = ppo.targets(rollout, scores)
        same = PPO(responses=3, beta=beta).targets(rollout, scores)
        assert targets.beta.tolist() == [beta] * 4
        assert targets.advantages.equal(same.advantages)
        metrics = ppo.loss(scores, targets)[1]
        # All 12 responses of the iteration, whatever the micro-batch.
        samples = [float(metrics[name].mean) for name in metrics if name == "kl_samples"]
        assert samples == ([12.0] if adaptive else [])
