"""Exact measures of a policy on an enumerable game: the duality gap of last and average iterate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.atomic import write_jsonl
from benchmarks.own_targets import own_target
from mpo.data import PromptSet
from mpo.games.dynamics import mmd_step
from mpo.games.enumerable_lm import EnumerableGame
from mpo.games.regularised import regularised_gaps
from mpo.games.solve import duality_gap, nash_equilibrium
from mpo.module import AlignmentModule
from mpo.objectives import MPO
from mpo.objectives.protocol import MAGNET, REFERENCE
from mpo.policy import Policy
from mpo.records import Prompts, Responses
from mpo.schedules import eta_at
from mpo.snapshots import OPPONENT

TOP = 10
"""Responses a prompt in samples.jsonl."""
FINAL = ("gap_last", "gap_average", "kl_reference", "response_length")
"""Measures of the last row, and of each round's last, that the result repeats."""


class ExactEvaluation:
    """Enumerates the policy after every iteration; X prompts, R responses.

    The average iterate is the uniform average of the enumerated response distributions of
    π_1 … π_k, never of weights (design, section 2).
    """

    def __init__(self, game: EnumerableGame, prompts: PromptSet):
        self.game = game
        self.prompts = prompts.batch(range(len(prompts)))
        cover, count = game.covering, len(game.prompts)
        self.cover = Responses(
            cover.expand(count, *cover.shape),
            torch.full((count, cover.shape[0]), game.max_tokens),
            torch.zeros(count, cover.shape[0], dtype=torch.bool),
        )
        self.sum = torch.zeros(count, game.num_responses, dtype=torch.float64)
        self.iterates = 0
        self.metrics: dict[str, Any] = {}
        self.steps: dict[str, float] = {}
        self.target: Tensor | None = None
        self.rounds: list[dict[str, float]] = []

    def start(self, module: AlignmentModule) -> dict[str, float]:
        """Solve for what the initial policy would lead to, and measure it."""
        objective = module.objective
        self._look(module)
        supports = [nash_equilibrium(matrix).support for matrix in self.game.preferences]
        self.metrics = {
            "gap_initial": self._gap(self.policy.exp()),
            "equilibrium_support": supports,
        }
        next_token = self.next_token(module.policy)
        found = own_target(objective, self.game, next_token, module.settings.rounds)
        self.metrics["target"] = found.name if found else ""
        if found:
            self.metrics["gap_target"], self.target = found.gap, found.log_probs
        if isinstance(objective, MPO) and objective.alpha > 0:
            gaps = regularised_gaps(self.game, next_token, objective.alpha)
            self.metrics |= {
                "gap_regularised_sequence": gaps.sequence,
                "gap_regularised_per_token": gaps.per_token,
                "gap_regularised": getattr(gaps, objective.kl_gradient),
            }
        return self.row(module)

    def after_iteration(self, module: AlignmentModule) -> None:
        """Add the new iterate to the average; compare the step with the tabular one."""
        before, magnet, opponent = self.policy, self.magnet, self.opponent
        self.policy = self.log_probs(module.policy)
        self.sum += self.policy.exp()
        self.iterates += 1
        self.steps = {
            "kl_step": self._kl(self.policy, before),
            "kl_magnet": self._kl(self.policy, magnet),
        }
        tabular = self._tabular_step(module, before, magnet, opponent)
        if tabular is not None:
            self.steps["kl_step_tabular"] = self._kl(tabular.log(), before)
        if dict(module.snapshots.moves) != self.moves:
            self._look_at_snapshots(module)

    def after_round(self, module: AlignmentModule, round: int, folder: Path) -> None:
        """Keep the measures of the round that has just ended."""
        row = self.row(module)
        kept = {name: row[name] for name in FINAL}
        self.rounds.append({"round": round, "iteration": module.iterations_done, **kept})

    def row(self, module: AlignmentModule) -> dict[str, float]:
        """Gaps of the last and the average iterate, KLs and lengths, all exact."""
        probs = self.policy.exp()
        weights = self.game.prompt_weights
        average = self.sum / self.iterates if self.iterates else probs
        lengths = self.game.lengths.to(torch.float64)
        return {
            "gap_last": self._gap(probs),
            "gap_average": self._gap(average),
            "kl_step": float("nan"),
            "kl_step_tabular": float("nan"),
            "kl_magnet": self._kl(self.policy, self.magnet),
            "kl_reference": self._kl(self.policy, self.reference),
            "entropy": float(-(weights[:, None] * probs * self.policy).sum()),
            "response_length": float((weights[:, None] * probs * lengths).sum()),
            **self.steps,
        }

    def finish(self, module: AlignmentModule, folder: Path) -> dict[str, Any]:
        """Final metrics; the likeliest responses go to samples.jsonl."""
        row = self.row(module)
        write_jsonl(folder / "samples.jsonl", self._samples())
        metrics = {**self.metrics, **{name: row[name] for name in FINAL}, "rounds": self.rounds}
        if self.target is not None:
            apart = (self.policy.exp() - self.target.exp()).abs().sum(1) / 2
            metrics["tv_target"] = float(self.game.prompt_weights @ apart)
        return metrics

    def state(self) -> dict[str, Any]:
        """The running average, the rounds so far and what was solved for at the start."""
        return {
            "sum": self.sum,
            "iterates": self.iterates,
            "metrics": self.metrics,
            "target": self.target,
            "rounds": self.rounds,
        }

    def resume(self, module: AlignmentModule, state: dict[str, Any]) -> None:
        """Go on averaging; the distributions follow from the restored weights."""
        self.sum, self.iterates = state["sum"], state["iterates"]
        self.metrics, self.target = state["metrics"], state["target"]
        self.rounds = list(state["rounds"])
        self._look(module)

    def next_token(self, policy: Policy) -> Tensor:
        """Next-token log-probabilities on the covering responses: (X, C, T, V) float64."""
        with torch.no_grad():
            prompts = Prompts(*(_on(part, policy) for part in self.prompts))
            cover = Responses(*(_on(part, policy) for part in self.cover))
            hidden = policy.hidden(policy.layout(prompts, cover))
            logits = policy.head.logits(hidden).to(torch.float64).cpu()
            return torch.log_softmax(logits, -1)

    def log_probs(self, policy: Policy) -> Tensor:
        """log π(y | x) of every response: (X, R) float64."""
        return self.game.log_probs(self.next_token(policy))

    def _look(self, module: AlignmentModule) -> None:
        self.policy = self.log_probs(module.policy)
        self.reference = self.log_probs(module.snapshots[REFERENCE])
        self._look_at_snapshots(module)

    def _look_at_snapshots(self, module: AlignmentModule) -> None:
        snapshots = module.snapshots
        self.moves = dict(snapshots.moves)
        self.magnet = self.log_probs(snapshots[MAGNET])
        separate = OPPONENT in snapshots.intervals
        self.opponent = self.log_probs(snapshots[OPPONENT]) if separate else None

    def _tabular_step(
        self, module: AlignmentModule, policy: Tensor, magnet: Tensor, opponent: Tensor | None
    ) -> Tensor | None:
        """(X, R): where the iteration's step of the same η leads in closed form.

        None for a method that has no such step.
        """
        objective, rollout = module.objective, module.last_rollout
        if not isinstance(objective, MPO) or objective.proximal != "kl" or rollout is None:
            return None
        horizon = objective.eta_horizon or max(1, rollout.iterations)
        eta = eta_at(
            rollout.iteration, objective.eta, objective.eta_schedule, horizon, objective.eta_floor
        )
        faced = policy if opponent is None else opponent
        return mmd_step(
            self.game.preferences, policy.exp(), faced.exp(), magnet, objective.alpha, eta
        )

    def _gap(self, probs: Tensor) -> float:
        return duality_gap(self.game.preferences, probs, self.game.prompt_weights)

    def _kl(self, left: Tensor, right: Tensor) -> float:
        """Σ_x ρ(x) KL(left ‖ right) over whole responses, nats."""
        return float((self.game.prompt_weights[:, None] * left.exp() * (left - right)).sum())

    def _samples(self) -> list[dict[str, Any]]:
        tables = {
            "prob_initial": self.reference.exp(),
            "prob": self.policy.exp(),
            "prob_magnet": self.magnet.exp(),
        }
        if self.target is not None:
            tables["prob_target"] = self.target.exp()
        return [
            {
                "prompt": prompt,
                "response": self.game.texts[y],
                **{name: float(table[x, y]) for name, table in tables.items()},
            }
            for x, prompt in enumerate(self.game.prompt_texts)
            for y in self.policy[x].topk(min(TOP, self.game.num_responses)).indices.tolist()
        ]


def _on(part: Any, policy: Policy) -> Any:
    return part.to(policy.device) if isinstance(part, Tensor) else part
