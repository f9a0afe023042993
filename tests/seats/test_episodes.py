"""Sampled episodes against the tree's exact probabilities, and the records they become."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mpo.games.extensive.kuhn import kuhn_poker
from mpo.games.extensive.leduc import leduc_poker
from mpo.games.extensive.rules import TERMINAL
from mpo.games.extensive.sequence_form import plan_of, random_log_policies
from mpo.games.extensive.tree import GameTree
from mpo.games.extensive.values import expected_value
from mpo.returns import mean_win
from mpo.seats.episodes import of_ends, rollout, sample_episodes
from mpo.seats.seating import Seating, seating, sequence_policy

GAMES: list[Callable[[], GameTree]] = [kuhn_poker, lambda: leduc_poker(suits=False)]


@pytest.fixture(params=GAMES, ids=["kuhn", "leduc"])
def seats(request: pytest.FixtureRequest) -> Seating:
    return seating(request.param())


def random_policy(seats: Seating, seed: int = 0) -> Tensor:
    return random_log_policies(seats.form, [seed])[:, 0].exp()


def ends_of(seats: Seating) -> Tensor:
    return (seats.tree.mover == TERMINAL).nonzero()[:, 0]


def test_what_a_seat_decided_is_read_from_the_path_to_the_end(seats: Seating) -> None:
    tree = seats.tree
    parent = {
        int(child): history
        for history, row in enumerate(tree.children.tolist())
        for child in row
        if child >= 0
    }
    for end in ends_of(seats).tolist():
        taken: list[list[tuple[int, int]]] = [[], []]
        here = end
        while here:
            before = parent[here]
            if tree.mover[before] >= 0:
                action = int(tree.action[tree.sequence[here]])
                taken[int(tree.mover[before])].insert(0, (int(tree.infoset[before]), action))
            here = before
        for seat in range(2):
            length = int(seats.lengths[end, seat])
            infosets, actions = seats.infosets[end, seat], seats.actions[end, seat]
            found = list(zip(infosets.tolist(), actions.tolist(), strict=True))
            assert found[:length] == taken[seat]
            assert found[length:] == [(0, 0)] * (len(found) - length)


def test_legal_actions_are_those_of_the_sequences(seats: Seating) -> None:
    tree = seats.tree
    assert seats.legal.sum(1).tolist() == tree.actions.tolist()
    for infoset in range(len(tree.player)):
        first, count = int(tree.first[infoset]), int(tree.actions[infoset])
        own = tree.action[first : first + count]
        assert seats.legal[infoset].nonzero()[:, 0].tolist() == sorted(own.tolist())
        assert (seats.owner[first : first + count] == infoset).all()


def test_a_table_becomes_a_policy_of_the_sequences(seats: Seating) -> None:
    policy = random_policy(seats)
    table = torch.full(seats.legal.shape, -1e9, dtype=torch.float64)
    table[seats.owner[2:], seats.tree.action[2:]] = policy[2:].log()
    torch.testing.assert_close(sequence_policy(seats, table), policy)


def test_sampled_frequencies_are_the_reach_probabilities(seats: Seating) -> None:
    policy, number = random_policy(seats), 20_000
    episodes = sample_episodes(seats, policy, number, seed=3, iteration=5)
    plan = plan_of(seats.form, policy)
    ends = ends_of(seats)
    reach = seats.tree.reach[ends] * plan[seats.tree.last[ends]].prod(1)
    assert float(reach.sum()) == pytest.approx(1, abs=1e-12)
    # How often each information set was visited, against the sum over the ends behind it.
    size = len(seats.legal)
    every = of_ends(seats, ends)
    exact = torch.zeros(size, dtype=torch.float64)
    weights = reach[:, None, None].expand(every.mask.shape)
    exact.index_add_(0, every.infosets[every.mask], weights[every.mask])
    seen = episodes.infosets[episodes.mask].bincount(minlength=size) / number
    error = (exact * (1 - exact) / number).sqrt()
    assert ((seen - exact).abs() <= 5 * error + 1e-12).all()
    value = float(expected_value(seats.form, plan))
    payoffs = (episodes.wins[:, 0] - 0.5) * 2 * seats.largest
    assert abs(float(payoffs.mean()) - value) < 5 * float(payoffs.std()) / number**0.5


def test_random_numbers_are_keyed_by_seed_and_iteration() -> None:
    seats = seating(kuhn_poker())
    policy = random_policy(seats)

    def actions(seed: int, iteration: int, number: int = 64) -> list[int]:
        return sample_episodes(seats, policy, number, seed, iteration).actions.flatten().tolist()

    state = torch.random.get_rng_state()
    assert actions(1, 2) == actions(1, 2)
    assert actions(1, 2) != actions(2, 1)
    assert actions(1, 2) != actions(1, 3)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_rollout_says_of_each_seat_what_it_won(seats: Seating) -> None:
    ends = ends_of(seats)
    found = rollout(of_ends(seats, ends), 3, 10, {"beta": 0.5})
    payoff = seats.tree.payoff[ends]
    won = mean_win(found.wins, found.compared)
    torch.testing.assert_close((won[:, 0] - 0.5) * 2 * seats.largest, payoff)
    torch.testing.assert_close(won.sum(1), torch.ones(len(ends), dtype=torch.float64))
    assert found.rewards is not None
    torch.testing.assert_close(found.rewards[:, 1] * 2 * seats.largest, -payoff)
    both = found.wins + found.wins.transpose(1, 2)
    torch.testing.assert_close(both, torch.ones_like(both))
    assert float(found.wins.min()) == 0 and float(found.wins.max()) == 1
    assert (found.iteration, found.iterations, found.state) == (3, 10, {"beta": 0.5})
    assert torch.equal(found.responses.mask, of_ends(seats, ends).mask)
