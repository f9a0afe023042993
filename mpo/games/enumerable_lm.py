"""A preference game over all responses that an autoregressive policy can give.

It is the exact task of design.md section 1.

Responses end by the end-of-sequence token (EOS) or by truncation after ``max_tokens`` tokens.
With S symbols the prefixes form a complete S-ary tree, numbered breadth first, so that

- prefix s has depth d and its child by symbol a is number ``S * s + 1 + a``;
- the response that *ends* at prefix s (by EOS) has number s;
- numbers from ``num_prefixes`` on are truncated responses: ``max_tokens`` symbols and no EOS.

Shapes: X prompts, R responses, T = ``max_tokens``, V = S + 1 vocabulary, N prefixes,
C = S**(T - 1) covering responses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class EnumerableGame:
    """A prompted preference game whose responses are all enumerated.

    Attributes:
        name: what tables call the game, for example ``"smooth-0"``.
        kind: the construction it came from (``mpo.games.zoo.KINDS`` for the shipped ones).
        seed: the seed that it was drawn with.
        symbols: S, number of symbols; token ids 0 … S-1. EOS, which is padding too, is token S.
        max_tokens: T, the longest response in tokens.
        prompts: X distinct tuples of symbols, of different lengths.
        prompt_weights: (X,) float64, ρ(x), positive, sums to 1.
        preferences: (X, R, R) float64, P(y ≻ y' | x) in [0, 1], P + Pᵀ == 1 to the bit.

    Raises:
        ValueError: a field has a wrong shape, dtype or value; the message names the field.
    """

    name: str
    kind: str
    seed: int
    symbols: int
    max_tokens: int
    prompts: tuple[tuple[int, ...], ...]
    prompt_weights: Tensor
    preferences: Tensor

    def __post_init__(self) -> None:
        for field in ("symbols", "max_tokens"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}: got {getattr(self, field)}, allowed: 1 or more")
        self._check_prompts()
        shape = (len(self.prompts), self.num_responses, self.num_responses)
        _check_float64("prompt_weights", self.prompt_weights, shape[:1])
        _check_float64("preferences", self.preferences, shape)
        weights, wins = self.prompt_weights, self.preferences
        if bool((weights <= 0).any()) or abs(float(weights.sum()) - 1) > 1e-12:
            raise ValueError(
                f"prompt_weights: got {weights.tolist()}, allowed: positive numbers that sum to 1"
            )
        if not bool(((wins >= 0) & (wins <= 1)).all()):
            raise ValueError("preferences: got values outside [0, 1], allowed: probabilities")
        if not bool((wins + wins.transpose(1, 2) == 1).all()):
            raise ValueError("preferences: got P + Pᵀ != 1 somewhere, allowed: exactly 1")

    def _check_prompts(self) -> None:
        if not self.prompts or len(set(self.prompts)) < len(self.prompts):
            raise ValueError(f"prompts: got {self.prompts}, allowed: one or more, all distinct")
        for prompt in self.prompts:
            if not prompt or any(not 0 <= token < self.symbols for token in prompt):
                raise ValueError(
                    f"prompts: got {prompt}, allowed: one or more tokens of 0 … {self.symbols - 1}"
                )

    @property
    def eos(self) -> int:
        """The token that ends a response; it pads as well, as in real tokenizers."""
        return self.symbols

    @property
    def vocabulary(self) -> int:
        """V: the symbols and EOS."""
        return self.symbols + 1

    @property
    def num_prefixes(self) -> int:
        """N: prefixes at which the policy chooses a token, depths 0 … T-1."""
        return sum(self.symbols**depth for depth in range(self.max_tokens))

    @property
    def num_responses(self) -> int:
        """R: responses, ended and truncated ones."""
        return self.num_prefixes + self.symbols**self.max_tokens

    @cached_property
    def responses(self) -> Tensor:
        """(R, T) long: the responses' tokens, padded with EOS."""
        return enumerate_responses(self.symbols, self.max_tokens)

    @cached_property
    def lengths(self) -> Tensor:
        """(R,) long: tokens that count. The EOS that ends a response does; padding doesn't."""
        return count_tokens(self.responses, self.eos)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """R distinct texts, in the order of ``responses``."""
        return tuple(self.text(row) for row in self.responses.tolist())

    @cached_property
    def framed_prompts(self) -> tuple[tuple[int, ...], ...]:
        """X prompts as a model reads them: EOS, the symbols, EOS, as a chat template frames them.

        Without the frame prompt (3,) with the response (1,) would be prompt (3, 1), and attention
        over equal symbols cannot count them: no model could answer each prompt by itself.
        """
        return tuple((self.eos, *prompt, self.eos) for prompt in self.prompts)

    @cached_property
    def prompt_texts(self) -> tuple[str, ...]:
        """X distinct texts, in the order of ``prompts``."""
        return tuple(self.text(prompt) for prompt in self.prompts)

    @cached_property
    def covering(self) -> Tensor:
        """(C, T) long: responses whose prefixes are all the prefixes of the game.

        The last token is symbol 0 throughout: what is asked for is the next token's
        distribution at each of the T positions, and the last token comes after all of them.
        """
        last = torch.zeros(self.symbols ** (self.max_tokens - 1), 1, dtype=torch.long)
        return torch.cat([_words(self.symbols, self.max_tokens - 1), last], dim=1)

    def text(self, ids: Iterable[int]) -> str:
        """The symbols before the first EOS, joined by spaces; ``""`` for the empty response."""
        words = []
        for token in ids:
            if int(token) == self.eos:
                break
            words.append(str(int(token)))
        return " ".join(words)

    def log_probs(self, next_token: Tensor) -> Tensor:
        """log π(y | x) = Σ_t log π(y_t | x, y_<t), over the tokens that count.

        Args:
            next_token: (X, C, T, V) log-probabilities; entry [x, c, t] is the distribution of
                token t after prompt x and the first t tokens of ``covering[c]``.

        Returns:
            (X, R) float64, differentiable in ``next_token``.

        Raises:
            ValueError: ``next_token`` has another shape.
        """
        table = self.prefix_log_probs(next_token)
        per_symbol = table[:, :, : self.symbols].flatten(1)
        reach = [table.new_zeros(table.shape[0], 1)]
        first = 1
        for depth in range(1, self.max_tokens + 1):
            last = first + self.symbols**depth
            above = reach[-1].repeat_interleave(self.symbols, dim=1)
            # Prefix number c of the breadth-first tree is entry c - 1 of the flat symbol table.
            reach.append(above + per_symbol[:, first - 1 : last - 1])
            first = last
        ended = torch.cat(reach[:-1], dim=1) + table[:, :, self.eos]
        return torch.cat([ended, reach[-1]], dim=1)

    def prefix_log_probs(self, next_token: Tensor) -> Tensor:
        """Next-token log-probabilities by prefix.

        Args:
            next_token: (X, C, T, V), as in ``log_probs``.

        Returns:
            (X, N, V) float64.

        Raises:
            ValueError: ``next_token`` has another shape.
        """
        wanted = (self.covering.shape[0], self.max_tokens, self.vocabulary)
        if next_token.ndim != 4 or tuple(next_token.shape[1:]) != wanted:
            raise ValueError(
                f"next_token: got shape {tuple(next_token.shape)}, allowed: (prompts, *{wanted})"
            )
        blocks = [
            next_token[:, :: self.symbols ** (self.max_tokens - 1 - depth), depth]
            for depth in range(self.max_tokens)
        ]
        return torch.cat(blocks, dim=1).to(torch.float64)


def enumerate_responses(symbols: int, max_tokens: int) -> Tensor:
    """(R, T) long: all responses over ``symbols`` symbols, padded with EOS = ``symbols``."""
    blocks = []
    for depth in range(max_tokens + 1):
        block = torch.full((symbols**depth, max_tokens), symbols)
        block[:, :depth] = _words(symbols, depth)
        blocks.append(block)
    return torch.cat(blocks)


def count_tokens(responses: Tensor, eos: int) -> Tensor:
    """(R,) long: tokens of (R, T) padded ``responses`` that count, the first EOS among them."""
    return torch.clamp((responses != eos).sum(1) + 1, max=responses.shape[1])


def _words(symbols: int, length: int) -> Tensor:
    """(symbols**length, length): all words of that many symbols, in lexicographic order."""
    powers = symbols ** torch.arange(length - 1, -1, -1)
    return torch.arange(symbols**length)[:, None] // powers % symbols


def _check_float64(field: str, value: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(value.shape) != shape or value.dtype != torch.float64:
        raise ValueError(
            f"{field}: got {value.dtype} of shape {tuple(value.shape)}, "
            f"allowed: torch.float64 of shape {shape}"
        )
