"""Bytes of tensor storage alive at a time, counted at each operation, saved tensors included."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Adds a storage when an operation returns it and takes it off when nobody holds it.

    What the graph saves for the backward pass holds its storage, so it counts. Storages that
    existed before count nothing.
    """

    def __init__(self, existing: Iterable[Tensor]):
        super().__init__()
        self.known = {id(t.untyped_storage()): t.untyped_storage() for t in existing}
        self.counted: set[int] = set()
        self.now = self.peak = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = id(storage)
        if key in self.known or key in self.counted:
            return
        size = storage.nbytes()
        self.counted.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self.counted.discard(key)
        self.now -= size


def peak_bytes(run: Callable[[], Any], existing: Iterable[Tensor]) -> int:
    """The most bytes alive at a time in `run`, beyond those of the tensors that exist before."""
    with LiveBytes(existing) as counter:
        kept = run()
    del kept
    return counter.peak
