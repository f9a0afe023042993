"""PPO's expected gradient at θ_k is that of E[r] − β KL(π ‖ π_ref), by enumeration."""

from __future__ import annotations

import torch
from torch import Tensor

from baselines.ppo import PPO
from mpo.objectives.protocol import REFERENCE
from mpo.policy import Policy
from tests.baselines.made_scores import draw, made_rollout
from tests.enumerated_scores import detached, engine_scores, outcomes, weighted_gradient
from tests.kl_oracles import flat_gradient, kl_of_enumeration, log_probs
from tests.oracles import all_responses
from tests.tiny_llama import every_response, frozen_twin, prompts_of, tiny_llama

PROMPT, SYMBOLS, MAX_TOKENS, BETA = [1, 0], 3, 2, 0.3
CLOSE = {"rtol": 1e-8, "atol": 1e-11}


def gradients(critic: Tensor | None = None, **fields: float) -> tuple[Tensor, Tensor]:
    """The loss's expected gradient over every response, and the objective's own gradient.

    `critic` holds the value of the first state and of the states after each first token.
    """
    responses = all_responses(SYMBOLS, MAX_TOKENS)
    rewards = draw(1, len(responses))
    policy = Policy(tiny_llama(SYMBOLS + 1), 1)
    reference = frozen_twin(policy, seed=1)
    parameters = [p for _, p in policy.moving_parameters()]
    prompts, every = prompts_of([PROMPT]), every_response(1, SYMBOLS, MAX_TOKENS)
    scores = engine_scores(policy, {REFERENCE: reference}, prompts, every)
    each = outcomes(scores._replace(kl={}), torch.arange(len(responses))[:, None])
    values = torch.zeros(each.mask.shape, dtype=torch.float64)
    if critic is not None:
        values[:, 0, 0], values[:, 0, 1] = critic[0], critic[1 + every.ids[0, :, 0]]
    each = each._replace(values=values)

    ppo = PPO(responses=1, beta=BETA, whiten_advantages=False, **{"gae_lambda": 1.0, **fields})
    lengths = [[len(tokens)] for tokens in responses]
    targets = ppo.targets(made_rollout(rewards[:, None], lengths), detached(each))
    log_policy = log_probs(policy.model, PROMPT, responses)
    got = weighted_gradient(ppo, targets, each, log_policy.exp().detach(), parameters)

    with torch.no_grad():
        log_reference = log_probs(reference.model, PROMPT, responses)
    kl = kl_of_enumeration(log_policy, log_reference)
    wanted = flat_gradient(log_policy.exp() @ rewards - BETA * kl, parameters)
    return got, wanted


def test_the_gradient_is_that_of_the_regularised_reward() -> None:
    got, wanted = gradients()
    assert float(wanted.norm()) > 1e-2
    torch.testing.assert_close(got, -wanted, **CLOSE)


def test_a_critic_is_a_baseline_when_lambda_is_1_and_a_bias_when_it_is_0() -> None:
    critic = draw(2, 1 + SYMBOLS + 1)
    got, wanted = gradients(critic)
    torch.testing.assert_close(got, -wanted, **CLOSE)
    biased, _ = gradients(critic, gae_lambda=0.0)
    assert float((biased + wanted).norm()) > 1e-2


def test_a_discount_is_another_objective() -> None:
    got, wanted = gradients(gamma=0.5)
    assert float((got + wanted).norm()) > 1e-2
