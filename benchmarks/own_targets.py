"""The policy that each method would end at on a game, with infinitely many samples and steps.

A method is checked against the solution of its own objective, which need not be the game's
equilibrium. Solved by enumeration, without any learning; X prompts, R responses, C covering
responses of T tokens, V vocabulary.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any, NamedTuple

import torch
from torch import Tensor

from baselines.iterative_dpo import IterativeDPO
from baselines.ppo import PPO
from mpo.games.bradley_terry_fit import NoFiniteFit, population_reward
from mpo.games.enumerable_lm import EnumerableGame
from mpo.games.population import (
    iterated_judged_dpo,
    iterated_population_dpo,
    no_self_play,
    tilted_reference,
)
from mpo.games.regularised import regularised_equilibrium, regularised_equilibrium_per_token
from mpo.games.solve import duality_gap
from mpo.objectives.mpo import MPO
from mpo.objectives.mpo_rt import MPORT

JUDGED_DRAWS = 2**18
"""Sets of samples a prompt and round that estimate which pairs a judge selects."""
JUDGED_SEED = 0


class OwnTarget(NamedTuple):
    """Where a method goes."""

    name: str
    gap: float
    """Duality gap in the original game."""
    log_probs: Tensor | None
    """(X, R) float64, −∞ where it never goes; None where it need not be one policy."""


@singledispatch
def own_target(
    objective: Any, game: EnumerableGame, next_token: Tensor, rounds: int
) -> OwnTarget | None:
    """The target of an objective; None where none is known.

    Args:
        objective: the method.
        game: the game that it plays, or whose population Bradley-Terry fit is its reward.
        next_token: (X, C, T, V), the initial policy's log-probabilities on ``game.covering``.
        rounds: rounds of the run.

    Raises:
        EquilibriumNotFound, FitNotFound: a solver fell short of its promised accuracy.
    """
    return None


@own_target.register
def _mpo(objective: MPO, game: EnumerableGame, next_token: Tensor, rounds: int) -> OwnTarget | None:
    """None for a reward that isn't the win alone, and for an opponent that lags behind.

    Without self-play only ``kl_gradient: sequence`` has the solution that is given here.
    """
    if objective.reward != "terminal":
        return None
    if objective.self_play:
        return _self_play(objective, game, next_token, objective.kl_gradient)
    if objective.gamma < 1 or objective.alpha == 0 or objective.kl_gradient != "sequence":
        return None
    log_initial = game.log_probs(next_token)
    policy = no_self_play(game.preferences, log_initial, objective.alpha)
    return _target("answer to the initial policy", game, policy)


@own_target.register
def _mpo_rt(
    objective: MPORT, game: EnumerableGame, next_token: Tensor, rounds: int
) -> OwnTarget | None:
    """As MPO's sequence gradient; the literal log-ratio, which pays P at every token, has none."""
    if objective.log_ratio == "sequence":
        return None
    return _self_play(objective, game, next_token, "sequence")


def _self_play(
    objective: MPO | MPORT, game: EnumerableGame, next_token: Tensor, kl_gradient: str
) -> OwnTarget | None:
    if objective.opponent != "policy" or objective.gamma < 1 or objective.alpha == 0:
        return None
    if objective.magnet_interval is not None:
        return OwnTarget("Nash equilibrium", 0.0, None)
    prompts = range(len(game.prompts))
    if kl_gradient == "per_token":
        policies = [
            regularised_equilibrium_per_token(game, x, next_token[x], objective.alpha)
            for x in prompts
        ]
        return _target("per-token regularised equilibrium", game, torch.stack(policies).log())
    magnet = game.log_probs(next_token)
    policies = [
        regularised_equilibrium(game.preferences[x], magnet[x], objective.alpha) for x in prompts
    ]
    return _target("regularised equilibrium", game, torch.stack(policies).log())


@own_target.register
def _ppo(objective: PPO, game: EnumerableGame, next_token: Tensor, rounds: int) -> OwnTarget | None:
    """None where discount, whitened rewards, demonstrations or a moving β change the objective."""
    changed = objective.whiten_rewards or objective.adaptive_kl or objective.ptx_coefficient > 0
    if objective.gamma < 1 or changed:
        return None
    log_reference = game.log_probs(next_token)
    rewards = population_reward(game.preferences, log_reference.exp())
    if objective.beta == 0:
        return _best_reward("best reward", game, rewards)
    policy = tilted_reference(log_reference, rewards, objective.beta)
    return _target("tilted reference", game, policy)


@own_target.register
def _iterative_dpo(
    objective: IterativeDPO, game: EnumerableGame, next_token: Tensor, rounds: int
) -> OwnTarget | None:
    """None where a judge's selection gives DPO no finite minimum.

    Without label smoothing a reward's order is never reversed, and all that minimises the loss of
    a round goes to the best reward alone.
    """
    n, beta, smoothing = objective.responses, objective.beta, objective.label_smoothing
    log_reference = game.log_probs(next_token)
    if objective.selection == "judge":
        try:
            policy = iterated_judged_dpo(
                log_reference,
                game.preferences,
                n,
                beta,
                smoothing,
                rounds,
                JUDGED_DRAWS,
                JUDGED_SEED,
            )
        except NoFiniteFit:
            return None
        return _target("iterated population DPO on Monte-Carlo pairs", game, policy)
    rewards = population_reward(game.preferences, log_reference.exp())
    if smoothing == 0:
        return _best_reward("limit of iterated population DPO", game, rewards)
    policy = iterated_population_dpo(log_reference, rewards, n, beta, smoothing, rounds)
    return _target("iterated population DPO", game, policy)


def _best_reward(name: str, game: EnumerableGame, rewards: Tensor) -> OwnTarget | None:
    """All on the response of the highest reward; None where two share it."""
    highest = rewards == rewards.amax(1, keepdim=True)
    if bool((highest.sum(1) > 1).any()):
        return None
    return _target(name, game, highest.to(torch.float64).log())


def _target(name: str, game: EnumerableGame, log_probs: Tensor) -> OwnTarget:
    gap = duality_gap(game.preferences, log_probs.exp(), game.prompt_weights)
    return OwnTarget(name, gap, log_probs)
