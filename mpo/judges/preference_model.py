"""A model of pairs, P(y ≻ y′ | x), which need not be transitive (paper, appendix B.2, Table 4).

The template of a pair, in tokens (〈end〉 is the end token):

    [the prompt in the chat format, up to where a reply begins]
    Reply A:\\n a 〈end〉 \\nReply B:\\n b 〈end〉 [\\nBetter reply:\\n]

A reply may contain the words `Reply B:`, but no end token (mpo.judges.token_fields): it cannot
close its own field, and the fields can be read back from the tokens alone. Prompts are trusted: a
prompt that spells a special token contains it, as for the policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from mpo.chat import ChatFormat
from mpo.judges.antisymmetry import complementary
from mpo.judges.prefix_rows import Branch, end_states
from mpo.judges.reward_model import accuracy
from mpo.judges.token_fields import (
    check_max_tokens,
    end_token,
    freeze_unused_output_head,
    scalar_head,
    shortened,
    text_tokens,
)
from mpo.judges.trained import (
    PROBE,
    check_probe,
    load_base,
    load_weights,
    read_about,
    save_trained,
)
from mpo.policy import Policy
from mpo.records import Metrics, Weighted
from mpo.training.records import Comparison, Unit

KIND = "preference"
NEXT_TOKEN, SCALAR = "next_token", "scalar"
FORMS = (NEXT_TOKEN, SCALAR)
FIRST, SECOND, QUESTION = "Reply A:\n", "\nReply B:\n", "\nBetter reply:\n"
ANSWERS = ("A", "B")


class PreferenceModel(nn.Module):
    """p(a, b | x) = σ(z), with z the difference of the next-token logits of A and B after the
    template's question (form next_token), or a linear head on the last token (form scalar).

    Trained by the cross-entropy with soft labels w = P(a ≻ b | x) on both orders of each pair; as a
    judge it answers with the mean over both orders,

        P(a ≻ b | x) = ½ (p(a, b | x) + 1 − p(b, a | x)),

    which is antisymmetric whatever the model prefers about the places A and B.
    """

    def __init__(
        self,
        policy: Policy,
        chat: ChatFormat,
        form: str = NEXT_TOKEN,
        max_tokens: int = 3072,
        seed: int = 0,
    ):
        """`max_tokens` is the longest sequence that is read, `seed` draws the scalar form's head.

        Raises ValueError for another form, when `max_tokens` exceeds the model's positions, and
        when A and B are not a token each.
        """
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"form: got {form!r}, allowed is one of {FORMS}")
        self.policy, self.chat, self.form, self.max_tokens = policy, chat, form, max_tokens
        end = end_token(chat, policy)
        self._first = text_tokens(chat, FIRST)
        self._between = (end, *text_tokens(chat, SECOND))
        self._last = (end, *(text_tokens(chat, QUESTION) if form == NEXT_TOKEN else ()))
        self._template = len(self._first) + len(self._between) + len(self._last)
        check_max_tokens(policy, max_tokens, least=self._template + 1)
        self.head: nn.Linear | None = None
        if form == SCALAR:
            freeze_unused_output_head(policy)
            self.head = scalar_head(policy, seed)
        self.answers = [text_tokens(chat, answer) for answer in ANSWERS]
        if form == NEXT_TOKEN and [len(ids) for ids in self.answers] != [1, 1]:
            raise ValueError(
                f"form: got next_token with a tokenizer that writes {ANSWERS} as {self.answers}, "
                "allowed is a token each; use form scalar"
            )
        self.shortened = 0
        """Sequences of more than max_tokens that `win_prob` has cut so far."""

    def encode(self, record: Comparison) -> Unit:
        """Both orders of each pair, whole, one after the other; a term a pair.

        wins (2 · pairs,) is the label of each sequence. Raises ValueError without a pair.
        """
        count = len(record.responses)
        if count < 2:
            raise ValueError(f"responses: got {count}, allowed is at least 2, for {record}")
        prompt = tuple(self.chat.encode(record.prompt))
        texts = [text_tokens(self.chat, text) for text in record.responses]
        ordered = [order for i, j in combinations(range(count), 2) for order in ((i, j), (j, i))]
        branches = [self._fields(prompt, texts[i], texts[j]) for i, j in ordered]
        sequences = tuple(prefix + tail for prefix, tail in branches)
        return Unit(
            sequences,
            tuple((len(tokens) - 1,) for tokens in sequences),
            len(ordered) // 2,
            wins=torch.tensor([record.wins[i][j] for i, j in ordered], dtype=torch.float64),
        )

    def loss(self, hidden: Tensor, units: Sequence[Unit]) -> tuple[Tensor, Metrics]:
        """Σ over the units' pairs of the mean cross-entropy of both orders, from hidden (N, D).

        Metrics: the judge's accuracy on pairs without a tie, and `place_a`, the mean of p(a, b)
        over both orders, ½ when the places A and B are preferred alike.
        """
        logits = self.logits(hidden)
        labels = torch.cat([unit.wins for unit in units if unit.wins is not None]).to(logits)
        loss = binary_cross_entropy_with_logits(logits, labels, reduction="sum") / 2
        chosen = torch.sigmoid(logits.detach())
        margin = chosen[0::2] - chosen[1::2]
        place = Weighted(chosen.mean(), len(margin))
        return loss, {"accuracy": accuracy(margin, labels[0::2]), "place_a": place}

    def logits(self, hidden: Tensor) -> Tensor:
        """z (N,) from the hidden states (N, D) of the sequences' last tokens."""
        if self.head is not None:
            return self.head(hidden)[:, 0]
        rows = [ids[0] for ids in self.answers]
        whole = self.policy.head
        bias = None if whole.bias is None else whole.bias[rows]
        two = whole._replace(weight=whole.weight[rows], bias=bias, temperature=1.0)
        logits = two.logits(hidden)
        return logits[:, 0] - logits[:, 1]

    @torch.no_grad()
    def win_prob(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> Tensor:
        """P(a ≻ b | x) of N comparisons: (N,) float64, with P(a, b) + P(b, a) = 1 to the bit.

        Raises ValueError when the three differ in length.
        """
        texts = {text: text_tokens(self.chat, text) for text in {*a, *b}}
        ids = {prompt: tuple(self.chat.encode(prompt)) for prompt in dict.fromkeys(prompts)}
        triples = list(zip(prompts, a, b, strict=True))
        both = [(x, y, z) for x, y, z in triples] + [(x, z, y) for x, y, z in triples]
        branches = [self._cut(ids[x], texts[y], texts[z]) for x, y, z in both]
        chosen = torch.sigmoid(self.logits(end_states(self.policy, branches)).double()).cpu()
        mine, theirs = chosen.split(len(triples)) if triples else (chosen, chosen)
        # (p(a, b) − p(b, a)) / 2 changes its sign and no other bit with the order.
        half = (mine - theirs) / 2
        return complementary(0.5 + half.abs(), half >= 0)

    def _fields(self, prompt: tuple[int, ...], a: tuple[int, ...], b: tuple[int, ...]) -> Branch:
        return Branch(prompt + self._first + a + self._between, b + self._last)

    def _cut(self, prompt: tuple[int, ...], a: tuple[int, ...], b: tuple[int, ...]) -> Branch:
        room = self.max_tokens - self._template
        self.shortened += len(prompt) + len(a) + len(b) > room
        prompt, (a, b) = shortened(prompt, [a, b], room)
        return self._fields(prompt, a, b)


def save_preference_model(model: PreferenceModel, folder: Path, about: dict[str, Any]) -> None:
    """Write the moving weights, the head if there is one and about.json, aside and renamed.

    `about` holds `model`, the base model's path as load_causal_model takes it, and whatever else
    is worth keeping (metrics, data); see mpo.judges.trained.
    """
    save_trained(model, folder, {**about, "form": model.form}, KIND, _probe(model))


def load_preference_model(folder: Path) -> PreferenceModel:
    """A saved preference model, frozen, on its base model. Raises as load_reward_model."""
    about = read_about(folder, KIND)
    policy, chat = load_base(about)
    model = PreferenceModel(policy, chat, about["form"], about["max_tokens"])
    load_weights(model, folder)
    check_probe(_probe(model), about, folder)
    return model.requires_grad_(False)


def _probe(model: PreferenceModel) -> float:
    prompt, better, worse = PROBE
    return float(model.win_prob([prompt], [better], [worse])[0])
