"""The shipped families of preference matrices, each drawn from a seed, and where runs start.

R actions; P(i ≻ j) is a float64 matrix (R, R) with P + Pᵀ == 1 to the bit and ½ on the diagonal.

- ``random_logistic``: σ(2 (A − Aᵀ)) with A standard normal. About half of the actions are played.
- ``cyclic``: the actions stand in a circle, and each beats the next ⌊(R − 1)/2⌋ by margins of its
  own (P − ½ from 0.1 to 0.4); with an even R, opposite actions tie.
- ``block_cyclic``: three blocks go round by large margins, one a pair of blocks, and inside each
  its actions go round as in ``cyclic``, by margins a quarter as large. The equilibrium is the
  blocks' times each block's own: two time scales, of which the inner one is slow.
- ``bradley_terry``: σ(r_i − r_j) with r standard normal. The best action is the equilibrium.
- ``annotator_mixture``: the mean of k annotators' preferences. Annotators in odd places (the
  first, third, …) are Bradley-Terry with rewards of their own of standard deviation 2; the others
  vote for whichever action is nearer to their peak on a line (single-peaked: Black 1948). None of
  them is intransitive, their majority can be (Condorcet).
- ``rock_paper_scissors``: three actions, played in proportion to weights drawn from 0.2 to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.random import Generator, default_rng
from torch import Tensor

from mpo.games.win_probabilities import Array, from_logits, from_margins

LOGISTIC_SCALE = 2.0
MARGINS = (0.1, 0.4)
INNER_SHARE = 0.25  # of a margin inside a block to one between blocks
ANNOTATORS = 5
REWARD_SPREAD = 2.0
WEIGHTS = (0.2, 1.0)
START_SPREAD = 0.5


def matrix_game(family: str, seed: int, actions: int, annotators: int = ANNOTATORS) -> Tensor:
    """The preference matrix of these values, the same on every machine.

    Args:
        family: one of ``FAMILIES``.
        seed: 0 or more.
        actions: R; 2 or more, for the cyclic families 3 or more, for rock-paper-scissors 3.
        annotators: k, 1 or more; only ``annotator_mixture`` looks at it.

    Returns:
        (R, R) float64, P(i ≻ j).

    Raises:
        ValueError: names each value out of range.
    """
    if problems := _problems(family, seed, actions, annotators):
        raise ValueError("; ".join(problems))
    if family == "annotator_mixture":
        return torch.from_numpy(_annotator_mixture(_generator(family, seed), actions, annotators))
    return torch.from_numpy(_DRAWS[family](_generator(family, seed), actions))


def initial_policies(seeds: int | Sequence[int], actions: int) -> Tensor:
    """Where a run of each seed starts: softmax of N(0, ½²) logits, whatever the family.

    The logits of a seed follow the R² draws of its ``random_logistic`` matrix in one stream, so
    that the two are independent of each other.

    Args:
        seeds: N seeds of 0 or more; a single one counts as N = 1.
        actions: R, 2 or more.

    Returns:
        (N, R) float64, rows sum to 1.

    Raises:
        ValueError: names each value out of range.
    """
    chosen = [seeds] if isinstance(seeds, int) else list(seeds)
    problems = [f"seed: got {seed}, allowed: 0 or more" for seed in chosen if seed < 0]
    if actions < 2:
        problems.append(f"actions: got {actions}, allowed: 2 or more")
    if problems:
        raise ValueError("; ".join(problems))
    logits = np.empty((len(chosen), actions))
    for row, seed in enumerate(chosen):
        generator = default_rng(seed)
        generator.normal(size=(actions, actions))
        logits[row] = START_SPREAD * generator.normal(size=actions)
    return torch.softmax(torch.from_numpy(logits), dim=-1)


def rock_paper_scissors(weights: Sequence[float]) -> Tensor:
    """The game whose only equilibrium plays rock, scissors and paper as `weights` (w_1, w_2, w_3).

    Each action beats the next, i + 1 modulo 3, by P − ½ = w_{i+2} / (2 max w): an action is played
    in proportion to the margin between the other two. Equal weights give wins and losses for sure.

    Returns:
        (3, 3) float64.

    Raises:
        ValueError: not three finite numbers above 0.
    """
    if len(weights) != 3 or not all(0 < weight < np.inf for weight in weights):
        raise ValueError(f"weights: got {list(weights)}, allowed: three finite numbers above 0")
    rock, scissors, paper = np.array(weights, dtype=np.float64) / (2 * max(weights))
    upper = np.array([[0.0, paper, -scissors], [0.0, 0.0, rock], [0.0, 0.0, 0.0]])
    return torch.from_numpy(from_margins(upper))


def _random_logistic(generator: Generator, actions: int) -> Array:
    draw = generator.normal(size=(actions, actions))
    return from_logits(LOGISTIC_SCALE * (draw - draw.T))


def _cyclic(generator: Generator, actions: int) -> Array:
    return from_margins(_around(generator, actions, MARGINS))


def _block_cyclic(generator: Generator, actions: int) -> Array:
    block = np.arange(actions) * 3 // actions
    between = _around(generator, 3, MARGINS)
    margins = between[block][:, block]
    low, high = MARGINS
    for which in range(3):
        inside = np.flatnonzero(block == which)
        inner = (INNER_SHARE * low, INNER_SHARE * high)
        margins[np.ix_(inside, inside)] = _around(generator, len(inside), inner)
    return from_margins(margins)


def _around(generator: Generator, actions: int, bounds: tuple[float, float]) -> Array:
    """(R, R) antisymmetric: each action's margins over the next ⌊(R − 1)/2⌋, drawn in `bounds`."""
    draw = generator.uniform(*bounds, size=(actions, actions))
    ahead = (np.arange(actions) - np.arange(actions)[:, None]) % actions
    beats = np.where((ahead > 0) & (ahead <= (actions - 1) // 2), draw, 0.0)
    margins: Array = beats - beats.T
    return margins


def _bradley_terry(generator: Generator, actions: int) -> Array:
    reward = generator.normal(size=actions)
    return from_logits(reward[:, None] - reward)


def _annotator_mixture(generator: Generator, actions: int, annotators: int) -> Array:
    place = generator.normal(size=actions)
    total = np.zeros((actions, actions))
    for which in range(annotators):
        if which % 2 == 0:
            reward = REWARD_SPREAD * generator.normal(size=actions)
            total += 0.5 * np.tanh((reward[:, None] - reward) / 2)  # σ(z) − ½
        else:
            distance = np.abs(place - generator.normal())
            total += 0.5 * np.sign(distance - distance[:, None])
    return from_margins(total / annotators)


def _rock_paper_scissors(generator: Generator, actions: int) -> Array:
    del actions
    return rock_paper_scissors(generator.uniform(*WEIGHTS, size=3).tolist()).numpy()


_DRAWS: dict[str, Callable[[Generator, int], Array]] = {
    "random_logistic": _random_logistic,
    "cyclic": _cyclic,
    "block_cyclic": _block_cyclic,
    "bradley_terry": _bradley_terry,
    "rock_paper_scissors": _rock_paper_scissors,
}
FAMILIES = (*_DRAWS, "annotator_mixture")
_FEWEST = {"cyclic": 3, "block_cyclic": 3}


def _generator(family: str, seed: int) -> Generator:
    # The other families have streams of their own, so that no two games share their draws.
    return default_rng(seed if family == "random_logistic" else [FAMILIES.index(family), seed])


def _problems(family: str, seed: int, actions: int, annotators: int) -> list[str]:
    problems = []
    if family not in FAMILIES:
        problems.append(f"family: got {family!r}, allowed: {', '.join(FAMILIES)}")
    if seed < 0:
        problems.append(f"seed: got {seed}, allowed: 0 or more")
    fewest = _FEWEST.get(family, 2)
    if family == "rock_paper_scissors" and actions != 3:
        problems.append(f"actions: got {actions} for {family}, allowed: 3")
    elif actions < fewest:
        problems.append(f"actions: got {actions} for {family}, allowed: {fewest} or more")
    if annotators < 1:
        problems.append(f"annotators: got {annotators}, allowed: 1 or more")
    return problems
