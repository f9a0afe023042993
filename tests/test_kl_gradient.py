"""Which gradient each way of penalising KL(π ‖ μ) has, by enumerating all responses.

The first half runs MPO's own targets and loss on all responses, weighted by π_k(y). The second
half documents the single-sample estimators k1, k2 and k3, which MPO does not use as losses.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mpo.objectives.mpo import MPO
from mpo.objectives.protocol import BEHAVIOUR, MAGNET
from mpo.policy import Policy
from mpo.records import Scores
from tests.enumerated_scores import (
    at_start,
    detached,
    engine_scores,
    outcomes,
    rollout_of,
    weighted_gradient,
)
from tests.kl_oracles import (
    directional_differences,
    flat_gradient,
    kl_by_token,
    kl_of_enumeration,
    log_probs,
    next_token_log_probs,
    unit_directions,
)
from tests.oracles import all_responses
from tests.tiny_llama import every_response, frozen_twin, prompts_of, tiny_llama

SYMBOLS, MAX_TOKENS = 3, 3
PROMPT = [1, 2]
RESPONSES = all_responses(SYMBOLS, MAX_TOKENS)
ALPHA = 0.3
CLOSE = {"rtol": 1e-8, "atol": 1e-11}


@pytest.fixture(params=[None, 1], ids=["all weights", "last block"])
def policy(request: pytest.FixtureRequest) -> Policy:
    return Policy(tiny_llama(SYMBOLS + 1), request.param)


def parameters_of(policy: Policy) -> list[Tensor]:
    return [parameter for _, parameter in policy.moving_parameters()]


def responses_alone(scores: Scores) -> Scores:
    """Each enumerated response as an outcome of its own: (R, 1, T)."""
    return outcomes(scores, torch.arange(len(RESPONSES))[:, None])


def expected_gradient(policy: Policy, magnet: Policy, kl_gradient: str) -> Tensor:
    """Σ_y π_k(y) ∇ loss(y) at θ = θ_k, every comparison a draw: the gradient of α KL alone."""
    objective = MPO(
        alpha=ALPHA, kl_gradient=kl_gradient, symmetric=False, responses=1, pairs="disjoint"
    )
    prompts, responses = prompts_of([PROMPT]), every_response(1, SYMBOLS, MAX_TOKENS)
    scores = responses_alone(at_start(policy, magnet, prompts, responses))
    draws = torch.full((len(RESPONSES), 1, 1), 0.5, dtype=torch.float64)
    targets = objective.targets(rollout_of(draws), detached(scores))
    weights = log_probs(policy.model, PROMPT, RESPONSES).detach().exp()
    return weighted_gradient(objective, targets, scores, weights, parameters_of(policy))


def gradient_on_visited_prefixes(policy: Policy, magnet: Policy) -> Tensor:
    """E_π_k[Σ_t ∇ KL_t], the visits held fixed, from the models alone."""
    weights = log_probs(policy.model, PROMPT, RESPONSES).detach().exp()
    kls = kl_by_token(policy.model, magnet.model, PROMPT, RESPONSES)
    expected = sum(w * kl.sum() for w, kl in zip(weights, kls, strict=True))
    return flat_gradient(expected, parameters_of(policy))


def true_gradient(policy: Policy, magnet: Policy) -> Tensor:
    """∇ KL(π_θ ‖ μ) through the enumerated probabilities."""
    mine = log_probs(policy.model, PROMPT, RESPONSES)
    theirs = log_probs(magnet.model, PROMPT, RESPONSES).detach()
    return flat_gradient(kl_of_enumeration(mine, theirs), parameters_of(policy))


def relative_distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_sequence_is_the_gradient_of_the_enumerated_kl(policy: Policy) -> None:
    magnet = frozen_twin(policy, seed=1)
    got = expected_gradient(policy, magnet, "sequence")
    torch.testing.assert_close(got, ALPHA * true_gradient(policy, magnet), **CLOSE)


def test_sequence_agrees_with_finite_differences_of_the_kl(policy: Policy) -> None:
    magnet = frozen_twin(policy, seed=1)
    theirs = log_probs(magnet.model, PROMPT, RESPONSES).detach()
    parameters = parameters_of(policy)
    directions = unit_directions(6, sum(p.numel() for p in parameters), seed=3)
    got = expected_gradient(policy, magnet, "sequence")
    wanted = directional_differences(
        lambda: kl_of_enumeration(log_probs(policy.model, PROMPT, RESPONSES), theirs),
        parameters,
        directions,
    )
    torch.testing.assert_close(directions @ got, ALPHA * wanted, rtol=1e-6, atol=1e-9)


def test_per_token_is_the_gradient_on_visited_prefixes_only(policy: Policy) -> None:
    magnet = frozen_twin(policy, seed=1)
    got = expected_gradient(policy, magnet, "per_token")
    wanted = ALPHA * gradient_on_visited_prefixes(policy, magnet)
    torch.testing.assert_close(got, wanted, **CLOSE)
    assert relative_distance(got, ALPHA * true_gradient(policy, magnet)) > 0.05


def test_the_two_differ_by_the_enumerated_future_term(policy: Policy) -> None:
    magnet = frozen_twin(policy, seed=1)
    gap = expected_gradient(policy, magnet, "sequence") - expected_gradient(
        policy, magnet, "per_token"
    )
    tables = next_token_log_probs(policy.model, PROMPT, RESPONSES)
    kls = kl_by_token(policy.model, magnet.model, PROMPT, RESPONSES)
    weights = log_probs(policy.model, PROMPT, RESPONSES).detach().exp()
    future = torch.zeros((), dtype=torch.float64)
    for weight, table, kl, tokens in zip(weights, tables, kls, RESPONSES, strict=True):
        for t, token in enumerate(tokens):
            future = future + weight * table[t, token] * kl[t + 1 :].sum().detach()
    wanted = ALPHA * flat_gradient(future, parameters_of(policy))
    torch.testing.assert_close(gap, wanted, **CLOSE)


def test_away_from_the_start_the_loss_has_the_kls_of_the_visited_prefixes() -> None:
    policy = Policy(tiny_llama(SYMBOLS + 1), 1)
    behaviour, magnet = frozen_twin(policy, seed=2), frozen_twin(policy, seed=1)
    eta = 0.7
    objective = MPO(alpha=ALPHA, eta=eta, kl_gradient="per_token", symmetric=False, responses=1)
    prompts, responses = prompts_of([PROMPT]), every_response(1, SYMBOLS, MAX_TOKENS)
    frozen = {BEHAVIOUR: behaviour, MAGNET: magnet}
    scores = responses_alone(engine_scores(policy, frozen, prompts, responses))
    old = detached(scores)._replace(logprobs=scores.other_logprobs[BEHAVIOUR])
    draws = torch.full((len(RESPONSES), 1, 1), 0.5, dtype=torch.float64)
    targets = objective.targets(rollout_of(draws), old)
    weights = log_probs(behaviour.model, PROMPT, RESPONSES).detach().exp()
    got = weighted_gradient(objective, targets, scores, weights, parameters_of(policy))
    to_magnet = kl_by_token(policy.model, magnet.model, PROMPT, RESPONSES)
    to_start = kl_by_token(policy.model, behaviour.model, PROMPT, RESPONSES)
    expected = sum(
        weight * (ALPHA * far.sum() + near.sum() / eta)
        for weight, far, near in zip(weights, to_magnet, to_start, strict=True)
    )
    torch.testing.assert_close(got, flat_gradient(expected, parameters_of(policy)), **CLOSE)


def estimator_gradient(policy: Policy, magnet: Policy, name: str) -> Tensor:
    """Σ_y π_k(y) ∇ Σ_t k(y_t | s_t), with the engine's log-probabilities, used as a loss."""
    prompts, responses = prompts_of([PROMPT]), every_response(1, SYMBOLS, MAX_TOKENS)
    scores = engine_scores(policy, {MAGNET: magnet}, prompts, responses)
    log_ratio = scores.other_logprobs[MAGNET] - scores.logprobs
    terms = {
        "k1": -log_ratio,
        "k2": 0.5 * log_ratio**2,
        "k3": torch.exp(log_ratio) - 1 - log_ratio,
    }
    weights = log_probs(policy.model, PROMPT, RESPONSES).detach().exp()
    expected = (weights[:, None] * (terms[name] * scores.mask)[0]).sum()
    return flat_gradient(expected, parameters_of(policy))


def test_k1_as_a_loss_has_no_gradient_in_expectation(policy: Policy) -> None:
    magnet = frozen_twin(policy, seed=1)
    got = estimator_gradient(policy, magnet, "k1")
    true = true_gradient(policy, magnet)
    assert float(true.norm()) > 0.1
    assert float(got.norm()) < 1e-10 * float(true.norm())


def test_k2_as_a_loss_misses_the_future_term(policy: Policy) -> None:
    magnet = frozen_twin(policy, seed=1)
    got = estimator_gradient(policy, magnet, "k2")
    torch.testing.assert_close(got, gradient_on_visited_prefixes(policy, magnet), **CLOSE)
    assert relative_distance(got, true_gradient(policy, magnet)) > 0.05


def test_k3_as_a_loss_descends_the_reversed_kl_at_each_prefix(policy: Policy) -> None:
    magnet = frozen_twin(policy, seed=1)
    got = estimator_gradient(policy, magnet, "k3")
    weights = log_probs(policy.model, PROMPT, RESPONSES).detach().exp()
    with torch.no_grad():
        theirs = next_token_log_probs(magnet.model, PROMPT, RESPONSES)
    mine = next_token_log_probs(policy.model, PROMPT, RESPONSES)
    reversed_kl = sum(
        weight * (q.exp() * (q - p)).sum()
        for weight, p, q in zip(weights, mine, theirs, strict=True)
    )
    torch.testing.assert_close(got, flat_gradient(reversed_kl, parameters_of(policy)), **CLOSE)
    assert relative_distance(got, true_gradient(policy, magnet)) > 0.05
    assert relative_distance(got, gradient_on_visited_prefixes(policy, magnet)) > 0.05
