"""The tables and files of `experiment=theorems`: what holds where, and what does not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import torch

from benchmarks.theory.theorems.claims import Claim, Curve, Verdict
from benchmarks.theory.theorems.findings import Finding
from benchmarks.theory.theorems.stepsizes import MULTIPLES, Local, Scanned

T = TypeVar("T")

POINTS = 16
"""Of a curve, for curves.csv."""


class Summary(NamedTuple):
    """A claim on all its games."""

    claim: Claim
    games: int
    holds: int
    worst: Verdict


def summaries(claims: Sequence[Claim], found: Sequence[Verdict]) -> list[Summary]:
    """A line a claim that was measured, in the order of ``claims``."""
    lines = []
    for claim in claims:
        own = [verdict for verdict in found if verdict.claim == claim.key]
        if own:
            worst = max(own, key=lambda verdict: verdict.ratio)
            lines.append(Summary(claim, len(own), sum(v.holds for v in own), worst))
    return lines


def summary_row(summary: Summary) -> dict[str, object]:
    """For table.csv."""
    claim, games, holds, worst = summary
    return {
        "claim": claim.key,
        "place": claim.place,
        "says": claim.says,
        "games": games,
        "holds": holds,
        "worst_ratio": worst.ratio,
        "worst_game": f"{worst.game} {worst.seed}",
    }


def summary_table(lines: Sequence[Summary]) -> str:
    """In markdown; ratios are left over right."""
    head = ["in the paper", "left ≤ right", "holds in", "largest left/right"]
    rows = [
        [
            line.claim.place,
            line.claim.says,
            f"{line.holds} of {line.games}",
            f"{ratio_words(line)} ({line.worst.game} {line.worst.seed}, {line.claim.along} "
            f"{line.worst.at:g})",
        ]
        for line in lines
    ]
    return markdown(head, rows)


def ratio_words(line: Summary) -> str:
    """The largest left/right; just below 1 by how much."""
    ratio = line.worst.ratio
    return f"1 − {1 - ratio:.0e}" if 0 < 1 - ratio < 1e-3 else f"{ratio:.3g}"


def scan_shares(rows: Sequence[Scanned]) -> dict[float, tuple[int, int]]:
    """Multiple of α/L² to the games where the bound holds at each step, and all games."""
    return {
        multiple: (
            sum(row.holds for row in rows if row.multiple == multiple),
            sum(row.multiple == multiple for row in rows),
        )
        for multiple in MULTIPLES
    }


def scan_table(rows: Sequence[Scanned]) -> str:
    """In markdown."""
    shares = scan_shares(rows)
    cells = [f"{holds} of {games}" for holds, games in shares.values()]
    return markdown(
        ["η in α/L²", *(f"{multiple:g}" for multiple in shares)],
        [["the bound holds at each step in", *cells]],
    )


def local_sentence(rows: Sequence[Local]) -> str:
    """What the start near the equilibrium shows."""
    below = sum(row.below <= 1 for row in rows)
    above = sum(row.above > 1 for row in rows)
    slack = sorted(row.slack for row in rows)
    return (
        "Near π_r* the bound holds exactly up to η = α/σ², σ the largest singular value of "
        f"D^½ (P − ½) D^½: 2 % below, a step in the worst direction keeps it in {below} of "
        f"{len(rows)} games, 2 % above it breaks it in {above}. α/σ² is between {slack[0]:.1f} and "
        f"{slack[-1]:.3g} times α/L² (median {slack[len(slack) // 2]:.1f})."
    )


def finding_sections(findings: Sequence[Finding]) -> str:
    """The counter-examples, a paragraph each, in markdown."""
    return "\n\n".join(
        f"**{finding.place}.** *{finding.written}.* {finding.shown}" for finding in findings
    )


def finding_rows(findings: Sequence[Finding]) -> list[dict[str, object]]:
    """For counterexamples.csv, a row a number."""
    return [
        {"finding": finding.key, "place": finding.place, "quantity": name, "value": value}
        for finding in findings
        for name, value in finding.numbers.items()
    ]


def line_rows(findings: Sequence[Finding]) -> list[dict[str, object]]:
    """For counterexample_curves.csv."""
    return [
        {"finding": finding.key, "curve": line.label, "x": x, "gap": f"{gap:.6g}"}
        for finding in findings
        for line in finding.lines
        for x, gap in _thinned(line.x.tolist(), line.y.tolist(), 6 * POINTS)
    ]


def curve_rows(curves: Sequence[Curve]) -> list[dict[str, object]]:
    """For curves.csv: some of the points of each curve, both sides."""
    rows: list[dict[str, object]] = []
    for curve in curves:
        sides = list(zip(curve.left.tolist(), curve.right.tolist(), strict=True))
        for x, (left, right) in _thinned(curve.x.tolist(), sides, POINTS):
            numbers = {"x": f"{x:g}", "left": f"{left:.6g}", "right": f"{right:.6g}"}
            rows.append(
                {"claim": curve.claim.key, "game": curve.game, "seed": curve.seed, **numbers}
            )
    return rows


def metrics(
    lines: Sequence[Summary],
    scanned: Sequence[Scanned],
    near: Sequence[Local],
    findings: Sequence[Finding],
) -> dict[str, Any]:
    """For result.json."""
    found: dict[str, Any] = {}
    for line in lines:
        found[f"{line.claim.key}_holds"] = line.holds
        found[f"{line.claim.key}_games"] = line.games
        ratio = line.worst.ratio
        found[f"{line.claim.key}_worst_ratio"] = ratio if math.isfinite(ratio) else None
    for multiple, (holds, _) in scan_shares(scanned).items():
        found[f"theorem_3.2_holds_at_{multiple:g}"] = holds
    found["local_keeps_below"] = sum(row.below <= 1 for row in near)
    found["local_breaks_above"] = sum(row.above > 1 for row in near)
    for finding in findings:
        found |= {f"{finding.key}_{name}": value for name, value in finding.numbers.items()}
    return found


def plain(lines: Sequence[Summary], findings: Sequence[Finding]) -> str:
    """For the console."""
    width = max(len(line.claim.place) for line in lines)
    rows = [
        f"{line.claim.place:<{width}}  holds in {line.holds} of {line.games}, largest left/right "
        f"{ratio_words(line)}"
        for line in lines
    ]
    return "\n".join([*rows, "", *(f"{item.place}: {item.shown}" for item in findings)])


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; a bar inside a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )


def _thinned(x: Sequence[float], values: Sequence[T], points: int) -> list[tuple[float, T]]:
    """The first, the last, and evenly some between."""
    count = min(points, len(x))
    kept = torch.linspace(0, len(x) - 1, count).round().long().tolist()
    return [(x[i], values[i]) for i in kept]
