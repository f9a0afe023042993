"""Supervised fine-tuning against the cross-entropy of transformers' own model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mpo.bundled import load_causal_model
from mpo.chat import ChatFormat
from mpo.optimization import OptimizerSettings
from mpo.policy import Policy
from mpo.training.fit import fit_stage
from mpo.training.module import StageSettings
from mpo.training.packing import pack, packed_layout
from mpo.training.records import Example
from mpo.training.sft import SupervisedModel
from tests.benchmarks.tiny_language_model import save_model

EXAMPLES = [
    Example("Why rain?", "Because of the sea."),
    Example("Do you like tea?", " Yes. "),
    Example("Tell me about snow.", "It is a garden of music, and bread on the moon."),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("model")
    save_model(place)
    return place


def supervised(folder: Path, chunk: int = 2**23) -> SupervisedModel:
    model, tokenizer = load_causal_model(str(folder))
    return SupervisedModel(Policy(model.double()), ChatFormat(tokenizer, "Be brief."), chunk)


def test_the_sequence_is_the_chat_with_its_end_token(folder: Path) -> None:
    model = supervised(folder)
    unit = model.encode(EXAMPLES[1])
    (sequence,), (wanted,) = unit.sequences, unit.wanted
    tokenizer = model.chat.tokenizer
    assert tokenizer.decode([*sequence, unit.tokens[-1]]) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nDo you like tea?<|im_end|>\n"
        "<|im_start|>assistant\nYes.<|im_end|>"
    )
    assert tokenizer.decode(unit.tokens) == "Yes.<|im_end|>"
    assert unit.terms == len(unit.tokens) == len(wanted)
    # Each wanted position stands right before the token that it predicts.
    assert [(*sequence, unit.tokens[-1])[place + 1] for place in wanted] == list(unit.tokens)


@pytest.mark.parametrize("chunk", [2**23, 700])
def test_loss_and_gradient_are_those_of_transformers(folder: Path, chunk: int) -> None:
    model = supervised(folder, chunk)
    units = [model.encode(example) for example in EXAMPLES]
    hidden = model.policy.hidden(packed_layout(units, pack(units, 200)))
    loss, metrics = model.loss(hidden, units)
    reference = torch.zeros((), dtype=torch.float64)
    for unit in units:
        ids = torch.tensor([[*unit.sequences[0], unit.tokens[-1]]])
        labels = torch.full_like(ids, -100)
        labels[0, -unit.terms :] = ids[0, -unit.terms :]
        reference = reference + model.policy.model(input_ids=ids, labels=labels).loss * unit.terms
    assert float(loss.detach()) == pytest.approx(float(reference.detach()), rel=1e-5)
    weights = [p for _, p in model.policy.moving_parameters()]
    for mine, theirs in zip(
        torch.autograd.grad(loss, weights), torch.autograd.grad(reference, weights), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    assert metrics["token_entropy"].weight == sum(unit.terms for unit in units)


def test_the_model_learns_its_examples_and_to_end(folder: Path, tmp_path: Path) -> None:
    model = supervised(folder)
    settings = StageSettings(
        epochs=60, batch_size=3, width=200, optimizer=OptimizerSettings(lr=1e-2, warmup_steps=3)
    )
    fitted = fit_stage(model, EXAMPLES, [], settings, tmp_path, lambda row, total: None)
    assert fitted.curve[1]["loss"] > 3.0
    assert fitted.curve[-1]["loss"] < 0.05
    prompt = torch.tensor([model.chat.encode("Do you like tea?")])
    written = model.policy.model.generate(
        input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=20, do_sample=False
    )
    reply = written[0, prompt.shape[1] :].tolist()
    assert reply[-1] == model.end
    assert model.chat.decode(reply) == "Yes."


def test_bad_input_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="response: got ' ', allowed is text"):
        supervised(folder).encode(Example("Why?", " "))
    model, tokenizer = load_causal_model(str(folder))
    with pytest.raises(ValueError, match=r"temperature: got 0\.5, allowed is 1"):
        SupervisedModel(Policy(model, temperature=0.5), ChatFormat(tokenizer, ""))
