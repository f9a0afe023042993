"""What a dynamic on an extensive-form game is: as in `mpo.games.dynamics`, with a tree."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from mpo.games.dynamics.protocol import Payoffs, StateT
from mpo.games.extensive.passes import Passes


@runtime_checkable
class TreeDynamic(Protocol[StateT]):
    """A frozen dataclass of hyper-parameters, each a number or (N, 1): one a run.

    A state is a NamedTuple with a field ``log_policy`` (S, N), log π(a | i) of both players and 0
    for the empty sequences. Its other fields are tensors whose last dimension is N, or plain ints.
    """

    def problems(self) -> list[str]:
        """All mistakes in the fields, each "field: got …, allowed: …"; empty if there are none."""
        ...

    @property
    def calls_a_step(self) -> int:
        """Oracle calls of one step; one call gives both players' gradients."""
        ...

    @property
    def plays_zero(self) -> bool:
        """Whether a probability may be 0; else a logarithm of −inf is an overflow."""
        ...

    def weight(self, iterate: int) -> int:
        """Weight of an iterate's plan in the average; the starting policy is iterate 0."""
        ...

    def initial(self, log_policy: Tensor) -> StateT:
        """The state before the first step."""
        ...

    def step(self, state: StateT, passes: Passes, payoffs: Payoffs) -> StateT:
        """The next state. It changes nothing of the last one."""
        ...
