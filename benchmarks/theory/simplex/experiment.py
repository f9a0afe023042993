"""`experiment=figure3`: the paper's Figure 3, MD and MMD on the simplex, and MPO beside them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.atomic import write_csv, written_aside
from benchmarks.theory.experiments import Config, Outcome, Work
from benchmarks.theory.simplex.figure import Curve, Point, draw
from mpo.games.dynamics.magnetic import MMD, MPO
from mpo.games.dynamics.mirror import MWU
from mpo.games.dynamics.protocol import Dynamic
from mpo.games.dynamics.trajectory import run as run_dynamic
from mpo.games.matrix_families import rock_paper_scissors
from mpo.games.regularised import regularised_equilibrium
from mpo.games.solve import nash_equilibrium

ACTIONS = ("rock", "scissors", "paper")
"""In the order of mpo.games.matrix_families.rock_paper_scissors."""


class Found(NamedTuple):
    """The curves, the regularised equilibria of the start by α, and the game's own."""

    curves: list[Curve]
    regularised: list[Point]
    nash: Point


def run(config: Config, out: Path) -> Outcome:
    """Run all curves from one start; write curves.csv, points.csv and the figure."""
    game = rock_paper_scissors(config["game"]["weights"])
    found = solve(game, config)
    write_csv(out / "curves.csv", _curve_rows(found.curves))
    points = [found.nash, *found.regularised]
    write_csv(out / "points.csv", [_point_row(game, point) for point in points])
    with written_aside(out / "figures" / "figure3.png") as aside:
        draw(found.curves, found.regularised, found.nash, ACTIONS).savefig(aside)
    lines = sentences(game, found, config)
    metrics = {f"gap_{curve.key}": float(curve.gaps[-1]) for curve in found.curves}
    metrics |= {f"gap_{point.key}": _gap(game, point.policy) for point in found.regularised}
    report = ["![figure 3](figures/figure3.png)", "\n".join(f"- {line}" for line in lines)]
    return Outcome(metrics, report, [], "\n".join(lines))


def solve(game: Tensor, config: Config) -> Found:
    """Every curve, π_0 … π_K, and the points that they are to be seen against."""
    weights = torch.tensor(config["start"], dtype=torch.float64)
    start = weights / weights.sum()
    eta, interval, steps = config["eta"], config["magnet_interval"], config["iterations"]
    moving = MPO(alpha=config["mpo_alpha"], eta=eta, magnet_interval=interval)
    fixed = {alpha: MMD(alpha=alpha, eta=eta) for alpha in config["alphas"]}
    dynamics: list[tuple[str, str, Dynamic]] = [("md", "MD", MWU(eta=eta))]
    dynamics += [(f"mmd_{a:g}", f"MMD, α = {a:g}", dynamic) for a, dynamic in fixed.items()]
    dynamics.append(("mpo", f"MPO, α = {moving.alpha:g}", moving))
    curves = []
    for key, label, dynamic in dynamics:
        measured = run_dynamic(
            dynamic, game[None], start.log()[None], steps, range(steps + 1), keep_path=True
        )
        assert measured.path is not None
        curves.append(Curve(key, label, measured.path[0], measured.gap_last[0], None))
    magnets = curves[-1].policies[::interval]
    curves[-1] = curves[-1]._replace(magnets=magnets)
    regularised = [
        Point(f"equilibrium_{a:g}", f"α = {a:g}", regularised_equilibrium(game, start.log(), a))
        for a in config["alphas"]
    ]
    nash = Point("nash", "equilibrium of the game", nash_equilibrium(game).policy)
    return Found(curves, regularised, nash)


def sentences(game: Tensor, found: Found, config: Config) -> list[str]:
    """What the curves and points show."""
    steps = config["iterations"]
    first, *mmd, mpo = found.curves
    lines = [
        f"MD (η = {config['eta']:g}) ends at a duality gap of {first.gaps[-1]:.2g} after {steps:,} "
        f"iterations; the smallest on its way was {first.gaps.min():.2g}."
    ]
    for curve, point in zip(mmd, found.regularised, strict=True):
        away = (curve.policies[-1] - point.policy).abs().max()
        near = _within(curve, point)
        when = "" if math.isinf(near) else f", within 1e-6 of it after {near:,.0f} iterations"
        lines.append(
            f"{curve.label}: ends {away:.1e} from the regularised equilibrium{when}; that point's "
            f"gap in the original game is {_gap(game, point.policy):.3g}."
        )
    lines.append(
        f"MPO (α = {config['mpo_alpha']:g}, magnet moved every {config['magnet_interval']} "
        f"iterations) ends at a gap of {mpo.gaps[-1]:.2g}, "
        f"{(mpo.policies[-1] - found.nash.policy).abs().max():.1e} from the equilibrium of the "
        "game."
    )
    return lines


def _within(curve: Curve, point: Point, distance: float = 1e-6) -> float:
    """Iterations after which a curve stays within a distance of a point; infinite for never."""
    far = ((curve.policies - point.policy).abs().amax(1) > distance).nonzero()
    if not len(far):
        return 0.0
    last = int(far[-1])
    return math.inf if last == len(curve.policies) - 1 else last + 1.0


def _gap(game: Tensor, policy: Tensor) -> float:
    return float(2 * ((game @ policy).max() - 0.5))


def _curve_rows(curves: list[Curve]) -> list[dict[str, object]]:
    return [
        {
            "curve": curve.key,
            "iteration": iteration,
            **dict(zip(ACTIONS, policy, strict=True)),
            "gap": gap,
        }
        for curve in curves
        for iteration, (policy, gap) in enumerate(
            zip(curve.policies.tolist(), curve.gaps.tolist(), strict=True)
        )
    ]


def _point_row(game: Tensor, point: Point) -> dict[str, object]:
    shares = dict(zip(ACTIONS, point.policy.tolist(), strict=True))
    return {"point": point.key, **shares, "gap": _gap(game, point.policy)}


WORK = Work(run=run)
