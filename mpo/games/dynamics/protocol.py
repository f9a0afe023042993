"""What a dynamic on a matrix game is: a value that turns one state into the next.

Shapes, in the same words in every file of this folder: N rows, each a game with a starting
policy (a batch over games, seeds and hyper-parameters), and R actions. All is float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

from torch import Tensor

Payoffs = Callable[[Tensor], Tensor]
"""(N, R) policies π -> (N, R) P π, what each action wins against π. One oracle call a row."""

Number = float | Tensor
"""A hyper-parameter: one for all rows, or (N, 1), one a row."""


class DynamicState(Protocol):
    """A NamedTuple. Each field is a tensor with N rows, or a plain int that all rows share.

    ``log_policy`` is the last iterate, (N, R), normalised. The tensors are what is frozen in a
    row that diverges.
    """

    @property
    def log_policy(self) -> Tensor: ...


StateT = TypeVar("StateT", bound=DynamicState)


@runtime_checkable
class Dynamic(Protocol[StateT]):
    """A frozen dataclass of hyper-parameters: plain numbers by default, or ``Number``.

    Policies are kept as logarithms and normalised by ``log_softmax``: the logarithm of a
    probability that has underflowed to 0 would be lost. The magnet or reference at the start is
    the initial policy, unless a dynamic says otherwise.
    """

    def problems(self) -> list[str]:
        """All mistakes in the fields, each "field: got …, allowed: …"; empty if there are none."""
        ...

    @property
    def calls_a_step(self) -> int:
        """Oracle calls (evaluations of P π) of one step, the same in every step; 1 or more."""
        ...

    def initial(self, log_policy: Tensor) -> StateT:
        """The state before the first step, from (N, R) logarithms that are normalised."""
        ...

    def step(self, state: StateT, payoffs: Payoffs) -> StateT:
        """The next state. Pure: it changes nothing, and draws no numbers but by ``payoffs``."""
        ...
