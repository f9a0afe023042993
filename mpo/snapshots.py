"""Frozen copies of the policy and when they move: the magnet, a snapshot opponent, the reference.

Copies that move at the same iterations are one copy in memory: Algorithm 1's opponent is its
magnet, and a magnet that never moves is the reference.
"""

from __future__ import annotations

from torch import Tensor, nn

from mpo.objectives.protocol import MAGNET, REFERENCE, Needs
from mpo.policy import Policy

OPPONENT = "opponent"
NEVER, EACH_ROUND = 0, -1
"""Intervals that are no number of iterations."""


class Snapshots(nn.Module):
    """The frozen models of a run, by name: `magnet`, `opponent` where it is one, `reference`."""

    def __init__(self, policy: Policy, needs: Needs):
        super().__init__()
        magnet = EACH_ROUND if needs.magnet_follows_rounds else needs.magnet_interval or NEVER
        self.intervals = {REFERENCE: NEVER, MAGNET: magnet}
        if needs.opponent_responses and needs.opponent_is_snapshot:
            self.intervals[OPPONENT] = needs.opponent_interval or NEVER
        distinct = sorted(set(self.intervals.values()))
        self.copies = nn.ModuleDict({str(each): policy.frozen_copy() for each in distinct})
        self.moves = dict.fromkeys(self.intervals, 0)

    def __getitem__(self, name: str) -> Policy:
        """The frozen model of that name."""
        copy = self.copies[str(self.intervals[name])]
        assert isinstance(copy, Policy)
        return copy

    def refresh(self, policy: Policy, iterations_done: int, round_ended: bool) -> list[str]:
        """Move the copies that are due after `iterations_done` iterations; names that moved.

        They take π_{k+1}, the policy after the iteration's inner steps (design, section 2).
        """
        due = {each for each in self.intervals.values() if each > 0 and iterations_done % each == 0}
        if round_ended and EACH_ROUND in self.intervals.values():
            due.add(EACH_ROUND)
        for interval in due:
            copy = self.copies[str(interval)]
            assert isinstance(copy, Policy)
            copy.copy_from(policy)
        moved = [name for name, interval in self.intervals.items() if interval in due]
        for name in moved:
            self.moves[name] += 1
        return moved

    def weights(self) -> dict[str, Tensor]:
        """The moving weights of every distinct copy, by interval and name, for a checkpoint."""
        return {
            f"{interval}/{name}": parameter
            for interval, copy in self.copies.items()
            if isinstance(copy, Policy)
            for name, parameter in copy.moving_parameters()
        }
