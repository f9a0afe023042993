"""Self-play of one network in both seats of a game, under any objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mpo.objectives.field_checks import FieldChecks
from mpo.objectives.protocol import BEHAVIOUR, MAGNET, REFERENCE, AdaptiveObjective, Objective
from mpo.records import Metrics, Scores
from mpo.schedules import learning_rate_factor
from mpo.seats.episodes import rollout, sample_episodes
from mpo.seats.network import InfosetNetwork, log_policy
from mpo.seats.scores import others_mean, scores_of
from mpo.seats.seating import Seating, sequence_policy

SEATS = 2


@dataclass(frozen=True)
class SeatTraining:
    """How a network is trained, whatever the objective."""

    iterations: int = 1000
    """Rollouts in the whole run."""
    episodes: int = 1024
    """E: episodes a rollout; both seats of each train."""
    hidden: int = 64
    """Width of the network's hidden layers, and of the critic's where there is one."""
    layers: int = 2
    """Hidden layers."""
    lr: float = 3e-3
    """Peak learning rate of Adam, the critic's too."""
    schedule: str = "cosine"
    """cosine (to 0) | constant."""
    clip_norm: float = 1.0
    """Largest gradient norm."""
    baseline: str = "infoset"
    """infoset (each decision's advantage less the mean of the other episodes' in its information
    set) | none. An objective with a critic is left alone."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        checks = FieldChecks(self)
        for field in ("iterations", "episodes", "hidden", "layers"):
            checks.count(field)
        for field in ("lr", "clip_norm"):
            checks.positive(field)
        checks.choice("schedule", "cosine", "constant")
        checks.choice("baseline", "infoset", "none")
        return checks.found


def objective_problems(objective: Objective[Any]) -> list[str]:
    """What an objective asks for that two seats of one network haven't got."""
    needs = objective.needs()
    checks = (
        ("responses", needs.responses, needs.responses == SEATS, "2: the seats of an episode"),
        ("symmetric", False, not needs.opponent_responses, "true: both seats are the policy"),
        ("baseline", "remax", not needs.greedy, "half | rloo"),
        ("magnet", "the round's start", not needs.samples_from_magnet, "a magnet_interval"),
        ("demonstrations", True, not needs.demonstrations, "none: a game has no demonstrations"),
    )
    return [
        f"{field}: got {got!r}, allowed in a game of two seats is {allowed}"
        for field, got, good, allowed in checks
        if not good
    ]


class SeatTrainer:
    """The order of events in iteration k is that of `mpo.module.AlignmentModule`.

    Sample from π_k, score it and the frozen policies, targets, m inner steps from θ_k, move the
    magnet to π_{k+1} where that is due. Frozen policies are tables over the information sets.
    """

    def __init__(
        self, objective: Objective[Any], seats: Seating, settings: SeatTraining, seed: int
    ):
        """Raises ValueError with every mistake in the settings and in what the objective needs."""
        if problems := [*settings.problems(), *objective_problems(objective)]:
            raise ValueError("; ".join(problems))
        self.objective, self.seats, self.settings, self.seed = objective, seats, settings, seed
        self.needs = objective.needs()
        shape = (settings.hidden, settings.layers)
        features = seats.tree.features
        self.policy = InfosetNetwork(features, seats.legal.shape[1], *shape, seed)
        self.critic = InfosetNetwork(features, 1, *shape, seed) if self.needs.values else None
        networks = [self.policy, *([self.critic] if self.critic else [])]
        self.parameters = [p for network in networks for p in network.parameters()]
        self.optimizer = torch.optim.Adam(self.parameters, lr=settings.lr, fused=True)
        self.state: dict[str, float] = {}
        if isinstance(objective, AdaptiveObjective):
            self.state = objective.initial_state()
        first = self.log_policy().detach()
        self.frozen = {REFERENCE: first, MAGNET: first}
        self.iterations_done = 0

    @property
    def episodes_done(self) -> int:
        """Episodes played so far."""
        return self.iterations_done * self.settings.episodes

    def log_policy(self) -> Tensor:
        """(I, V), log π_θ."""
        return log_policy(self.policy(), self.seats.legal)

    def iteration(self) -> None:
        """Iteration k."""
        seats, k, settings = self.seats, self.iterations_done, self.settings
        table = self.log_policy()
        self.frozen[BEHAVIOUR] = table.detach()
        played = sequence_policy(seats, self.frozen[BEHAVIOUR])
        episodes = sample_episodes(seats, played, settings.episodes, self.seed, k)

        def scores(table: Tensor) -> Scores:
            values = None if self.critic is None else self.critic()[:, 0]
            return scores_of(table, self.frozen, self.needs, episodes, values)

        with torch.no_grad():
            judged = rollout(episodes, k, settings.iterations, self.state)
            targets = self.objective.targets(judged, scores(self.frozen[BEHAVIOUR]))
            if settings.baseline == "infoset" and self.critic is None:
                usual = others_mean(targets.advantages, episodes, len(seats.legal))
                targets = targets._replace(advantages=targets.advantages - usual)
        metrics: Metrics = {}
        for inner_step in range(self.needs.inner_steps):
            if inner_step:
                table = self.log_policy()
            loss, metrics = self.objective.loss(scores(table), targets)
            self._step(loss, k * self.needs.inner_steps + inner_step)
        self.iterations_done += 1
        if isinstance(self.objective, AdaptiveObjective):
            logged = {name: float(metric.mean) for name, metric in metrics.items()}
            self.state = self.objective.next_state(self.state, logged)
        interval = self.needs.magnet_interval
        if interval is not None and self.iterations_done % interval == 0:
            self.frozen[MAGNET] = self.log_policy().detach()

    def _step(self, loss: Tensor, step: int) -> None:
        settings = self.settings
        total = settings.iterations * self.needs.inner_steps
        factor = learning_rate_factor(step, total, 0, settings.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.lr * factor
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, settings.clip_norm)
        self.optimizer.step()
