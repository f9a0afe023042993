"""A critic: the value of the state before each response token."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mpo.layout import Layout
from mpo.policy import Policy


class ValueModel(nn.Module):
    """V(s_t) from a transformer's hidden state before token t, through a linear head.

    The backbone's moving weights and the head train. `shares_trunk` says that the backbone's
    frozen trunk is the policy's, whose hidden states are then used instead of computed again.
    """

    def __init__(self, backbone: Policy, head: nn.Linear | None = None, shares_trunk: bool = True):
        super().__init__()
        for _, parameter in backbone.moving_parameters():
            parameter.requires_grad_(True)
        self.backbone = backbone
        self.shares_trunk = shares_trunk
        if head is None:
            weight = backbone.head.weight
            head = nn.Linear(weight.shape[1], 1, dtype=weight.dtype, device=weight.device)
            # Values start at 0, where they are no worse a baseline than none.
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        self.head = head

    def forward(self, layout: Layout, trunk: Tensor | None) -> Tensor:
        """Values (B, n, T) of the layout's responses."""
        hidden = self.backbone.hidden(layout, trunk if self.shares_trunk else None)
        return torch.squeeze(self.head(hidden), -1)
