"""The gradient of both players' payoffs, exact or with noise: one call is one oracle call."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from mpo.games.dynamics.oracle import with_noise
from mpo.games.dynamics.protocol import Payoffs
from mpo.games.extensive.sequence_form import SequenceForm

LARGEST_DENSE = 64
"""Up to so many sequences a dense product is faster than a sparse one."""


def exact_payoffs(form: SequenceForm) -> Payoffs:
    """x ↦ K x: (S, N) or (S,) plans of both players to their gradients, of the same shape."""
    if form.sequences <= LARGEST_DENSE:
        return form.kernel.to_dense().matmul
    with warnings.catch_warnings():
        # Torch calls its sparse rows "beta"; only their product is used here.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
        return form.kernel.to_sparse_csr().matmul


def noisy_payoffs(form: SequenceForm, noise: float, seed: int | Sequence[int]) -> Payoffs:
    """K x + noise · N(0, 1), independently for the entry of every sequence and each call.

    Noise and seeds are those of `mpo.games.dynamics.oracle`: a run's noise is a function of its
    seed and of the number of the call.

    Args:
        noise: standard deviation of an entry's error, 0 or more.
        seed: 0 or more, for all runs or one a run.
    """
    exact = exact_payoffs(form)
    by_rows = with_noise(lambda plans: exact(plans.T.contiguous()).T, noise, seed)
    return lambda plan: by_rows(plan.T).T.contiguous()
