"""Self-play preference optimisation by squared loss (Wu et al. 2024, arXiv 2405.00675)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from scipy.special import wrightomega
from torch import Tensor

from mpo.games.dynamics.field_checks import FieldChecks
from mpo.games.dynamics.mirror import MirrorState
from mpo.games.dynamics.protocol import Number, Payoffs
from mpo.games.dynamics.step import mirror_step

NORMALISATION_TOLERANCE = 1e-13
"""|log Σ_y π(y)| that counts as normalised, times max(1, |c|): c − ω loses that many digits."""
MAX_ROUNDS = 200
"""Each round at least halves the interval of the multiplier, so that float64 ends sooner."""

_SMALLEST = torch.finfo(torch.float64).tiny


class MultiplierNotFound(RuntimeError):
    """The search for the Lagrange multiplier of the normalisation didn't end."""


@dataclass(frozen=True)
class SPPO:
    """The policy that minimises SPPO's squared loss over all policies, again and again.

    min_π Σ_y π_k(y) (log π(y)/π_k(y) − [η P(y ≻ π_k) − log Z])²,  Σ_y π(y) = 1

    With the ``exact`` log Z, of its theory, the minimum is 0 at π_k exp(η P π_k) / Z: ``MWU``.
    Algorithm 1 there puts η/2 for log Z, the payoff of π_k against itself (``half``). Then no
    policy has loss 0, and the minimiser solves, with the multiplier λ ≥ 0 of Σ_y π(y) = 1,

        u + λ eᵘ = η (P π_k − ½),  π_{k+1} = π_k eᵘ,

    that is u = c − ω(c + log λ), c the right-hand side, ω Wright's function (ω + log ω = x). For
    small η the two agree to second order; as η grows ``half`` goes to π_k · max(P π_k − ½, 0) /
    Z, not to a best response. The last iterate of both spirals out where the equilibrium mixes.

    Args:
        eta: η, stepsize.
        log_normaliser: "half" | "exact".
    """

    eta: Number = 0.1
    log_normaliser: Literal["half", "exact"] = "half"

    def problems(self) -> list[str]:
        """Fields out of range."""
        checks = FieldChecks(self)
        checks.positive("eta")
        checks.choice("log_normaliser", "half", "exact")
        return checks.found

    @property
    def calls_a_step(self) -> int:
        """P π_k."""
        return 1

    def initial(self, log_policy: Tensor) -> MirrorState:
        """The policy alone."""
        return MirrorState(log_policy)

    def step(self, state: MirrorState, payoffs: Payoffs) -> MirrorState:
        """π_{k+1}."""
        policy = state.log_policy.exp()
        wins = payoffs(policy)
        if self.log_normaliser == "exact":
            return MirrorState(mirror_step(state.log_policy, wins, self.eta))
        # π_k·P π_k is ½. Its own value instead of ½ keeps λ ≥ 0 when the payoffs are noisy.
        value = (policy * wins).sum(1, keepdim=True)
        return MirrorState(closest_policy(state.log_policy, self.eta * (wins - value)))


def closest_policy(log_policy: Tensor, targets: Tensor) -> Tensor:
    """argmin over normalised π' of Σ_y π(y) (log π'(y)/π(y) − c(y))².

    The sum of π eᵘ falls as λ grows and is convex in it, so that λ is found by Newton's steps on
    its logarithm inside [0, max c], halved where a step would leave the interval.

    Args:
        log_policy: (N, R), log π, normalised.
        targets: (N, R), c, with Σ_y π(y) c(y) = 0.

    Returns:
        (N, R), log π', normalised. A row of which something isn't finite is NaN.

    Raises:
        MultiplierNotFound: Σ π' stayed away from 1.
    """
    tolerance = NORMALISATION_TOLERANCE * targets.abs().amax(1, keepdim=True).clamp_min(1)
    low = torch.zeros_like(targets[:, :1])
    high = targets.amax(1, keepdim=True).clamp_min(_SMALLEST)
    # For small c the multiplier is half the variance of c.
    multiplier = (log_policy.exp() * targets**2).sum(1, keepdim=True) / 2
    multiplier = torch.where(multiplier < high, multiplier, high / 2)
    for _ in range(MAX_ROUNDS):
        shrunk = torch.from_numpy(
            wrightomega((targets + multiplier.clamp_min(_SMALLEST).log()).numpy())
        )
        ratio = targets - shrunk
        total = torch.logsumexp(log_policy + ratio, dim=1, keepdim=True)
        # NaN, of a row that has diverged, compares as False and must not keep the others waiting.
        if not bool((total.abs() > tolerance).any()):
            return torch.log_softmax(log_policy + ratio, dim=-1)
        low = torch.where(total > 0, multiplier, low)
        high = torch.where(total < 0, multiplier, high)
        shares = (log_policy + ratio - total).exp()
        slope = -(shares * ratio.exp() / (1 + shrunk)).sum(1, keepdim=True)
        newton = multiplier - total / slope
        inside = (newton > low) & (newton < high)
        multiplier = torch.where(inside, newton, (low + high) / 2)
    left = float(total.abs().nan_to_num().max())
    raise MultiplierNotFound(
        f"sppo: log Σ π is up to {left} after {MAX_ROUNDS} rounds, "
        f"allowed: {NORMALISATION_TOLERANCE} times max(1, |c|)"
    )
