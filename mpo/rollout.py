"""One iteration's data: sample in as few passes as possible, then ask the judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mpo.clock import PhaseClock
from mpo.judges.protocol import Judge, RewardFunction, ask_rewards, judge_pairs
from mpo.objectives.protocol import Needs, compared_pairs
from mpo.policy import Policy
from mpo.records import Prompts, Responses, Rollout
from mpo.sampling import keyed_uniforms, sample

POLICY_STREAM, OPPONENT_STREAM, EVALUATION_STREAM = 0, 1, 2
"""Which random numbers a sample draws; see `keyed_uniforms`."""


@dataclass(frozen=True)
class SamplingSettings:
    """How responses are drawn and read."""

    seed: int
    max_tokens: int
    """A response is truncated at so many tokens."""
    end_tokens: tuple[int, ...]
    """Ids that end a response."""
    decode: Callable[[Sequence[int]], str]
    """Token ids of one response, the end token included, to the text that the judge reads."""


def texts_of(responses: Responses, settings: SamplingSettings) -> tuple[tuple[str, ...], ...]:
    """B × n texts."""
    rows = zip(responses.ids.tolist(), responses.lengths.tolist(), strict=True)
    return tuple(
        tuple(settings.decode(ids[:length]) for ids, length in zip(group, lengths, strict=True))
        for group, lengths in rows
    )


def collect(
    policy: Policy,
    opponent: Policy | None,
    judge: Judge,
    reward: RewardFunction | None,
    needs: Needs,
    prompts: Prompts,
    settings: SamplingSettings,
    iteration: int,
    iterations: int,
    state: Mapping[str, float],
    clock: PhaseClock,
) -> Rollout:
    """Sample and judge iteration `iteration` of `iterations`.

    The samples of `policy` (π_k, or the magnet where the objective wants its samples), its greedy
    response and, where the opponent is π_k, the opponent's samples come from one decoding pass.
    `opponent` is the snapshot's model where there is one, `reward` the reward model where one is
    needed, `state` the numbers of an adaptive objective.
    """
    n, k = needs.responses, needs.opponent_responses
    own_draws = n if opponent is not None else n + k
    with clock.phase("sampling"):
        drawn = sample(
            policy,
            prompts,
            keyed_uniforms(
                settings.seed,
                POLICY_STREAM,
                iteration,
                prompts.keys,
                own_draws,
                settings.max_tokens,
            ),
            settings.end_tokens,
            greedy=needs.greedy,
        )
        others: Responses | None = None
        extra: Responses | None = None
        if opponent is not None:
            uniforms = keyed_uniforms(
                settings.seed, OPPONENT_STREAM, iteration, prompts.keys, k, settings.max_tokens
            )
            others = extra = sample(opponent, prompts, uniforms, settings.end_tokens)
        elif k:
            others = drawn.select(slice(n, n + k))
        trained = drawn.select(slice(0, n))
        generated = [drawn] if extra is None else [drawn, extra]
    texts = texts_of(trained, settings)
    other_texts = texts if others is None else texts_of(others, settings)
    compared = compared_pairs(needs, len(texts))
    own_pairs = others is None
    with clock.phase("judging"):
        wins = judge_pairs(judge, prompts.texts, texts, other_texts, compared, own_pairs)
        calls = int(compared.sum()) // (2 if own_pairs else 1)
        greedy_wins = None
        if needs.greedy:
            greedy_texts = texts_of(drawn.select(slice(own_draws, own_draws + 1)), settings)
            met = torch.ones(len(texts), 1, compared.shape[2], dtype=torch.bool)
            greedy_wins = judge_pairs(judge, prompts.texts, greedy_texts, other_texts, met, False)
            greedy_wins = greedy_wins[:, 0]
            calls += met.numel()
        rewards = None
        if needs.rewards and reward is not None:
            rewards = _on(ask_rewards(reward, prompts.texts, texts), policy)
            calls += rewards.numel()
    return Rollout(
        iteration,
        iterations,
        prompts,
        trained,
        texts,
        others,
        other_texts,
        _on(wins, policy),
        _on(compared, policy),
        None if greedy_wins is None else _on(greedy_wins, policy),
        calls,
        sum(part.lengths.numel() for part in generated),
        sum(int(part.lengths.sum()) for part in generated),
        rewards,
        state,
    )


def _on(tensor: Tensor, policy: Policy) -> Tensor:
    return tensor.to(policy.device)
