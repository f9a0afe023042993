"""The stages' engine against plain torch: one AdamW on the mean loss, in float64."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mpo.optimization import OptimizerSettings
from mpo.policy import Policy
from mpo.records import Metrics, Weighted
from mpo.training.fit import Fitted, Machine, Steps, fit_stage
from mpo.training.module import StageLossError, StageSettings
from mpo.training.records import Unit
from tests.engine import same_bits, weights_of
from tests.tiny_llama import tiny_llama

VOCABULARY, WIDTH = 9, 12
SINGLE = Machine()


class LastToken(nn.Module):
    """A head on the last hidden state: the sum of tokens is to be guessed. A record is tokens."""

    def __init__(self, train_blocks: int | None = 1, broken: bool = False):
        super().__init__()
        self.policy = Policy(tiny_llama(VOCABULARY), train_blocks)
        self.head = nn.Linear(16, 1).double()
        with torch.no_grad():
            self.head.weight.fill_(0.1)
            self.head.bias.fill_(0.0)
        self.broken = broken

    def encode(self, record: tuple[int, ...]) -> Unit:
        return Unit((record,), ((len(record) - 1,),), 1, (sum(record),))

    def loss(self, hidden: Tensor, units: Sequence[Unit]) -> tuple[Tensor, Metrics]:
        wanted = torch.tensor([unit.tokens[0] for unit in units], dtype=torch.float64)
        errors = self.head(hidden)[:, 0] - wanted
        total = (errors**2).sum() * (math.nan if self.broken else 1.0)
        return total, {"error": Weighted(errors.detach().abs().mean(), len(units))}


def records() -> list[tuple[int, ...]]:
    generator = torch.Generator().manual_seed(3)
    lengths = torch.randint(1, 7, (11,), generator=generator).tolist()
    return [
        tuple(torch.randint(0, VOCABULARY, (n,), generator=generator).tolist()) for n in lengths
    ]


def settings(**values: Any) -> StageSettings:
    optimizer = OptimizerSettings(
        lr=1e-2, critic_lr=5e-2, weight_decay=0.01, warmup_steps=2, clip_norm=3.0
    )
    return StageSettings(
        **{"epochs": 2, "batch_size": 4, "width": WIDTH, "optimizer": optimizer, **values}
    )


def trained(folder: Path, model: LastToken, machine: Machine = SINGLE, **values: Any) -> Fitted:
    data = records()
    return fit_stage(
        model, data[:8], data[8:], settings(**values), folder, lambda row, total: None, machine
    )


def by_hand(model: LastToken, seed: int = 0) -> list[float]:
    """The same training in plain torch: one sequence a forward pass; the loss before each step."""
    data, chosen = records()[:8], settings(seed=seed)
    policy = [p for p in model.policy.model.parameters() if p.requires_grad]
    groups = [{"params": policy, "lr": 1e-2}, {"params": list(model.head.parameters()), "lr": 5e-2}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    losses = []
    for step, places in enumerate(Steps(8, chosen)):
        factor = (step + 1) / 2 if step < 2 else 0.5 * (1 + math.cos(math.pi * (step - 2) / 2))
        for group, peak in zip(optimizer.param_groups, (1e-2, 5e-2), strict=True):
            group["lr"] = factor * peak
        errors = []
        for place in places.tolist():
            tokens = data[place]
            state = model.policy.decoder(input_ids=torch.tensor([tokens])).last_hidden_state[0, -1]
            errors.append((model.head(state)[0] - sum(tokens)) ** 2)
        loss = torch.stack(errors).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*policy, *model.head.parameters()], 3.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if step == 3:
            break
    return losses


def test_training_is_that_of_plain_torch(tmp_path: Path) -> None:
    model = LastToken()
    twin = copy.deepcopy(model)
    fitted = trained(tmp_path, model)
    losses = by_hand(twin)
    assert [row["loss"] for row in fitted.curve[1:]] == pytest.approx(losses, rel=1e-9)
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("change", [{"packing": False}, {"micro_rows": 1}, {"width": 30}])
def test_rows_and_micro_batches_change_nothing(change: dict[str, Any], tmp_path: Path) -> None:
    models = [LastToken(), LastToken()]
    base = trained(tmp_path / "a", models[0])
    other = trained(tmp_path / "b", models[1], **change)
    assert other.counts["row_tokens"] != base.counts["row_tokens"]
    for mine, theirs in zip(base.curve, other.curve, strict=True):
        assert theirs == pytest.approx(mine, rel=1e-8)
    for mine, theirs in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9)


def test_deepspeed_gives_the_same_numbers(tmp_path: Path) -> None:
    models = [LastToken(), LastToken()]
    base = trained(tmp_path / "a", models[0])
    other = trained(tmp_path / "b", models[1], Machine("deepspeed", 2))
    for name in ("loss", "grad_norm", "lr"):
        mine, theirs = ([row.get(name, 0.0) for row in each.curve] for each in (base, other))
        assert theirs == pytest.approx(mine, rel=1e-6), name


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_order(tmp_path: Path) -> None:
    models = [LastToken(), LastToken(), LastToken()]
    for number, (model, seed) in enumerate(zip(models, (0, 0, 1), strict=True)):
        trained(tmp_path / str(number), model, seed=seed)
    first, again, other = (weights_of(model.policy) for model in models)
    assert same_bits(first, again)
    assert not same_bits(first, other)


def test_the_frozen_trunk_keeps_its_bits_and_has_no_graph(tmp_path: Path) -> None:
    model = LastToken(train_blocks=1)
    frozen = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
    trained(tmp_path, model)
    assert len(frozen) > 5
    now = dict(model.named_parameters())
    assert all(torch.equal(now[name], kept) for name, kept in frozen.items())
    assert all(now[name].grad is None for name in frozen)


def test_each_epoch_is_a_permutation_of_its_own() -> None:
    steps = Steps(10, settings(epochs=2, batch_size=4))
    sizes = [len(steps[k]) for k in range(len(steps))]
    assert sizes == [4, 4, 2] * 2
    epochs = [torch.cat([steps[k] for k in range(3 * e, 3 * e + 3)]).tolist() for e in (0, 1)]
    assert epochs[0] != epochs[1]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(10))


def test_the_curve_has_a_row_a_step_and_held_out_losses_where_due(tmp_path: Path) -> None:
    model = LastToken()
    data = records()[8:]
    with torch.no_grad():
        states = [
            model.policy.decoder(input_ids=torch.tensor([tokens])).last_hidden_state[0, -1]
            for tokens in data
        ]
        errors = [
            float((model.head(state)[0] - sum(tokens)) ** 2)
            for state, tokens in zip(states, data, strict=True)
        ]
    fitted = trained(tmp_path, model, eval_every=3)
    assert [row["step"] for row in fitted.curve] == [0, 1, 2, 3, 4]
    assert [row["step"] for row in fitted.curve if "held_out_loss" in row] == [0, 3, 4]
    assert fitted.curve[0]["held_out_loss"] == pytest.approx(sum(errors) / 3, rel=1e-9)
    assert all(row["grad_norm"] > 0 and row["error"] > 0 for row in fitted.curve[1:])
    # Half of the peak at the first of two warm-up steps.
    assert [row["lr"] for row in fitted.curve[1:3]] == pytest.approx([5e-3, 1e-2])
    assert fitted.counts["steps"] == 4
    assert fitted.counts["records"] == 16
    assert fitted.counts["tokens"] == 2 * sum(map(len, records()[:8]))


@pytest.mark.parametrize("kept", [0, 2**27])
def test_held_out_losses_are_the_same_with_and_without_kept_states(
    kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpo.training.module.KEPT_NUMBERS", kept)
    model = LastToken()
    fitted = trained(tmp_path, model)
    errors = []
    with torch.no_grad():
        for tokens in records()[8:]:
            state = model.policy.decoder(input_ids=torch.tensor([tokens])).last_hidden_state[0, -1]
            errors.append(float((model.head(state)[0] - sum(tokens)) ** 2))
    # After training: the moving blocks have changed since the states were kept.
    assert fitted.curve[-1]["held_out_loss"] == pytest.approx(sum(errors) / 3, rel=1e-9)
    assert fitted.curve[-1]["held_out_loss"] != fitted.curve[0]["held_out_loss"]


def test_a_loss_that_is_not_finite_names_step_and_records(tmp_path: Path) -> None:
    with pytest.raises(StageLossError, match="not finite at step 0, on records"):
        trained(tmp_path, LastToken(broken=True))


def test_what_is_too_long_is_left_out_and_counted(tmp_path: Path) -> None:
    data = records()
    longest = max(map(len, data[:8]))
    long = sum(len(tokens) == longest for tokens in data[:8])
    fitted = trained(tmp_path, LastToken(), width=longest - 1)
    assert fitted.counts["too_long"] == long
    assert fitted.counts["training_records"] == 8 - long
    with pytest.raises(ValueError, match=r"training records: got 2 records, of which none fits"):
        fit_stage(
            LastToken(), [(1, 2), (3, 4)], [], settings(width=1), tmp_path, lambda row, total: None
        )


def test_packing_needs_attention_by_pairs(tmp_path: Path) -> None:
    model = LastToken()
    model.policy.shared_prefix = False
    with pytest.raises(ValueError, match=r"train\.packing: got true, allowed is false"):
        trained(tmp_path, model)
