"""CFR+ (Tammelin 2014, arXiv:1407.5042; Bowling et al. 2015): the yardstick on poker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mpo.games.dynamics.protocol import Payoffs
from mpo.games.extensive.passes import Passes
from mpo.games.extensive.sequence_form import EMPTY, SequenceForm


class Regrets(NamedTuple):
    """``log_policy`` (S, N), −inf where an action is never played, and ``regrets`` (S, N)."""

    log_policy: Tensor
    regrets: Tensor


@dataclass(frozen=True)
class CFRPlus:
    """Regret matching+ in every information set; the players move in turn; no hyper-parameters.

        r(i, a) = v(i, a) − Σ_b π(b | i) v(i, b),  R ← max(R + r, 0),  π ∝ R (uniform if R = 0)

    v(i, a) is the counterfactual value: g(i, a) plus the values of the information sets that
    follow. Iterate t has weight t + 1 in the average, which is what converges.
    """

    def problems(self) -> list[str]:
        return []

    @property
    def calls_a_step(self) -> int:
        """Two gradients, of which each player uses the own half: one call."""
        return 1

    @property
    def plays_zero(self) -> bool:
        return True

    def weight(self, iterate: int) -> int:
        return iterate + 1

    def initial(self, log_policy: Tensor) -> Regrets:
        return Regrets(log_policy, torch.zeros_like(log_policy))

    def step(self, state: Regrets, passes: Passes, payoffs: Payoffs) -> Regrets:
        for player in range(2):
            gradient = payoffs(passes.plan(state.log_policy))
            log_policy, regrets = _matched(passes.form, state, gradient)
            mine = (passes.form.player == player).unsqueeze(1)
            state = Regrets(
                torch.where(mine, log_policy, state.log_policy),
                torch.where(mine, regrets, state.regrets),
            )
        return state


def _matched(form: SequenceForm, state: Regrets, gradient: Tensor) -> Regrets:
    """The state if both players were updated."""
    values, policy = gradient.clone(), state.log_policy.exp()
    means = []
    for block in reversed(form.blocks):
        means.append((block.of(values) * block.of(policy)).sum(1))
        values.index_add_(0, block.parents, means[-1])
    expected = torch.cat([values[:EMPTY], *reversed(means)]).index_select(0, form.choice)
    regrets = (state.regrets + values - expected).clamp_min_(0)
    totals = torch.zeros_like(values).index_add_(0, form.choice, regrets)
    totals = totals.index_select(0, form.choice)
    matched = torch.where(totals > 0, regrets / totals, form.uniform.unsqueeze(1))
    return Regrets(matched.log_(), regrets)
