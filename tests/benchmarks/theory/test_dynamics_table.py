"""What the table, the profile and the sentences make of made-up runs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.intervals import share_interval
from benchmarks.theory.dynamics.figures import profile
from benchmarks.theory.dynamics.report import sentences
from benchmarks.theory.dynamics.rows import Row
from benchmarks.theory.dynamics.table import blocks, csv_rows, notes, quantile, summarise

INF = math.inf


def rows(method: str, calls: list[float], last: float = 0.5, average: float = 0.5) -> list[Row]:
    return [
        Row("cyclic", method, seed, 1000, last, average, (value, value, INF), False)
        for seed, value in enumerate(calls)
    ]


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (7, 20), (20, 20), (1, 1)])
def test_wilsons_interval_is_where_the_score_is_at_its_limit(hits: int, n: int) -> None:
    interval = share_interval(hits, n)
    z = 1.959963984540054
    for end, sign in ((interval.low, 1), (interval.high, -1)):
        score = (hits / n - end) / math.sqrt(max(end * (1 - end), 1e-300) / n)
        at_the_border = end in (0.0, 1.0) or math.isclose(end, hits / n, abs_tol=1e-12)
        assert at_the_border or score == pytest.approx(sign * z, rel=1e-6)
    assert interval.low <= hits / n <= interval.high and interval.n == n
    assert math.isnan(share_interval(0, 0).value)


def test_quantiles_are_numpys_and_infinite_where_they_must_be() -> None:
    values = np.random.default_rng(0).normal(size=17).tolist()
    for level in (0.5, 0.9):
        assert quantile(values, level) == pytest.approx(np.quantile(values, level), rel=1e-12)
    assert quantile([3.0, INF, 1.0, INF, 2.0], 0.5) == 3.0
    assert quantile([3.0, INF, 1.0, INF], 0.5) == INF
    assert quantile([INF, INF], 0.9) == INF


def test_a_summary_counts_the_unsolved_among_all() -> None:
    (summary,) = summarise(rows("mwu", [10.0, 30.0, 20.0, INF]))
    assert summary.solved["1e-3"].value == 0.75
    assert summary.median["1e-3"] == 25.0
    assert summary.ninth["1e-3"] == INF
    assert summary.solved["1e-6"].value == 0.0
    found = {row["metric"]: row for row in csv_rows([summary])}
    assert found["calls_to_1e-3_median"]["value"] == 25.0
    assert found["calls_to_1e-3_90th"]["value"] == INF
    assert found["solved_1e-3"]["low"] == pytest.approx(0.3006, abs=1e-4)
    share, price = blocks([summary], {"cyclic": "4 games"})
    assert share.frame.iloc[0]["gap ≤ 1e-3"] == "75.0 % [30.1, 95.4]"
    assert price.frame.iloc[0]["to gap 1e-3"] == "25 / inf"


def test_the_profile_ends_at_the_share_solved_and_starts_with_the_best() -> None:
    runs = rows("slow", [40.0, 40.0, INF, INF]) + rows("fast", [10.0, 80.0, 20.0, INF])
    figure = profile(runs, "1e-3")
    within, ratio = figure.axes
    ends = {line.get_label(): line.get_ydata()[-1] for line in within.lines}
    assert ends == {"slow": 0.5, "fast": 0.75}
    at_best = {}
    for line in ratio.lines:
        x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        at_best[line.get_label()] = y[x <= 1.0].max()
    assert at_best == {"slow": 0.25, "fast": 0.5}


def test_the_sentences_say_who_solves_most_and_which_average_is_better() -> None:
    runs = rows("fast", [10.0, 20.0], last=1e-9) + rows("slow", [INF, INF], 0.4, 0.01)
    (text,) = sentences(summarise(runs))
    assert "On cyclic `fast` solves all 2 runs to a gap of 1e-3." in text
    assert "`fast` 15." in text
    assert "`slow` solves none of them" in text
    assert text.endswith("(median gaps of the last and the average): `slow` 0.4 and 0.01.")
    (none,) = sentences(summarise(rows("slow", [INF, INF])))
    assert none == "On cyclic no method's last iterate reached a gap of 1e-3."


def test_a_note_counts_what_diverged() -> None:
    runs = [row._replace(diverged=row.seed == 1) for row in rows("mwu", [INF, INF, INF])]
    found = notes(summarise(runs), 1000, 0.0)
    assert found[-1].startswith("mwu on cyclic: 1 of 3 runs overflowed")
    assert not any("overflowed" in note for note in notes(summarise(rows("mwu", [INF])), 1000, 0.0))
