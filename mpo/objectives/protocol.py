"""What a method is: a value that satisfies `Objective`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from mpo.records import Metrics, Rollout, Scores

BEHAVIOUR, MAGNET, REFERENCE = "behaviour", "magnet", "reference"
"""Names of the frozen models: π_k, μ, and the initial policy."""


class Needs(NamedTuple):
    """What the engine must provide for one iteration of a method."""

    responses: int
    """Samples of π_k a prompt, all of which train."""
    opponent_responses: int = 0
    """Samples a prompt of a separate opponent; 0: the policy's own samples meet each other."""
    opponent_is_snapshot: bool = False
    """The separate opponent is a snapshot, refreshed every `opponent_interval`; else π_k."""
    all_pairs: bool = False
    """Compare every pair; else response i with opponent i, or 2i with 2i + 1."""
    judged: bool = True
    """Pairs of responses are compared by the judge; False: none is."""
    rewards: bool = False
    """A reward model scores each trained response."""
    samples_from_magnet: bool = False
    """The trained responses are samples of the magnet, not of π_k."""
    greedy: bool = False
    """Also a greedy response of π_k, compared with every opponent's response."""
    kl_to: tuple[str, ...] = ()
    """Frozen models to which the exact KL of π_θ is scored."""
    logprobs_of: tuple[str, ...] = ()
    """Frozen models whose token log-probabilities are scored."""
    values: bool = False
    """A critic's value at each token."""
    demonstrations: bool = False
    """Log-probabilities of a demonstrated response to each prompt."""
    inner_steps: int = 1
    """Optimizer steps on one rollout."""
    magnet_interval: int | None = None
    """Iterations between the magnet's moves; None: never."""
    magnet_follows_rounds: bool = False
    """The magnet moves at the end of each round instead, whatever `magnet_interval` says."""
    opponent_interval: int | None = None
    """Iterations between the opponent's moves; None: never."""


TargetsT = TypeVar("TargetsT")


class Objective(Protocol[TargetsT]):
    """A method. Frozen dataclasses of hyper-parameters implement it; they are config schemas too.

    Targets are a NamedTuple of tensors whose first axis is the B prompts, so that the engine can
    cut them into micro-batches.
    """

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'; empty when valid."""
        ...

    def needs(self) -> Needs:
        """What the engine must provide."""
        ...

    def targets(self, rollout: Rollout, scores: Scores) -> TargetsT:
        """Once per rollout, without gradient, with the scores at θ = θ_k."""
        ...

    def loss(self, scores: Scores, targets: TargetsT) -> tuple[Tensor, Metrics]:
        """Once per inner step and micro-batch: this part's share of the whole iteration's loss.

        Shares add up to the loss of the whole: divide by `scores.total_prompts`, never by the
        size of the part.
        """
        ...


@runtime_checkable
class AdaptiveObjective(Protocol):
    """An objective with numbers that change from iteration to iteration, such as a coefficient.

    The engine keeps them, in checkpoints too, and hands them to `targets` as `rollout.state`.
    """

    def initial_state(self) -> dict[str, float]:
        """The numbers of the first iteration."""
        ...

    def next_state(
        self, state: Mapping[str, float], logged: Mapping[str, float]
    ) -> dict[str, float]:
        """The numbers of the next iteration, from what this one logged."""
        ...


def targets_slice(targets: Any, prompts: slice) -> Any:
    """The targets of some of the prompts: the same NamedTuple, its tensors cut along axis 0."""
    return type(targets)(*(part[prompts] for part in targets))


def compared_pairs(needs: Needs, batch: int) -> Tensor:
    """Which pairs are judged: (B, n, k) bool, k = n when the policy's own samples meet."""
    n = needs.responses
    if not needs.judged:
        pairs = torch.zeros(n, n)
    elif needs.opponent_responses:
        k = needs.opponent_responses
        pairs = torch.ones(n, k) if needs.all_pairs else torch.eye(n, k)
    elif needs.all_pairs:
        pairs = 1 - torch.eye(n)
    else:
        partner = torch.arange(n) ^ 1
        pairs = torch.nn.functional.one_hot(partner, n)
    return pairs.bool().expand(batch, *pairs.shape)


def samples_a_prompt(needs: Needs) -> int:
    """Responses generated for one prompt in one iteration."""
    return needs.responses + needs.opponent_responses + needs.greedy


def judge_calls_a_prompt(needs: Needs) -> int:
    """Unordered pairs judged and responses scored by a reward model, for one prompt."""
    pairs = int(compared_pairs(needs, 1).sum())
    greedy = (needs.opponent_responses or needs.responses) if needs.greedy else 0
    scored = needs.responses if needs.rewards else 0
    return (pairs if needs.opponent_responses else pairs // 2) + greedy + scored
