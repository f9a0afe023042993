"""The Bradley-Terry reward model, and the judge made of a reward (paper, appendix B.2, Table 4)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from mpo.chat import ChatFormat
from mpo.critic import ValueModel
from mpo.judges.antisymmetry import complementary
from mpo.judges.prefix_rows import Branch, end_states
from mpo.judges.protocol import RewardFunction
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

KIND = "reward"
REMEMBERED_CALLS = 32


class RewardModel(nn.Module):
    """r(x, y): a linear head on the hidden state of the last token of prompt, response, end token.

    Trained by the Bradley-Terry likelihood with soft labels w = P(y ≻ y′ | x),

        loss = − w log σ(r(x, y) − r(x, y′)) − (1 − w) log σ(r(x, y′) − r(x, y)),

    over all pairs of a comparison's responses. Every response is closed by the end token, also one
    that was truncated: the text does not show it.
    """

    def __init__(self, policy: Policy, chat: ChatFormat, max_tokens: int = 3072, seed: int = 0):
        """`max_tokens` is the longest sequence that is read, `seed` draws the head.

        Raises ValueError when `max_tokens` exceeds the model's positions.
        """
        super().__init__()
        check_max_tokens(policy, max_tokens, least=2)
        freeze_unused_output_head(policy)
        self.policy, self.chat, self.max_tokens = policy, chat, max_tokens
        self.end = end_token(chat, policy)
        self.head = scalar_head(policy, seed)
        self.base_path: str | None = None
        """Where the frozen weights come from, of a model that was loaded."""
        self.shortened = 0
        """Sequences of more than max_tokens that `rewards` has cut so far."""
        self._known: OrderedDict[tuple[Any, ...], Tensor] | None = None

    def encode(self, record: Comparison) -> Unit:
        """One sequence a response, whole; a term a pair. Raises ValueError without a pair."""
        count = len(record.responses)
        if count < 2:
            raise ValueError(f"responses: got {count}, allowed is at least 2, for {record}")
        prompt = self.chat.encode(record.prompt)
        sequences = tuple(
            (*prompt, *text_tokens(self.chat, text), self.end) for text in record.responses
        )
        return Unit(
            sequences,
            tuple((len(tokens) - 1,) for tokens in sequences),
            count * (count - 1) // 2,
            wins=torch.tensor(record.wins, dtype=torch.float64),
        )

    def loss(self, hidden: Tensor, units: Sequence[Unit]) -> tuple[Tensor, Metrics]:
        """Σ over the units' pairs of the Bradley-Terry loss, from hidden (N, D).

        Metrics: the accuracy on pairs without a tie, and the mean size of the rewards' differences.
        """
        rewards = self.head(hidden)[:, 0].split([len(unit.sequences) for unit in units])
        margins, labels = [], []
        for own, unit in zip(rewards, units, strict=True):
            first, second = torch.triu_indices(len(own), len(own), 1, device=own.device)
            margins.append(own[first] - own[second])
            assert unit.wins is not None
            labels.append(unit.wins.to(own)[first, second])
        margin, label = torch.cat(margins), torch.cat(labels)
        loss = binary_cross_entropy_with_logits(margin, label, reduction="sum")
        size = Weighted(margin.detach().abs().mean(), len(margin))
        return loss, {"accuracy": accuracy(margin, label), "margin": size}

    @torch.no_grad()
    def rewards(self, prompts: Sequence[str], responses: Sequence[Sequence[str]]) -> Tensor:
        """r(x, y_i): (B, n) float64 for B prompts with n responses each.

        A prompt is computed once for its responses. The answer is a function of the arguments, to
        the bit, whatever was asked before: a resumed run gets the same. Raises ValueError for rows
        of different lengths.
        """
        if len(prompts) != len(responses) or len({len(row) for row in responses}) > 1:
            raise ValueError(
                f"responses: got rows of {[len(row) for row in responses]} for {len(prompts)} "
                "prompts, allowed is a row a prompt, all of one length"
            )
        if self._known is None:
            return self._rewards(prompts, responses)
        key = (tuple(prompts), tuple(map(tuple, responses)))
        if key not in self._known:
            self._known[key] = self._rewards(prompts, responses)
        self._known.move_to_end(key)
        while len(self._known) > REMEMBERED_CALLS:
            self._known.popitem(last=False)
        return self._known[key].clone()

    def freeze(self) -> RewardModel:
        """Itself, never to train again: from now on `rewards` remembers its last calls."""
        self.requires_grad_(False)
        self._known = OrderedDict()
        return self

    def _rewards(self, prompts: Sequence[str], responses: Sequence[Sequence[str]]) -> Tensor:
        branches = []
        for prompt, row in zip(prompts, responses, strict=True):
            ids = self.chat.encode(prompt)
            branches += [self._branch(ids, text) for text in row]
        rewards = self.head(end_states(self.policy, branches))[:, 0]
        return rewards.double().cpu().view(len(prompts), -1 if branches else 0)

    def _branch(self, prompt: Sequence[int], text: str) -> Branch:
        tokens, room = text_tokens(self.chat, text), self.max_tokens - 1
        self.shortened += len(prompt) + len(tokens) > room
        prefix, (tail,) = shortened(prompt, [tokens], room)
        return Branch(prefix, (*tail, self.end))


class RewardModelJudge:
    """Judge whose P(y ≻ y′ | x) = σ(r(x, y) − r(x, y′)); the two orders add up to 1 to the bit."""

    def __init__(self, reward: RewardFunction):
        self.reward = reward

    def win_prob(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> Tensor:
        """(N,) float64: P(a ≻ b | x)."""
        pairs = self.reward.rewards(prompts, list(zip(a, b, strict=True)))
        if not len(prompts):
            return torch.zeros(0, dtype=torch.float64)
        return bradley_terry(pairs[:, 0] - pairs[:, 1])

    def win_matrix(
        self, prompts: Sequence[str], a: Sequence[Sequence[str]], b: Sequence[Sequence[str]]
    ) -> Tensor:
        """(B, n, k) float64: P(a_i ≻ b_j | x). Each response is scored once, not once a pair."""
        mine, theirs = (self.reward.rewards(prompts, rows) for rows in (a, b))
        return bradley_terry(mine[:, :, None] - theirs[:, None, :])


def bradley_terry(margin: Tensor) -> Tensor:
    """σ(margin) with σ(−margin) = 1 − σ(margin) to the bit."""
    return complementary(torch.sigmoid(margin.abs()), margin >= 0)


def accuracy(margin: Tensor, label: Tensor) -> Weighted:
    """Share of pairs (N,) whose margin has the sign of label − ½; label ½ does not count.

    A margin of 0 is right by half.
    """
    side = torch.sign(label - 0.5)
    decided = side != 0
    right = (1 + torch.sign(margin.detach()) * side)[decided] / 2
    return Weighted(right.mean() if len(right) else right.sum(), len(right))


def critic_from(reward: RewardModel, shares_trunk: bool) -> ValueModel:
    """A critic that starts as the reward model: copies of its moving weights and of its head.

    `shares_trunk`: the policy that the critic serves has the reward model's frozen weights and as
    many moving blocks.
    """
    backbone = reward.policy.frozen_copy()
    head = nn.utils.skip_init(
        nn.Linear, reward.head.in_features, 1, dtype=reward.head.weight.dtype
    ).to(reward.policy.device)
    with torch.no_grad():
        head.weight.copy_(reward.head.weight)
        head.bias.zero_()
    critic = ValueModel(backbone, head, shares_trunk)
    freeze_unused_output_head(critic.backbone)
    return critic


def save_reward_model(model: RewardModel, folder: Path, about: dict[str, Any]) -> None:
    """Write the moving weights, the head and about.json, aside and renamed.

    `about` holds `model`, the base model's path as load_causal_model takes it, and whatever else
    is worth keeping (metrics, data); see mpo.judges.trained.
    """
    save_trained(model, folder, about, KIND, _probe(model))


def load_reward_model(folder: Path) -> RewardModel:
    """A saved reward model, frozen, on its base model.

    Raises TrainedModelError, which names what differs, when the folder is not a reward model's or
    its base model has changed, and ModelNotFound when that is gone.
    """
    about = read_about(folder, KIND)
    policy, chat = load_base(about)
    model = RewardModel(policy, chat, about["max_tokens"])
    load_weights(model, folder)
    check_probe(_probe(model), about, folder)
    model.base_path = about["model"]
    return model.freeze()


def _probe(model: RewardModel) -> float:
    prompt, better, worse = PROBE
    rewards = model.rewards([prompt], [[better, worse]])[0]
    return float(rewards[0] - rewards[1])
