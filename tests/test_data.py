"""Which prompts an iteration trains on: a function of the seed and the iteration alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mpo.data import Iterations, PromptDataModule, PromptSet
from mpo.records import Prompts


def prompts(count: int) -> PromptSet:
    """Prompt i has key 100 + i and 1 + i % 3 tokens, all of them i + 1."""
    ids = [[i + 1] * (1 + i % 3) for i in range(count)]
    return PromptSet(ids, [100 + i for i in range(count)], [f"prompt {i}" for i in range(count)])


def batches(seed: int, start: int = 0, iterations: int = 9, count: int = 12) -> list[Prompts]:
    """What the trainer is given, 4 prompts an iteration."""
    data = Iterations(prompts(count), 4, iterations, seed)
    return list(PromptDataModule(data, start).train_dataloader())


def keys(found: list[Prompts]) -> list[list[int]]:
    return [batch.keys.tolist() for batch in found]


def test_batches_are_a_function_of_the_seed() -> None:
    torch.manual_seed(1)
    first = batches(seed=3)
    torch.manual_seed(2)
    for left, right in zip(first, batches(seed=3), strict=True):
        for mine, theirs in zip(left, right, strict=True):
            equal = torch.equal(mine, theirs) if isinstance(mine, Tensor) else mine == theirs
            assert equal
    assert keys(first) != keys(batches(seed=4))


def test_batches_do_not_depend_on_how_many_iterations_follow() -> None:
    assert keys(batches(seed=3, iterations=20))[:9] == keys(batches(seed=3))


def test_an_epoch_is_a_permutation_of_the_prompts() -> None:
    found = keys(batches(seed=3))
    epochs = [[*found[at], *found[at + 1], *found[at + 2]] for at in (0, 3, 6)]
    for epoch in epochs:
        assert sorted(epoch) == [100 + i for i in range(12)]
    assert len({tuple(sorted(batch)) for batch in found}) > 3


def test_prompts_that_do_not_fill_a_batch_wait_for_another_epoch() -> None:
    found = keys(batches(seed=0, iterations=60, count=14))
    for at in range(0, 60, 3):
        assert len({*found[at], *found[at + 1], *found[at + 2]}) == 12
    assert {key for batch in found for key in batch} == {100 + i for i in range(14)}


@pytest.mark.parametrize("start", [0, 1, 4, 8, 9])
def test_resuming_gives_the_batches_that_were_left(start: int) -> None:
    assert keys(batches(seed=3, start=start)) == keys(batches(seed=3))[start:]
    loader = PromptDataModule(Iterations(prompts(12), 4, 9, 3), start).train_dataloader()
    assert len(loader) == 9 - start


def test_a_batch_is_padded_on_the_right_and_knows_its_lengths() -> None:
    batch = prompts(4).batch([2, 0, 1])
    assert batch.ids.tolist() == [[3, 3, 3], [1, 0, 0], [2, 2, 0]]
    assert batch.lengths.tolist() == [3, 1, 2]
    assert batch.keys.tolist() == [102, 100, 101]
    assert batch.texts == ("prompt 2", "prompt 0", "prompt 1")
    assert batch.ids.dtype == batch.keys.dtype == torch.int64


def test_a_loaded_batch_has_the_types_of_its_record() -> None:
    for batch in batches(seed=3, iterations=2):
        assert isinstance(batch, Prompts)
        assert list(batch.texts) == [f"prompt {key - 100}" for key in batch.keys.tolist()]


def test_keys_of_63_bits_survive() -> None:
    key = 2**63 - 1
    assert PromptSet([[1]], [key], ["x"]).batch([0]).keys.tolist() == [key]


def test_the_first_prompts_are_a_set_of_their_own() -> None:
    few = prompts(5).first(2)
    assert len(few) == 2
    assert few.batch([1]).keys.tolist() == [101]


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="prompts: got none"):
        PromptSet([], [], [])
    with pytest.raises(ValueError, match=r"prompts of no tokens \['b'\]"):
        PromptSet([[1], []], [0, 1], ["a", "b"])
    with pytest.raises(ValueError, match=r"train\.prompts: got 5, allowed is at most the 4"):
        Iterations(prompts(4), 5, 1, 0)
