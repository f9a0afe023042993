"""The figures of `experiment=theorems`: both sides of each claim, and the counter-examples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.figure_style import COLOURS
from benchmarks.theory.theorems.claims import Claim, Curve
from benchmarks.theory.theorems.findings import Finding
from benchmarks.theory.theorems.stepsizes import Scanned
from benchmarks.theory.theorems.tables import scan_shares

LOWEST = 1e-17
"""Smaller numbers are drawn here."""

COLUMNS = 4
GREY = "#999999"


def draw_claims(
    claims: Sequence[Claim], curves: Sequence[Curve], scanned: Sequence[Scanned]
) -> Figure:
    """A panel a claim, the first seed of each family: left solid, right dashed; then the scan."""
    shown = [claim for claim in claims if any(curve.claim == claim for curve in curves)]
    rows = -(-(len(shown) + 1) // COLUMNS)
    figure = Figure(figsize=(3.4 * COLUMNS, 2.9 * rows), dpi=110, layout="constrained")
    panels = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
    games = list(dict.fromkeys(curve.game for curve in curves))
    colours = {game: COLOURS[place % len(COLOURS)] for place, game in enumerate(games)}
    for axis, claim in zip(panels, shown, strict=False):
        own = [curve for curve in curves if curve.claim == claim]
        seeds = {game: min(c.seed for c in own if c.game == game) for game in {c.game for c in own}}
        for curve in own:
            if curve.seed == seeds[curve.game]:
                _draw_sides(axis, curve, colours[curve.game])
        _log_axis(axis)
        axis.set_title(claim.place, fontsize=9.5)
        axis.set_xlabel(claim.along, fontsize=8.5)
    _draw_scan(panels[len(shown)], scanned)
    for axis in panels[len(shown) + 1 :]:
        axis.set_axis_off()
    handles = [Line2D([], [], color=colour, label=game) for game, colour in colours.items()]
    handles.append(Line2D([], [], color="black", label="left side"))
    handles.append(Line2D([], [], color="black", linestyle="--", label="right side"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


def draw_findings(findings: Sequence[Finding]) -> Figure:
    """A panel for each counter-example that has curves: duality gaps."""
    drawn = [finding for finding in findings if finding.lines]
    width = max(8.0, 3.9 * len(drawn))
    figure = Figure(figsize=(width, 3.9), dpi=110, layout="constrained")
    panels = list(figure.subplots(1, len(drawn), squeeze=False).flat)
    for axis, finding in zip(panels, drawn, strict=True):
        for place, line in enumerate(finding.lines):
            drawn_gap = line.y.clamp(min=LOWEST).numpy()
            axis.plot(line.x.numpy(), drawn_gap, color=COLOURS[place], label=line.label)
        _log_axis(axis)
        axis.set_title(finding.place, fontsize=9.5)
        axis.set_xlabel(finding.along, fontsize=9)
        axis.legend(frameon=False, fontsize=8)
    panels[0].set_ylabel("duality gap")
    return figure


def _draw_sides(axis: Axes, curve: Curve, colour: str) -> None:
    x = curve.x.numpy()
    axis.plot(x, curve.left.clamp(min=LOWEST).numpy(), color=colour, linewidth=1.3)
    # A right side of 0 says that nothing is claimed of the point.
    right = torch.where(curve.right > 0, curve.right.clamp(min=LOWEST), torch.nan)
    axis.plot(x, right.numpy(), color=colour, linewidth=1, linestyle="--")


def _draw_scan(axis: Axes, scanned: Sequence[Scanned]) -> None:
    shares = scan_shares(scanned)
    bars = [100 * holds / games for holds, games in shares.values()]
    axis.bar([f"{multiple:g}" for multiple in shares], bars, color=GREY)
    axis.set_ylim(0, 105)
    axis.set_title("Theorem 3.2 beyond η = α/L²", fontsize=9.5)
    axis.set_xlabel("η in α/L²", fontsize=8.5)
    axis.set_ylabel("% of games where it holds", fontsize=8.5)
    axis.grid(axis="y", alpha=0.25)


def _log_axis(axis: Axes) -> None:
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(numticks=7))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.25)
