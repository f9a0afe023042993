"""PPO and iterative DPO through the unchanged engine on a tiny game.

Llama's norms and rotary angles are float32 also in a float64 model, hence the tolerances.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from baselines.iterative_dpo import IterativeDPO
from baselines.ppo import PPO
from mpo.critic import ValueModel
from mpo.demonstrations import Demonstrations
from mpo.judges.matrix import MatrixGameReward
from mpo.module import AlignmentModule
from mpo.objectives.protocol import MAGNET, REFERENCE
from mpo.policy import Policy
from tests.baselines.made_scores import draw
from tests.engine import (
    AfterIteration,
    Steps,
    Weights,
    fit,
    model_with,
    prompt_set,
    same_bits,
    tiny_game,
    tiny_module,
    tiny_policy,
    token_logprobs,
    weights_of,
)
from tests.kl_oracles import log_probs

GAME = tiny_game()
REWARDS = draw(3, len(GAME.prompts), GAME.num_responses)


def critic_of(policy: Policy) -> ValueModel:
    """A critic of its own weights, whose head is not zero."""
    critic = ValueModel(policy.frozen_copy())
    with torch.no_grad():
        critic.head.weight.copy_(0.5 * draw(9, *critic.head.weight.shape))
    return critic


def ppo_run(
    fields: dict[str, Any] | None = None, shown: Demonstrations | None = None, **settings: Any
) -> tuple[AlignmentModule, Steps]:
    """A run of PPO with 3 responses a prompt; its module and what the optimizer saw."""
    objective = PPO(**{"responses": 3, "inner_steps": 2, **(fields or {})})
    policy = tiny_policy(GAME)
    module = tiny_module(
        GAME,
        objective,
        policy=policy,
        critic=critic_of(policy),
        reward=MatrixGameReward(GAME, REWARDS),
        demonstrations=shown,
        **{"iterations": 2, "schedule": "constant", "seed": 1, **settings},
    )
    steps = Steps()
    fit(module, GAME, callbacks=[steps])
    return module, steps


def split(gradients: Weights) -> tuple[Tensor, Tensor]:
    """The policy's gradient and the critic's, each as one vector."""
    parts = []
    for owner in ("policy.", "critic."):
        parts.append(torch.cat([g.flatten() for n, g in gradients.items() if n.startswith(owner)]))
    return parts[0], parts[1]


def test_neither_loss_reaches_the_other_model() -> None:
    # The first step of three runs that differ in the weight of the critic's loss alone.
    none, half, two = (
        split(ppo_run({"value_coefficient": c}, iterations=1)[1].gradients[0])
        for c in (0.0, 0.5, 2.0)
    )
    assert torch.equal(none[0], half[0]) and torch.equal(half[0], two[0])
    assert bool((none[0] != 0).any())
    # The policy's loss alone leaves the critic's gradient at nothing.
    assert bool((none[1] == 0).all())
    assert bool((half[1] != 0).any())
    torch.testing.assert_close(two[1], 4 * half[1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2])
def test_micro_batches_change_no_gradient(size: int) -> None:
    # All whitening on: it is over the whole rollout, not over a micro-batch.
    fields = {"whiten_rewards": True, "whiten_advantages": True}
    (_, whole), (_, parts) = (ppo_run(fields, micro_prompts=m) for m in (None, size))
    for one, other in zip(whole.gradients, parts.gradients, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=1e-5, atol=1e-7)
    for one, other in zip(whole.logged, parts.logged, strict=True):
        assert one == pytest.approx(other, rel=1e-5, abs=1e-7)


def test_the_policys_gradient_is_ppos_written_out() -> None:
    fields = {"whiten_advantages": False, "gae_lambda": 1.0, "value_coefficient": 0.5}
    _, steps = ppo_run(fields, iterations=1)
    rollout, start = steps.rollouts[0], steps.weights[0]
    reference = token_logprobs(model_with(tiny_policy(GAME), start), rollout)
    assert rollout.rewards is not None
    values = values_of(start, rollout)
    for weights, found in zip(steps.weights, steps.gradients, strict=True):
        model = model_with(tiny_policy(GAME), weights)
        now = token_logprobs(model, rollout)
        loss = torch.zeros((), dtype=torch.float64)
        for x in range(3):
            for i in range(3):
                ratio = torch.exp(now[x][i] - reference[x][i].detach())
                # π_k is the reference in the first iteration: no penalty is due yet.
                advantage = rollout.rewards[x, i] - values[x][i]
                near = ratio.clamp(0.8, 1.2)
                loss = loss - torch.minimum(ratio * advantage, near * advantage).sum() / 9
        loss.backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(
                found[f"policy.model.{name}"], parameter.grad, rtol=1e-5, atol=1e-6
            )


def values_of(weights: Weights, rollout: Any) -> list[list[Tensor]]:
    """V(s_t) of the critic with `weights`, each response in a forward pass of its own."""
    critic = critic_of(tiny_policy(GAME))
    own = {n.removeprefix("critic."): w for n, w in weights.items() if n.startswith("critic.")}
    critic.load_state_dict(own, strict=False)
    trunk: nn.Module = critic.backbone.model.model
    table = []
    for x, length in enumerate(rollout.prompts.lengths.tolist()):
        row = []
        for i in range(rollout.responses.ids.shape[1]):
            reply = rollout.responses.ids[x, i, : int(rollout.responses.lengths[x, i])]
            ids = torch.cat([rollout.prompts.ids[x, :length], reply])
            with torch.no_grad():
                states = trunk(input_ids=ids[None]).last_hidden_state[0, length - 1 : -1]
                row.append(critic.head(states)[:, 0])
        table.append(row)
    return table


def test_ppo_raises_the_reward_and_moves_neither_reference_nor_reward() -> None:
    table = REWARDS.clone()
    module, steps = ppo_run({"beta": 0.02}, iterations=25, critic_lr=3e-2)
    first, last = steps.logged[0], steps.logged[-1]
    assert last["reward"] > first["reward"] + 0.5
    assert last["kl_reference"] > 0.1 > abs(first["kl_reference"])
    reference = {n: p.detach() for n, p in module.snapshots[REFERENCE].moving_parameters()}
    assert same_bits(reference, weights_of(tiny_policy(GAME)))
    assert torch.equal(REWARDS, table)
    assert module.counts == {
        "samples": 225,
        "judge_calls": 225,
        "tokens": module.counts["tokens"],
    }


def test_the_adaptive_beta_is_carried_from_iteration_to_iteration() -> None:
    fields = {"adaptive_kl": True, "kl_target": 0.05, "kl_horizon": 18, "beta": 0.2}
    module, steps = ppo_run(fields, iterations=6, lr=5e-2)
    beta = 0.2
    for logged in steps.logged:
        assert logged["beta"] == pytest.approx(beta, rel=1e-6)
        assert logged["kl_samples"] == 9.0
        error = max(-0.2, min(0.2, logged["kl_reference"] / 0.05 - 1))
        assert 0.8 <= 1 + error * 9 / 18 <= 1.2
        beta *= 1 + error * 9 / 18
    assert module.state["beta"] == pytest.approx(beta, rel=1e-6)
    betas = [logged["beta"] for logged in steps.logged]
    # From the reference itself the KL is too small at first, and later it is too large.
    assert betas[1] < betas[0] and betas[-1] > min(betas)


def test_demonstrations_are_learned_beside_the_reward() -> None:
    replies = [[GAME.eos], [0, GAME.eos], [2, 1]]
    shown = Demonstrations(prompt_set(GAME), replies, batch_size=3, iterations=12, seed=0)
    _, steps = ppo_run({"ptx_coefficient": 1.0}, shown, iterations=12)
    assert steps.logged[-1]["demonstrations"] > steps.logged[0]["demonstrations"] + 0.2


def dpo_run(fields: dict[str, Any], **settings: Any) -> tuple[AlignmentModule, Steps, list[Any]]:
    """A run of iterative DPO; its module, what the optimizer saw, and the magnets by iteration."""
    magnets = AfterIteration(
        lambda module: (weights_of(module.snapshots[MAGNET]), weights_of(module.policy))
    )
    module = tiny_module(
        GAME,
        IterativeDPO(**fields),
        reward=MatrixGameReward(GAME, REWARDS),
        **{"schedule": "constant", "lr": 2e-2, **settings},
    )
    steps = Steps()
    fit(module, GAME, callbacks=[steps, magnets])
    return module, steps, magnets.seen


@pytest.mark.parametrize("micro_prompts", [None, 2])
def test_dpo_in_rounds_written_out(micro_prompts: int | None) -> None:
    fields = {"responses": 4, "beta": 0.5, "label_smoothing": 0.1}
    _, steps, seen = dpo_run(fields, iterations=4, rounds=2, micro_prompts=micro_prompts)
    # The magnet stands still in a round, and takes the policy at its end.
    for before, after in ((0, 1), (2, 3)):
        assert same_bits(seen[before][0], seen[after][0])
    for end in (2, 4):
        assert same_bits(seen[end][0], seen[end][1])
    margins = []
    for step, (weights, found) in enumerate(zip(steps.weights, steps.gradients, strict=True)):
        rollout = steps.rollouts[step]
        assert rollout.rewards is not None
        model = model_with(tiny_policy(GAME), weights)
        magnet = model_with(tiny_policy(GAME), steps.weights[2 * (step // 2)])
        table, fixed = token_logprobs(model, rollout), token_logprobs(magnet, rollout)
        loss = torch.zeros((), dtype=torch.float64)
        for x, row in enumerate(rollout.rewards.tolist()):
            best, worst = row.index(max(row)), row.index(min(row))
            drift = [table[x][i].sum() - fixed[x][i].sum().detach() for i in range(4)]
            z = 0.5 * (drift[best] - drift[worst])
            margins.append(float(z.detach()))
            loss = loss - (0.9 * nn.functional.logsigmoid(z)) / 3
            loss = loss - (0.1 * nn.functional.logsigmoid(-z)) / 3
        loss.backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(
                found[f"policy.model.{name}"], parameter.grad, rtol=1e-5, atol=1e-7
            )
        # Where a round starts the policy is its reference.
        start = math.isclose(steps.logged[step]["dpo_loss"], math.log(2), rel_tol=1e-6)
        assert start is (step % 2 == 0)
    assert max(map(abs, margins)) > 1e-2


def response_probs(policy: Policy) -> Tensor:
    """(X, R): π(y | x) by enumeration."""
    rows = zip(GAME.responses.tolist(), GAME.lengths.tolist(), strict=True)
    responses = [tuple(ids[:length]) for ids, length in rows]
    with torch.no_grad():
        every = [log_probs(policy.model, prompt, responses) for prompt in GAME.prompts]
    return torch.stack(every).exp()


@pytest.mark.parametrize("selection", ["reward", "judge"])
def test_dpo_learns_what_it_selects_by(selection: str) -> None:
    fields = {"responses": 4, "selection": selection}
    module, _, _ = dpo_run(fields, iterations=16, rounds=2)
    before, after = response_probs(tiny_policy(GAME)), response_probs(module.policy)
    if selection == "reward":
        gain = ((after - before) * REWARDS).sum(1)
    else:
        # Win probability against the initial policy, which is ½ against itself.
        gain = torch.einsum("xr,xrs,xs->x", after, GAME.preferences, before) - 0.5
    assert float(gain.mean()) > 0.05
    assert module.counts["judge_calls"] == 16 * 3 * (4 if selection == "reward" else 6)


def test_a_game_where_all_responses_are_equal_teaches_nothing_and_says_so() -> None:
    same = MatrixGameReward(GAME, torch.zeros_like(REWARDS))
    steps = Steps()
    module = tiny_module(GAME, IterativeDPO(responses=3), reward=same, iterations=1)
    fit(module, GAME, callbacks=[steps])
    assert steps.logged[0]["tied"] == 1.0
    assert all(bool((gradient == 0).all()) for gradient in steps.gradients[0].values())
