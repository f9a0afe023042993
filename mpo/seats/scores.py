"""Scores of the decisions of episodes, from policies as tables over the information sets."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mpo.objectives.protocol import Needs
from mpo.records import Scores
from mpo.seats.episodes import Episodes


def scores_of(
    log_policy: Tensor,
    frozen: Mapping[str, Tensor],
    needs: Needs,
    episodes: Episodes,
    values: Tensor | None,
) -> Scores:
    """What an objective reads of E episodes: differentiable in log_policy and values.

    The KL of a decision is the exact KL(π_θ(· | i) ‖ π_name(· | i)) at the information set i that
    was visited, over its legal actions.

    Args:
        log_policy: (I, V), log π_θ.
        frozen: name → (I, V), at least those that `needs` names.
        values: (I,), a critic's, or None.
    """
    mask = episodes.mask
    probability = log_policy.exp()

    def at(table: Tensor) -> Tensor:
        """(E, 2, T) of (I,)."""
        # index_select, for its gradient is faster than that of an index.
        chosen = table.index_select(0, episodes.infosets.flatten())
        return chosen.view(mask.shape) * mask

    places = (episodes.infosets * log_policy.shape[1] + episodes.actions).flatten()

    def taken(table: Tensor) -> Tensor:
        """(E, 2, T) of (I, V)."""
        return table.flatten().index_select(0, places).view(mask.shape) * mask

    return Scores(
        logprobs=taken(log_policy),
        entropy=at(-(probability * log_policy).sum(-1)),
        kl={name: at((probability * (log_policy - frozen[name])).sum(-1)) for name in needs.kl_to},
        other_logprobs={name: taken(frozen[name]) for name in needs.logprobs_of},
        mask=mask,
        values=None if values is None else at(values),
        total_prompts=len(mask),
    )


def others_mean(advantages: Tensor, episodes: Episodes, infosets: int) -> Tensor:
    """For each decision the mean advantage of the *other* episodes in its information set.

    (E, 2, T) → (E, 2, T); 0 where no other episode came there. An episode visits an information
    set at most once, so that this is independent of the action it is subtracted for: a baseline
    that leaves the expected gradient as it is (leave-one-out, Kool et al. 2019).
    """
    mask, at = episodes.mask, episodes.infosets
    total = advantages.new_zeros(infosets).index_add_(0, at[mask], advantages[mask])
    count = at[mask].bincount(minlength=infosets).to(advantages)
    others = (count[at] - 1).clamp_min(1)
    return torch.where(count[at] > 1, (total[at] - advantages) / others, 0.0) * mask
