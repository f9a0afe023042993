"""The settings of `experiment=figure1`; the values are in conf/experiment/figure1*.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.rules import COUNT, POSITIVE, SOME_TEXT, broken, one_of


@dataclass(frozen=True)
class Figure1:
    """What is played, and how long."""

    game: str
    """kuhn_poker, leduc_poker, leduc_poker_ranks (equal cards are one), or openspiel:NAME."""
    calls: int
    """Oracle calls of the tabular methods: passes over the whole tree."""
    episodes: int
    """Episodes of the neural methods, cut to whole rollouts."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        return broken(self, game=SOME_TEXT, calls=COUNT, episodes=COUNT)


@dataclass(frozen=True)
class NeuralTraining:
    """How the networks are trained, whatever the method; see mpo.seats.training.SeatTraining."""

    rollout: int
    """Episodes a rollout; both seats of each train."""
    hidden: int
    """Width of the hidden layers, and of the critic's where there is one."""
    layers: int
    """Hidden layers."""
    schedule: str
    """Of Adam's learning rate: cosine (to 0) | constant."""
    clip_norm: float
    """Largest gradient norm."""
    baseline: str
    """infoset (the mean of other episodes' advantages in the information set) | none. PPO has a
    critic instead."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        return broken(
            self,
            rollout=COUNT,
            hidden=COUNT,
            layers=COUNT,
            schedule=one_of("cosine", "constant"),
            clip_norm=POSITIVE,
            baseline=one_of("infoset", "none"),
        )


@dataclass(frozen=True)
class LearningRates:
    """Peak learning rates of Adam, one a method, the critic's too."""

    neural_mpo: float
    """Of MPO."""
    neural_mpo_rt: float
    """Of MPO-RT."""
    neural_ppo: float
    """Of PPO."""
    neural_pg: float
    """Of the plain policy gradient."""

    def problems(self) -> list[str]:
        """Every invalid field, as 'field: got …, allowed is …'."""
        return broken(
            self,
            neural_mpo=POSITIVE,
            neural_mpo_rt=POSITIVE,
            neural_ppo=POSITIVE,
            neural_pg=POSITIVE,
        )
