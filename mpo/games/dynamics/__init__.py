"""Dynamics on matrix games: each a value whose pure step turns one state into the next."""

from mpo.games.dynamics.protocol import Dynamic, DynamicState, Number, Payoffs, StateT
from mpo.games.dynamics.step import magnetic_step, mirror_step, mmd_step
from mpo.games.dynamics.trajectory import Trajectory, run

__all__ = [
    "Dynamic",
    "DynamicState",
    "Number",
    "Payoffs",
    "StateT",
    "Trajectory",
    "magnetic_step",
    "mirror_step",
    "mmd_step",
    "run",
]
