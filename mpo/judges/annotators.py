"""A panel of annotators with different tastes: the judge of the language-model tasks.

Each annotator ranks responses by one score; the panel's preference is the share of annotators that
prefer one response. Every annotator is transitive, their majority need not be (Condorcet), which is
what makes the game worth a Nash equilibrium. How often it is intransitive is measured, not assumed:
mpo/judges/intransitivity.py.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mpo.judges.scorers import Scorer, default_scorers

ANNOTATORS = ("warmth", "readability", "relevance", "brevity", "diversity")
CACHE_SIZE = 65536
EMPTY = -math.inf


class CachedScorer:
    """A scorer that remembers the `size` most recently used (prompt, response) pairs.

    A blank response (white space only) scores −∞ without being asked about, so with every annotator
    it loses to any other response and ties with another blank one.
    """

    def __init__(self, name: str, scorer: Scorer, size: int = CACHE_SIZE) -> None:
        self.name = name
        self._scorer = scorer
        self._size = size
        self._known: OrderedDict[tuple[str, str], float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        """Scores of N pairs; the scorer sees each pair that is not remembered once.

        Raises ValueError, naming annotator and response, for a score that is not finite.
        """
        pairs = list(zip(prompts, responses, strict=True))
        wanted = dict.fromkeys(pair for pair in pairs if pair[1].strip())
        new = [pair for pair in wanted if pair not in self._known]
        fresh = self._ask(new)
        scores = [
            EMPTY if pair not in wanted else fresh[pair] if pair in fresh else self._known[pair]
            for pair in pairs
        ]
        for pair in wanted:
            if pair not in fresh:
                self._known.move_to_end(pair)
        self._known.update(fresh)
        while len(self._known) > self._size:
            self._known.popitem(last=False)
        return scores

    def _ask(self, pairs: list[tuple[str, str]]) -> dict[tuple[str, str], float]:
        if not pairs:
            return {}
        scores = self._scorer([prompt for prompt, _ in pairs], [response for _, response in pairs])
        fresh = dict(zip(pairs, scores, strict=True))
        for (_, response), score in fresh.items():
            if not math.isfinite(score):
                raise ValueError(
                    f"annotator {self.name}: got the score {score} for the response "
                    f"{response[:80]!r}; a score must be a finite number"
                )
        return fresh


class AnnotatorPanel:
    """Judge whose P(y ≻ y′ | x) is the share of annotators that score y higher; a tie counts ½.

    P(a, b) + P(b, a) = 1 to the bit, by construction (design.md §3, judge). Nothing is loaded until
    scores are first asked for. Prompts are the user's texts, without system prompt or template.
    """

    def __init__(
        self, scorers: Mapping[str, Scorer] | None = None, cache_size: int = CACHE_SIZE
    ) -> None:
        """`scorers`: the annotators by name; default: the five of mpo/judges/scorers.py.

        `cache_size`: (prompt, response) pairs that each annotator remembers.
        """
        chosen = default_scorers() if scorers is None else scorers
        if not chosen:
            raise ValueError("scorers: got none; a panel needs at least one annotator")
        if cache_size < 1:
            raise ValueError(f"cache_size: got {cache_size}; it must be at least 1")
        self._annotators = {
            name: scorer
            if isinstance(scorer, CachedScorer)
            else CachedScorer(name, scorer, cache_size)
            for name, scorer in chosen.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The annotators, in the order of the columns of `scores` and `votes`."""
        return tuple(self._annotators)

    def without(self, *names: str) -> AnnotatorPanel:
        """The panel of the other annotators. It shares what this one remembers.

        Raises ValueError for a name that is not on the panel, or when nobody would be left.
        """
        if unknown := [name for name in names if name not in self._annotators]:
            raise ValueError(f"without: got {unknown}; the panel's annotators are {self.names}")
        return AnnotatorPanel(
            {name: scorer for name, scorer in self._annotators.items() if name not in names}
        )

    def scores(self, prompts: Sequence[str], responses: Sequence[str]) -> Tensor:
        """(N, A) float64: the score of each of N responses by each of A annotators, −∞ if blank."""
        if len(prompts) != len(responses):
            raise ValueError(
                f"got {len(prompts)} prompts and {len(responses)} responses; "
                "each response needs its prompt"
            )
        columns = [scorer(prompts, responses) for scorer in self._annotators.values()]
        return torch.tensor(columns, dtype=torch.float64).T.contiguous()

    def votes(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> Tensor:
        """(N, A) float64: 1 where the annotator prefers a, 0 where b, ½ for a tie."""
        left, right = self._both(prompts, a, b)
        return (1 + _signs(left, right)) / 2

    def win_prob(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> Tensor:
        """(N,) float64: P(a ≻ b | x), the mean of `votes`."""
        left, right = self._both(prompts, a, b)
        return _share(_signs(left, right))

    def win_matrix(
        self, prompts: Sequence[str], a: Sequence[Sequence[str]], b: Sequence[Sequence[str]]
    ) -> Tensor:
        """(B, n, k) float64: P(a_i ≻ b_j | x) for n and k responses to each of B prompts.

        Each response is scored once, not once a pair.
        """
        if not len(prompts) == len(a) == len(b):
            raise ValueError(f"got {len(prompts)} prompts, {len(a)} and {len(b)} response lists")
        n, k = (len(responses[0]) if responses else 0 for responses in (a, b))
        if any(len(row) != n for row in a) or any(len(row) != k for row in b):
            raise ValueError("every prompt must have the same number of responses")
        flat = [text for responses in (a, b) for row in responses for text in row]
        repeated = [x for size in (n, k) for x in prompts for _ in range(size)]
        scores = self.scores(repeated, flat)
        left, right = scores.split([len(prompts) * n, len(prompts) * k])
        shape = (len(prompts), -1, len(self.names))
        if not flat:
            return torch.zeros(len(prompts), n, k, dtype=torch.float64)
        return _share(_signs(left.view(shape).unsqueeze(2), right.view(shape).unsqueeze(1)))

    def _both(
        self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        if not len(prompts) == len(a) == len(b):
            raise ValueError(
                f"got {len(prompts)} prompts, {len(a)} and {len(b)} responses; "
                "each comparison needs one of each"
            )
        left, right = self.scores([*prompts, *prompts], [*a, *b]).split(len(prompts))
        return left, right


def _signs(a: Tensor, b: Tensor) -> Tensor:
    # By comparison and not by subtraction: −∞ − (−∞) is NaN, but a tie here.
    return (a > b).double() - (a < b).double()


def _share(signs: Tensor) -> Tensor:
    """P = ½ + s/2A for s = Σ of A signs, as hi or 1 − hi of hi = ½ + |s|/2A.

    1 − hi is exact for hi in [½, 1], so the two orders of a pair add up to 1 to the bit.
    """
    total = signs.sum(-1)
    high = 0.5 + total.abs() / (2 * signs.shape[-1])
    return torch.where(total >= 0, high, 1 - high)
