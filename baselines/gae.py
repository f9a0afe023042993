"""Generalised advantage estimation (Schulman et al. 2016, equation (16))."""

from __future__ import annotations

import torch
from torch import Tensor


def generalised_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, gae_lambda: float
) -> Tensor:
    """A_t = Σ_l (γλ)^l δ_{t+l} with δ_t = r_t + γ V(s_{t+1}) − V(s_t): (B, n, T).

    V(s_t) is the value before token t. After a response's last token there is nothing more to
    earn, so the value there is 0, whatever the critic says of padding; a truncated response is
    treated alike, since its reward is for the text as it stands. The mask is True on a
    response's first tokens; the result is zero where it is False.
    """
    kept = values * mask
    after = torch.cat([kept[..., 1:], torch.zeros_like(kept[..., :1])], -1)
    errors = (rewards + gamma * after - values) * mask
    advantages = torch.zeros_like(errors)
    later = torch.zeros_like(errors[..., 0])
    for t in reversed(range(errors.shape[-1])):
        later = errors[..., t] + gamma * gae_lambda * later
        advantages[..., t] = later
    return advantages
