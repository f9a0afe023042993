"""A causal language model that is scored on responses only, and frozen copies of its moving part.

Where only the last blocks train, the frozen trunk is computed once per rollout and shared by π_θ,
π_k, the magnet and every inner step; a copy (magnet, opponent, reference) holds the moving part
alone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mpo.layout import Layout, group_size, row_layout, tree_layout
from mpo.logprobs import Head
from mpo.records import Prompts, Responses


class Policy(nn.Module):
    """A transformers causal model, of which all weights or the last `train_blocks` blocks move.

    Raises ValueError when the architecture cannot be split or scored this way: the split model is
    compared with the whole one on two tokens at construction.
    """

    def __init__(self, model: Any, train_blocks: int | None = None, temperature: float = 1.0):
        super().__init__()
        decoder = model.get_decoder()
        if not (hasattr(decoder, "layers") and hasattr(decoder, "norm")):
            raise ValueError(
                f"model: got {type(model).__name__}, allowed are decoders with `layers` and a "
                "final `norm`, such as Llama, Gemma, Mistral and Qwen"
            )
        blocks = len(decoder.layers)
        if train_blocks is not None and not 1 <= train_blocks <= blocks:
            raise ValueError(
                f"model.train_blocks: got {train_blocks}, allowed is 1 to {blocks} (this model's "
                "number of blocks) or null for all weights"
            )
        self.model = model
        self.train_blocks = train_blocks
        self.temperature = temperature
        self.shared_prefix = _takes_pair_masks(model.config)
        if train_blocks is not None:
            model.requires_grad_(False)
            for part in self._moving_parts():
                part.requires_grad_(True)
        self._check_scoring()

    @property
    def decoder(self) -> Any:
        """The model without its head."""
        return self.model.get_decoder()

    @property
    def head(self) -> Head:
        """The output head at the sampling temperature."""
        linear = self.model.get_output_embeddings()
        softcap = getattr(self.model.config, "final_logit_softcapping", None)
        return Head(linear.weight, linear.bias, softcap, self.temperature)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def layout(self, prompts: Prompts, responses: Responses) -> Layout:
        """The batch for one forward pass over the responses (B, n, T) of the prompts."""
        if not self.shared_prefix:
            return row_layout(prompts, responses)
        group = group_size(prompts, responses, self.head.weight.shape[1])
        return tree_layout(prompts, responses, group)

    @torch.no_grad()
    def trunk_states(self, layout: Layout) -> Tensor | None:
        """Hidden states (S, L, D) that enter the first moving block; None when all weights move."""
        if self.train_blocks is None:
            return None
        view = _view(self.decoder, slice(None, -self.train_blocks), nn.Identity())
        return _run(view, layout, {"input_ids": layout.ids})

    def hidden(self, layout: Layout, trunk: Tensor | None = None) -> Tensor:
        """Hidden states (B, n, T, D) that predict each response token.

        `trunk` is `trunk_states(layout)`, of this policy or any copy that shares the trunk.
        """
        if self.train_blocks is None:
            states = _run(self.decoder, layout, {"input_ids": layout.ids})
        else:
            trunk = self.trunk_states(layout) if trunk is None else trunk
            view = _view(self.decoder, slice(-self.train_blocks, None), self.decoder.norm)
            states = _run(view, layout, {"inputs_embeds": trunk})
        return states.flatten(0, 1)[layout.predicts]

    def moving_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and parameters of the part that trains, without repeats, in a stable order."""
        if self.train_blocks is None:
            yield from self.model.named_parameters()
            return
        for index, part in enumerate(self._moving_parts()):
            for name, parameter in part.named_parameters():
                yield f"{index}.{name}", parameter

    def enable_gradient_checkpointing(self) -> None:
        """Recompute the blocks' activations in the backward pass.

        Raises ValueError when the model has dropout: π_θ would not be π_k at θ = θ_k.
        """
        dropout = {k: v for k, v in vars(self.model.config).items() if "dropout" in k and v}
        if dropout:
            raise ValueError(
                f"train.gradient_checkpointing: got a model with {dropout}, allowed is no dropout"
            )
        self.model.gradient_checkpointing_enable({"use_reentrant": False})
        # Transformers checkpoints in training mode only; without dropout the mode changes nothing.
        self.model.train()

    def frozen_copy(self) -> Policy:
        """A copy of the moving part that shares everything else and never trains."""
        if self.train_blocks is None:
            model = copy.deepcopy(self.model)
        else:
            decoder, shared = self.decoder, len(self.decoder.layers) - self.train_blocks
            moved = [copy.deepcopy(block) for block in decoder.layers[shared:]]
            twin = _view(decoder, slice(None), copy.deepcopy(decoder.norm))
            twin._modules["layers"] = nn.ModuleList([*decoder.layers[:shared], *moved])
            model = copy.copy(self.model)
            model._modules = {
                name: twin if module is decoder else module
                for name, module in self.model._modules.items()
            }
        twin_policy = copy.copy(self)
        twin_policy._modules = {**self._modules, "model": model}
        for _, parameter in twin_policy.moving_parameters():
            parameter.requires_grad_(False)
            parameter.grad = None
        return twin_policy

    @torch.no_grad()
    def copy_from(self, other: Policy) -> None:
        """Take over the moving weights of `other` in place."""
        pairs = zip(self.moving_parameters(), other.moving_parameters(), strict=True)
        for (_, mine), (_, theirs) in pairs:
            mine.copy_(theirs)

    def _moving_parts(self) -> list[nn.Module]:
        decoder, count = self.decoder, self.train_blocks or 0
        return [*decoder.layers[len(decoder.layers) - count :], decoder.norm]

    @torch.no_grad()
    def _check_scoring(self) -> None:
        ids = torch.tensor([[0, 1]], device=self.device)
        prompts = Prompts(ids[:, :1], torch.ones_like(ids[:, 0]), ids[:, 0], ("",))
        reply = Responses(
            ids[:, None, :], torch.full_like(ids[:, :1], 2), torch.ones_like(ids[:, :1]).bool()
        )
        mine = self.head._replace(temperature=1.0).logits(
            self.hidden(self.layout(prompts, reply))[0, 0]
        )
        theirs = self.model(input_ids=torch.tensor([[0, 0]], device=self.device)).logits[0]
        if not torch.allclose(mine, theirs, rtol=1e-3, atol=1e-3):
            raise ValueError(
                f"model: {type(self.model).__name__} cannot be scored from its hidden states "
                f"(largest difference {(mine - theirs).abs().max():.3g}); allowed are decoders "
                "whose logits are a linear head, with or without soft-capping, on the last block's "
                "normalised output"
            )


def _takes_pair_masks(config: Any) -> bool:
    windowed = any("full" not in kind for kind in getattr(config, "layer_types", None) or ())
    return config._attn_implementation in ("sdpa", "eager") and not windowed


def _view(decoder: Any, blocks: slice, norm: nn.Module) -> Any:
    """The decoder with some of its blocks and another final norm; weights are shared."""
    view = copy.copy(decoder)
    layers = nn.ModuleList(decoder.layers[blocks])
    view._modules = {**decoder._modules, "layers": layers, "norm": norm}
    view.config = copy.copy(decoder.config)
    view.config.num_hidden_layers = len(layers)
    if getattr(decoder.config, "layer_types", None):
        view.config.layer_types = decoder.config.layer_types[blocks]
    return view


def _run(decoder: Any, layout: Layout, inputs: dict[str, Tensor | None]) -> Tensor:
    attention = layout.attention
    if attention.dim() == 4:
        dtype = next(decoder.parameters()).dtype
        closed = torch.finfo(dtype).min
        attention = torch.zeros(attention.shape, dtype=dtype, device=attention.device).masked_fill(
            ~attention, closed
        )
    output = decoder(
        **inputs, attention_mask=attention, position_ids=layout.positions, use_cache=False
    )
    return output.last_hidden_state
