"""`experiment=theorems`: the paper's theorems, both sides measured, and what does not hold."""

from __future__ import annotations

from pathlib import Path

from benchmarks.atomic import write_csv, write_text, written_aside
from benchmarks.theory.experiments import Config, Outcome, Work
from benchmarks.theory.theorems import fixed_magnet, mirror_descent, moving_magnet
from benchmarks.theory.theorems.claims import Claim, Curve, verdicts
from benchmarks.theory.theorems.figure import draw_claims, draw_findings
from benchmarks.theory.theorems.games import batches, problems
from benchmarks.theory.theorems.proofs import PROOFS
from benchmarks.theory.theorems.statements import STATEMENTS
from benchmarks.theory.theorems.stepsizes import Local, Scanned, local, scan
from benchmarks.theory.theorems.tables import (
    curve_rows,
    finding_rows,
    finding_sections,
    line_rows,
    local_sentence,
    metrics,
    plain,
    scan_table,
    summaries,
    summary_row,
    summary_table,
)

TOPICS = (fixed_magnet, moving_magnet, mirror_descent)

CLAIMS: tuple[Claim, ...] = (
    fixed_magnet.RATE,
    fixed_magnet.STEP_RATE,
    fixed_magnet.EQUAL_STEPS,
    fixed_magnet.GAP_RATE,
    moving_magnet.NEARER,
    moving_magnet.STEP_NEARER,
    moving_magnet.EXACT_END,
    moving_magnet.ROUND_RATE,
    moving_magnet.END,
    moving_magnet.EUCLIDEAN_RATE,
    moving_magnet.ENTROPIC_RATE,
    mirror_descent.LAST,
    mirror_descent.AVERAGE,
)
"""In the order of the tables."""

DRAWN = [
    claim for claim in CLAIMS if claim not in (fixed_magnet.STEP_RATE, moving_magnet.ENTROPIC_RATE)
]
"""Those two would look like their neighbours."""


def run(config: Config, out: Path) -> Outcome:
    """Measure all claims on all games; write the tables, the counter-examples and the figures."""
    curves: list[Curve] = []
    scanned: list[Scanned] = []
    near: list[Local] = []
    for batch in batches(config):
        for topic in TOPICS:
            curves += topic.claims(batch, config)
        scanned += scan(batch, config)
        near += local(batch, config)
    findings = [find() for find in (*STATEMENTS, *PROOFS)]
    found = verdicts(curves)
    lines = summaries(CLAIMS, found)
    table = summary_table(lines)
    write_csv(out / "claims.csv", [verdict._asdict() for verdict in found])
    write_csv(out / "curves.csv", curve_rows(curves))
    write_csv(out / "stepsizes.csv", [row._asdict() for row in scanned])
    write_csv(out / "local.csv", [row._asdict() for row in near])
    write_csv(out / "counterexamples.csv", finding_rows(findings))
    write_csv(out / "counterexample_curves.csv", line_rows(findings))
    write_csv(out / "table.csv", [summary_row(line) for line in lines])
    write_text(out / "table.md", table + "\n")
    write_text(out / "counterexamples.md", finding_sections(findings) + "\n")
    with written_aside(out / "figures" / "theorems.png") as aside:
        draw_claims(DRAWN, curves, scanned).savefig(aside)
    with written_aside(out / "figures" / "counterexamples.png") as aside:
        draw_findings(findings).savefig(aside)
    report = [
        "### What holds",
        table,
        "![both sides of each claim](figures/theorems.png)",
        "### Theorem 3.2 beyond its stepsize",
        scan_table(scanned),
        local_sentence(near),
        "### What does not hold as written",
        finding_sections(findings),
        "![counter-examples](figures/counterexamples.png)",
    ]
    return Outcome(
        metrics(lines, scanned, near, findings), report, _notes(), plain(lines, findings)
    )


def _notes() -> list[str]:
    return [
        "π* is the equilibrium that linear programming gives; Lemmas 3.3 and F.2 are checked for "
        "it, which is more than for the nearest one. L is the constant of P in ‖·‖₁ and ‖·‖_∞.",
        "Points whose right side is a rounding error are not judged; Theorems 3.4 and 3.7 are "
        "judged at the last round, Theorem F.4 for KL by whether √n times the gap still grows.",
    ]


WORK = Work(run=run, problems=problems)
