"""Methods as values: each says what it needs of the engine and what its loss is."""

from mpo.objectives.mpo import MPO
from mpo.objectives.mpo_rt import MPORT
from mpo.objectives.protocol import Needs, Objective

__all__ = ["MPO", "MPORT", "Needs", "Objective"]
