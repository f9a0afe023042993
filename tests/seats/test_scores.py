"""The scores of decisions against the engine's own token scores, and the baseline."""

from __future__ import annotations

import torch
from torch import Tensor

from mpo.divergences import token_scores
from mpo.games.extensive.leduc import leduc_poker
from mpo.games.extensive.sequence_form import random_log_policies
from mpo.logprobs import Head, frozen_scores
from mpo.objectives.protocol import BEHAVIOUR, MAGNET, Needs
from mpo.seats.episodes import Episodes, sample_episodes
from mpo.seats.network import ILLEGAL, InfosetNetwork, log_policy
from mpo.seats.scores import others_mean, scores_of
from mpo.seats.seating import seating

SEATS = seating(leduc_poker(suits=False))
NEEDS = Needs(responses=2, kl_to=(BEHAVIOUR, MAGNET), logprobs_of=(MAGNET,))


def some_episodes(number: int = 300) -> Episodes:
    policy = random_log_policies(SEATS.form, [7])[:, 0].exp()
    return sample_episodes(SEATS, policy, number, seed=0, iteration=0)


def random_logits(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SEATS.legal.shape, generator=generator, dtype=torch.float64)


def test_scores_and_their_gradient_are_those_of_the_language_models_engine() -> None:
    """Each visit is a token position whose hidden state is the row of logits."""
    episodes = some_episodes()
    mask = episodes.mask
    logits, own = random_logits(0).requires_grad_(), random_logits(0).requires_grad_()
    frozen = {BEHAVIOUR: random_logits(1), MAGNET: random_logits(2)}
    tables = {name: log_policy(table, SEATS.legal) for name, table in frozen.items()}
    values = random_logits(3)[:, 0]
    found = scores_of(log_policy(logits, SEATS.legal), tables, NEEDS, episodes, values)

    head = Head(torch.eye(SEATS.legal.shape[1], dtype=torch.float64))
    visited, tokens = episodes.infosets[mask], episodes.actions[mask]

    def hidden(table: Tensor) -> Tensor:
        return table.masked_fill(~SEATS.legal, ILLEGAL)[visited]

    others = [frozen_scores(hidden(frozen[name]), head, tokens, 10**6) for name in NEEDS.kl_to]
    wanted = token_scores(hidden(own), head, tokens, others, 10**6)
    torch.testing.assert_close(found.logprobs[mask], wanted.logprobs)
    torch.testing.assert_close(found.entropy[mask], wanted.entropy)
    for name, kl in zip(NEEDS.kl_to, wanted.kl, strict=True):
        torch.testing.assert_close(found.kl[name][mask], kl)
    torch.testing.assert_close(found.other_logprobs[MAGNET][mask], others[1].logprobs)
    assert found.values is not None
    torch.testing.assert_close(found.values[mask], values[visited])
    for table in (found.logprobs, found.entropy, *found.kl.values(), found.values):
        assert (table[~mask] == 0).all()

    (found.logprobs.sum() + 2 * found.kl[MAGNET].sum()).backward()
    (wanted.logprobs.sum() + 2 * wanted.kl[1].sum()).backward()
    assert logits.grad is not None and own.grad is not None
    torch.testing.assert_close(logits.grad, own.grad)
    assert (logits.grad[~SEATS.legal] == 0).all()
    assert bool(logits.grad[SEATS.legal].isfinite().all())


def test_an_illegal_action_is_never_played_and_costs_nothing() -> None:
    network = InfosetNetwork(SEATS.tree.features, SEATS.legal.shape[1], 8, 1, seed=0)
    table = log_policy(network(), SEATS.legal)
    assert (table.exp()[~SEATS.legal] == 0).all()
    torch.testing.assert_close(table.exp().sum(1), torch.ones(len(table)))
    assert bool(table.isfinite().all())


def test_the_network_starts_from_its_seed_alone_and_near_uniform() -> None:
    features = SEATS.tree.features

    def table(seed: int) -> Tensor:
        return log_policy(InfosetNetwork(features, 3, 16, 2, seed)(), SEATS.legal)

    torch.manual_seed(1)
    first = table(5)
    torch.manual_seed(2)
    assert torch.equal(first, table(5))
    assert not torch.equal(first, table(6))
    first = first.detach()
    uniform = 1 / SEATS.tree.actions.float()[:, None].expand(first.shape)
    assert float((first.exp() - uniform)[SEATS.legal].abs().max()) < 0.2


def test_the_baseline_is_the_mean_of_the_other_episodes() -> None:
    episodes = some_episodes(40)
    generator = torch.Generator().manual_seed(0)
    advantages = torch.randn(episodes.mask.shape, generator=generator, dtype=torch.float64)
    advantages = advantages * episodes.mask
    found = others_mean(advantages, episodes, len(SEATS.legal))
    lone = 0
    for episode, seat, place in episodes.mask.nonzero().tolist():
        infoset = episodes.infosets[episode, seat, place]
        same = (episodes.infosets == infoset) & episodes.mask
        same[episode] = False
        lone += int(not same.any())
        wanted = float(advantages[same].mean()) if same.any() else 0.0
        torch.testing.assert_close(float(found[episode, seat, place]), wanted)
    assert lone > 0
    assert (found[~episodes.mask] == 0).all()
