"""A prompt whose responses are all enumerated: the expected gradient of a method's loss."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from mpo.objectives.protocol import compared_pairs
from mpo.policy import Policy
from tests.enumerated_scores import at_start, detached, outcomes, rollout_of, weighted_gradient
from tests.kl_oracles import log_probs
from tests.oracles import all_responses, random_preferences
from tests.tiny_llama import every_response, frozen_twin, prompts_of, tiny_llama

PROMPT = [1, 0]
MAX_TOKENS = 2


class Game:
    """A prompt's responses over `symbols`, their preferences, and a policy that is scored."""

    def __init__(self, symbols: int):
        self.responses = all_responses(symbols, MAX_TOKENS)
        self.wins = torch.from_numpy(random_preferences(len(self.responses), seed=4))
        self.policy = Policy(tiny_llama(symbols + 1), 1)
        self.parameters = [p for _, p in self.policy.moving_parameters()]
        self.magnet = frozen_twin(self.policy, seed=1)
        prompts, every = prompts_of([PROMPT]), every_response(1, symbols, MAX_TOKENS)
        self.scores = at_start(self.policy, self.magnet, prompts, every)
        self.probs = log_probs(self.policy.model, PROMPT, self.responses).exp()

    def joint(self, *each: Tensor) -> tuple[Tensor, Tensor]:
        """All outcomes of independent draws from (R,) distributions: (B, draws), and their (B,)."""
        size = len(self.responses)
        index = torch.tensor(list(itertools.product(range(size), repeat=len(each))))
        weights = torch.stack([p[index[:, i]] for i, p in enumerate(each)]).prod(0)
        return index, weights

    def gradient(
        self, method: Any, mine: Tensor, others: Tensor, weights: Tensor, greedy: int | None = None
    ) -> Tensor:
        """The loss's expected gradient over outcomes: mine (B, n) against others (B, k)."""
        wins = self.wins[mine[:, :, None], others[:, None, :]]
        compared = compared_pairs(method.needs(), len(mine))
        scores = outcomes(self.scores, mine)
        best = None if greedy is None else self.wins[greedy][others]
        targets = method.targets(rollout_of(wins, compared, best), detached(scores))
        return weighted_gradient(method, targets, scores, weights, self.parameters)
