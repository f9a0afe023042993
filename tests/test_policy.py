from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
)

from mpo.policy import Policy
from mpo.records import Prompts, Responses
from tests.tiny_llama import near, prompts_of, responses_of, tiny_llama

EOS = 4
LAYERS = 3
PROMPTS = [[1, 2, 3], [0]]
GROUPS = [[(0, 1, EOS), (EOS,)], [(3, 3, 3), (1, EOS)]]
CLOSE = {"rtol": 1e-10, "atol": 1e-12}


def model_of(seed: int = 0, tied: bool = False) -> torch.nn.Module:
    return tiny_llama(EOS + 1, seed=seed, layers=LAYERS, tied=tied)


def batch() -> tuple[Prompts, Responses]:
    return prompts_of(PROMPTS), responses_of(GROUPS, EOS)


def hidden_of(policy: Policy) -> Tensor:
    """(N, D) at the tokens that count."""
    prompts, responses = batch()
    return policy.hidden(policy.layout(prompts, responses))[responses.mask]


def gradients_of(policy: Policy) -> dict[str, Tensor]:
    """Gradients of a scalar that every hidden state enters, by parameter name."""
    policy.zero_grad()
    states = hidden_of(policy)
    logits = policy.head.logits(states)
    (torch.logsumexp(logits, -1).sum() + states.pow(3).sum()).backward()
    return {
        name: p.grad.clone() for name, p in policy.model.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize("train_blocks", [1, 2, LAYERS])
def test_the_split_model_is_the_whole_one(train_blocks: int) -> None:
    whole, split = Policy(model_of()), Policy(model_of(), train_blocks)
    torch.testing.assert_close(hidden_of(split), hidden_of(whole), **CLOSE)
    everything, moving = gradients_of(whole), gradients_of(split)
    for name, gradient in moving.items():
        torch.testing.assert_close(gradient, everything[name], rtol=1e-9, atol=1e-10)
    assert len(moving) == train_blocks * 9 + 1


@pytest.mark.parametrize("train_blocks", [1, 2])
def test_gradient_flows_into_the_moving_part_only(train_blocks: int) -> None:
    policy = Policy(model_of(), train_blocks)
    moving = {id(p) for _, p in policy.moving_parameters()}
    reached = set(gradients_of(policy))
    named = dict(policy.model.named_parameters())
    assert {id(named[name]) for name in reached} == moving
    assert all(named[name].requires_grad == (id(named[name]) in moving) for name in named)
    assert not policy.head.weight.requires_grad
    for layer in range(LAYERS):
        there = any(name.startswith(f"model.layers.{layer}.") for name in reached)
        assert there == (layer >= LAYERS - train_blocks)


def test_all_weights_move_without_train_blocks() -> None:
    policy = Policy(model_of())
    assert policy.trunk_states(policy.layout(*batch())) is None
    # The decoder's gradients and the head's, the embeddings' among them.
    assert set(gradients_of(policy)) == {name for name, _ in policy.model.named_parameters()}


@pytest.mark.parametrize("train_blocks", [1, 2])
def test_the_trunk_is_computed_once_and_shared(train_blocks: int) -> None:
    policy = Policy(model_of(), train_blocks)
    twin = policy.frozen_copy()
    near(policy.model, seed=3)
    layout = policy.layout(*batch())
    trunk = policy.trunk_states(layout)
    assert trunk is not None
    assert not trunk.requires_grad
    for each in (policy, twin):
        torch.testing.assert_close(each.hidden(layout, trunk), each.hidden(layout), **CLOSE)
    assert not torch.allclose(policy.hidden(layout, trunk), twin.hidden(layout, trunk))
    # Another trunk gives other states, so the one that is passed is used.
    assert not torch.allclose(policy.hidden(layout, 2 * trunk), policy.hidden(layout))


@pytest.mark.parametrize("train_blocks", [1, 2])
def test_a_frozen_copy_shares_trunk_and_head_and_nothing_that_moves(train_blocks: int) -> None:
    policy = Policy(model_of(), train_blocks)
    twin = policy.frozen_copy()
    assert twin.head.weight is policy.head.weight
    assert policy.head.is_linear_in(twin.head)
    mine = dict(policy.model.named_parameters())
    theirs = dict(twin.model.named_parameters())
    assert list(mine) == list(theirs)
    moving = {id(p) for _, p in policy.moving_parameters()}
    for name, parameter in mine.items():
        moves = id(parameter) in moving
        assert (theirs[name] is parameter) == (not moves)
        assert torch.equal(theirs[name], parameter)
        assert not theirs[name].requires_grad
        assert parameter.requires_grad == moves


@pytest.mark.parametrize("tied", [False, True])
def test_a_frozen_copy_of_all_weights_shares_nothing(tied: bool) -> None:
    policy = Policy(model_of(tied=tied))
    twin = policy.frozen_copy()
    mine = {p.data_ptr() for p in policy.parameters()}
    theirs = {p.data_ptr() for p in twin.parameters()}
    assert not mine & theirs
    assert all(p.requires_grad for p in policy.parameters())
    assert not any(p.requires_grad for p in twin.parameters())
    assert not policy.head.is_linear_in(twin.head)


@pytest.mark.parametrize("train_blocks", [None, 1, 2])
@pytest.mark.parametrize("tied", [False, True])
def test_a_frozen_copy_stays_and_copy_from_takes_over(train_blocks: int | None, tied: bool) -> None:
    policy = Policy(model_of(tied=tied), train_blocks)
    twin = policy.frozen_copy()
    start = hidden_of(policy).detach()
    assert torch.equal(hidden_of(twin), start)
    near(policy.model, seed=3)
    moved = hidden_of(policy).detach()
    assert not torch.allclose(moved, start)
    assert torch.equal(hidden_of(twin), start)
    places = [p.data_ptr() for _, p in twin.moving_parameters()]
    twin.copy_from(policy)
    assert torch.equal(hidden_of(twin), moved)
    assert [p.data_ptr() for _, p in twin.moving_parameters()] == places
    near(policy.model, seed=4)
    assert torch.equal(hidden_of(twin), moved)
    assert not hidden_of(twin).requires_grad


@pytest.mark.parametrize("train_blocks", [None, 1, 2])
@pytest.mark.parametrize("tied", [False, True])
def test_moving_parameters_keep_their_names_and_order(train_blocks: int | None, tied: bool) -> None:
    policy = Policy(model_of(tied=tied), train_blocks)
    names = [name for name, _ in policy.moving_parameters()]
    assert names == [name for name, _ in policy.moving_parameters()]
    assert names == [name for name, _ in policy.frozen_copy().moving_parameters()]
    assert names == [
        name for name, _ in Policy(model_of(9, tied), train_blocks).moving_parameters()
    ]
    assert len(set(names)) == len(names)
    parameters = [p for _, p in policy.moving_parameters()]
    assert len({id(p) for p in parameters}) == len(parameters)
    assert {id(p) for p in parameters} == {id(p) for p in policy.parameters() if p.requires_grad}


@pytest.mark.parametrize("train_blocks", [None, 1, 2])
def test_gradient_checkpointing_recomputes_and_changes_no_gradient(
    train_blocks: int | None,
) -> None:
    plain, frugal = Policy(model_of(), train_blocks), Policy(model_of(), train_blocks)
    frugal.enable_gradient_checkpointing()
    runs = []
    frugal.decoder.layers[-1].mlp.register_forward_pre_hook(lambda *_: runs.append(1))
    got, wanted = gradients_of(frugal), gradients_of(plain)
    assert len(runs) == 2
    assert list(got) == list(wanted)
    for name, gradient in wanted.items():
        torch.testing.assert_close(got[name], gradient, **CLOSE)


def test_gradient_checkpointing_with_dropout_is_refused() -> None:
    model = model_of()
    model.config.attention_dropout = 0.1
    with pytest.raises(ValueError, match=r"gradient_checkpointing: got .*attention_dropout.*0\.1"):
        Policy(model).enable_gradient_checkpointing()


@pytest.mark.parametrize("train_blocks", [0, -1, LAYERS + 1])
def test_train_blocks_out_of_range(train_blocks: int) -> None:
    with pytest.raises(ValueError, match=f"train_blocks: got {train_blocks}, allowed is 1 to 3"):
        Policy(model_of(), train_blocks)


def test_the_head_divides_by_the_temperature() -> None:
    policy, states = Policy(model_of(), temperature=0.5), torch.ones(1, 16, dtype=torch.float64)
    plain = Policy(model_of()).head.logits(states)
    torch.testing.assert_close(policy.head.logits(states), 2 * plain, **CLOSE)
    assert policy.frozen_copy().head.temperature == 0.5


SIZES = {
    "vocab_size": 6,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}


def test_a_model_that_scales_its_logits_is_refused() -> None:
    torch.manual_seed(0)
    model = GraniteForCausalLM(GraniteConfig(**SIZES, logits_scaling=8.0, initializer_range=0.5))
    with pytest.raises(ValueError, match="model: GraniteForCausalLM cannot be scored"):
        Policy(model.eval())


@pytest.mark.parametrize("train_blocks", [None, 1])
def test_a_model_of_another_build_is_refused_by_name(train_blocks: int | None) -> None:
    config = GPT2Config(vocab_size=6, n_embd=16, n_layer=2, n_head=2, n_positions=32)
    with pytest.raises(ValueError, match="GPT2LMHeadModel"):
        Policy(GPT2LMHeadModel(config).eval(), train_blocks)


@pytest.mark.parametrize("train_blocks", [None, 1])
def test_a_model_with_windows_and_a_soft_cap(train_blocks: int | None) -> None:
    torch.manual_seed(0)
    config = Gemma2Config(
        **SIZES, head_dim=8, sliding_window=3, final_logit_softcapping=2.0, initializer_range=0.5
    )
    model = Gemma2ForCausalLM(config).double().eval()
    policy = Policy(model, train_blocks)
    assert not policy.shared_prefix
    layout = policy.layout(*batch())
    logits = policy.head.logits(policy.hidden(layout))
    for x, prompt in enumerate(PROMPTS):
        for i, tokens in enumerate(GROUPS[x]):
            wanted = model(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0]
            wanted = wanted[len(prompt) - 1 : -1]
            torch.testing.assert_close(logits[x, i, : len(tokens)], wanted, rtol=1e-6, atol=1e-8)
