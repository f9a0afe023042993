"""The shipped families of enumerable games, each drawn from a seed.

- ``smooth``: cyclic and smooth in all tokens. P(y ≻ y' | x) = σ(2 φ(y)ᵀ S_x φ(y') + b_x(y) −
  b_x(y')): φ is the mean of the tokens' random embeddings under position weights, S_x a random
  skew matrix, b_x a sum of small token bonuses. Mixed equilibrium.
- ``first_token``: P = σ(A_x[c(y), c(y')] + b_x(y) − b_x(y')): c is the class of the first token
  (stopping at once is a class too), A_x a random antisymmetric matrix, b_x a sum of small bonuses
  of the other tokens. Mixed equilibrium.
- ``bradley_terry``: P = σ(r_x(y) − r_x(y')), r_x a saturating function of a sum of token values.
  Pure equilibrium. It saturates so that many responses are nearly best: a magnet that never moves
  costs little there, which makes the family the control.

EOS counts as a token of the responses that end by it. Games differ by prompt x: S_x, A_x, b_x
and r_x are drawn for each, and the first x prompts of a game don't depend on how many follow.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray

from mpo.games.enumerable_lm import EnumerableGame, count_tokens, enumerate_responses
from mpo.games.solve import nash_equilibrium
from mpo.games.win_probabilities import from_logits

Array = NDArray[np.float64]
DrawLogits = Callable[[Generator], Array]
"""A prompt's generator -> logits (R, R) of P(y ≻ y'), of which the upper triangle counts."""

KINDS = ("smooth", "first_token", "bradley_terry")
LONGEST_PROMPT = 3
POSITION_DECAY = 0.7  # weight of position t is 0.7**t: later tokens matter less
EMBEDDING_SIZE = 4
CYCLIC_SCALE = 2.0
SMOOTH_BONUS = 0.15
FIRST_TOKEN_SCALE = 2.0
FIRST_TOKEN_BONUS = 0.05
QUALITY_SCALE = 1.5
QUALITY_SATURATION = 2.0
MIN_MIXED = 3  # responses that a mixed game's equilibrium must play, each with …
MIN_SHARE = 0.05  # … at least this probability
MIN_INITIAL_GAP = 0.3  # of the uniform policy, so that there is something to learn
MAX_DRAWS = 1000


def expects_mixed(kind: str) -> bool:
    """Whether the equilibria of this kind are mixed (else pure).

    Raises:
        ValueError: unknown kind.
    """
    _check_kind(kind)
    return kind != "bradley_terry"


def make_game(
    kind: str, seed: int, symbols: int = 5, max_tokens: int = 3, prompts: int = 3
) -> EnumerableGame:
    """The game of these values, the same on every machine.

    A mixed kind's matrix is drawn again, prompt by prompt, until its equilibrium plays at least
    ``MIN_MIXED`` responses with probability ``MIN_SHARE`` and the policy that takes each token
    with probability 1/V has a gap of ``MIN_INITIAL_GAP``.

    Args:
        kind: one of ``KINDS``.
        seed: 0 or more.
        symbols: S; 2 or more.
        max_tokens: T; 1 or more.
        prompts: X; at most ``LONGEST_PROMPT * symbols``; lengths go round 1, 2, 3; equal weights.

    Raises:
        ValueError: a value is out of range, or no draw of these sizes mixes.
    """
    _check_kind(kind)
    for field, value, low, high in (
        ("seed", seed, 0, 2**63 - 1),
        ("symbols", symbols, 2, 50),
        ("max_tokens", max_tokens, 1, 10),
        ("prompts", prompts, 1, LONGEST_PROMPT * symbols),
    ):
        if not low <= value <= high:
            raise ValueError(f"{field}: got {value}, allowed: {low} to {high}")

    def generator(*key: int) -> Generator:
        entropy = (KINDS.index(kind), seed, symbols, max_tokens)
        return default_rng(SeedSequence(entropy, spawn_key=key))

    tokens = enumerate_responses(symbols, max_tokens).numpy()
    lengths = count_tokens(torch.from_numpy(tokens), eos=symbols).numpy()
    draw = _FAMILIES[kind](generator(0), tokens, lengths, symbols)
    uniform = (symbols + 1.0) ** -lengths
    chosen: list[tuple[int, ...]] = []
    matrices = []
    for x in range(prompts):
        private = generator(1, x)
        chosen.append(_draw_prompt(private, symbols, 1 + x % LONGEST_PROMPT, chosen))
        matrices.append(_draw_matrix(private, draw, uniform, kind))
    return EnumerableGame(
        name=f"{kind}-{seed}",
        kind=kind,
        seed=seed,
        symbols=symbols,
        max_tokens=max_tokens,
        prompts=tuple(chosen),
        prompt_weights=torch.full((prompts,), 1 / prompts, dtype=torch.float64),
        preferences=torch.from_numpy(np.stack(matrices)),
    )


def _smooth(shared: Generator, tokens: Array, lengths: Array, symbols: int) -> DrawLogits:
    weights = _counted_weights(tokens, lengths)
    embeddings = shared.normal(size=(symbols + 1, EMBEDDING_SIZE))
    features = (weights[:, :, None] * embeddings[tokens]).sum(1) / lengths[:, None]

    def draw(private: Generator) -> Array:
        upper = np.triu(private.normal(size=(EMBEDDING_SIZE, EMBEDDING_SIZE)), 1)
        bonus = SMOOTH_BONUS * _token_sum(private, tokens, np.where(weights > 0, 1.0, 0.0), symbols)
        cyclic: Array = features @ (upper - upper.T) @ features.T
        return CYCLIC_SCALE * cyclic + bonus[:, None] - bonus

    return draw


def _first_token(shared: Generator, tokens: Array, lengths: Array, symbols: int) -> DrawLogits:
    del shared
    first = tokens[:, 0]
    later = np.where(_counted_weights(tokens, lengths) > 0, 1.0, 0.0)
    later[:, 0] = 0.0

    def draw(private: Generator) -> Array:
        upper = np.triu(private.normal(size=(symbols + 1, symbols + 1)), 1)
        bonus = FIRST_TOKEN_BONUS * _token_sum(private, tokens, later, symbols)
        classes: Array = FIRST_TOKEN_SCALE * (upper - upper.T)
        return classes[first][:, first] + bonus[:, None] - bonus

    return draw


def _bradley_terry(shared: Generator, tokens: Array, lengths: Array, symbols: int) -> DrawLogits:
    del shared
    weights = _counted_weights(tokens, lengths)
    uniform = (symbols + 1.0) ** -lengths

    def draw(private: Generator) -> Array:
        value = _token_sum(private, tokens, weights, symbols)
        centred = value - uniform @ value
        spread = np.sqrt(uniform @ centred**2)
        reward = QUALITY_SCALE * np.tanh(QUALITY_SATURATION * centred / spread)
        return reward[:, None] - reward

    return draw


_FAMILIES: dict[str, Callable[[Generator, Array, Array, int], DrawLogits]] = {
    "smooth": _smooth,
    "first_token": _first_token,
    "bradley_terry": _bradley_terry,
}


def _counted_weights(tokens: Array, lengths: Array) -> Array:
    """(R, T): 0.7**t on the tokens that count, 0 on padding."""
    positions = np.arange(tokens.shape[1])
    return np.where(positions < lengths[:, None], POSITION_DECAY**positions, 0.0)


def _token_sum(private: Generator, tokens: Array, weights: Array, symbols: int) -> Array:
    """(R,): Σ_t weights[y, t] · v[t, y_t] with v standard normal."""
    positions = np.arange(tokens.shape[1])
    values = private.normal(size=(len(positions), symbols + 1))
    total: Array = (weights * values[positions, tokens]).sum(1)
    return total


def _draw_prompt(
    private: Generator, symbols: int, length: int, taken: list[tuple[int, ...]]
) -> tuple[int, ...]:
    while True:
        prompt = tuple(int(token) for token in private.integers(symbols, size=length))
        if prompt not in taken:
            return prompt


def _draw_matrix(private: Generator, draw: DrawLogits, uniform: Array, kind: str) -> Array:
    for _ in range(MAX_DRAWS):
        matrix = from_logits(draw(private))
        if not expects_mixed(kind):
            return matrix
        if 2 * ((matrix @ uniform).max() - 0.5) < MIN_INITIAL_GAP:
            continue
        policy = nash_equilibrium(torch.from_numpy(matrix)).policy
        if int((policy >= MIN_SHARE).sum()) >= MIN_MIXED:
            return matrix
    raise ValueError(
        f"kind: got {kind} with {len(uniform)} responses, of which {MAX_DRAWS} draws gave no "
        f"mixed equilibrium; allowed: sizes with more responses"
    )


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind: got {kind!r}, allowed: {', '.join(KINDS)}")
