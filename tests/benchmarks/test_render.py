"""Tables, figures, footnotes and the report, on made-up folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from matplotlib import image
from matplotlib.backends.backend_agg import FigureCanvasAgg

from benchmarks.aggregate import collect
from benchmarks.figures import draw_figures, gap_of_game
from benchmarks.findings import findings
from benchmarks.footnotes import footnotes
from benchmarks.intervals import Interval
from benchmarks.plan_results import read_plan
from benchmarks.render import console_table, console_text, render, table_markdown
from benchmarks.report import report_markdown
from benchmarks.wording import listed, number, share
from tests.benchmarks.plan_folder import (
    LetterPanel,
    exact_entry,
    exact_plan,
    language_entry,
    language_plan,
    write_exact_run,
    write_failure,
    write_plan,
)


def test_numbers_shares_and_lists_as_words() -> None:
    nan = float("nan")
    assert number(Interval(0.0312, 0.025, 0.0371, 5)) == "0.031 [0.025, 0.037]"
    assert number(Interval(0.0312, nan, nan, 1)) == "0.031"
    assert number(Interval(nan, nan, nan, 0)) == number(None) == "-"
    assert share(Interval(0.052, 0.04, 0.065, 9)) == "5.2 % [4.0, 6.5]"
    assert share(Interval(0.052, nan, nan, 9)) == "5.2 %" and share(None) == "-"
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == [
        "a",
        "a and b",
        "a, b and c",
    ]


def test_nothing_done_at_all_still_reads(tmp_path: Path) -> None:
    write_plan(tmp_path, [exact_entry("smooth-0", "moving", 0), language_entry("initial", 0)])
    results = read_plan(tmp_path)
    table = collect(results, LetterPanel)
    assert findings(table, results).can == ["Nothing yet."]
    assert draw_figures(table, results) == []
    report = report_markdown(table, results, [])
    assert "0 of 2 runs done" in report
    assert "No result (not run yet): exact-smooth-0-moving-s0 and smollm2-initial." in report


def test_footnotes_name_settings_failures_and_missing_runs(tmp_path: Path) -> None:
    entries = [exact_entry("smooth-0", v, s) for s in range(2) for v in ("moving", "fixed")]
    entries[1]["config"]["method"]["kl_gradient"] = "per_token"
    entries[3]["config"]["method"]["kl_gradient"] = "per_token"
    write_plan(tmp_path, entries, commit="another")
    write_exact_run(tmp_path, entries[0])
    write_exact_run(tmp_path, entries[1])
    write_failure(tmp_path, entries[2], "FloatingPointError: loss is nan")
    results = read_plan(tmp_path)
    notes = footnotes(collect(results), results)
    assert notes[0] == (
        "exact: opponent = policy, kl_gradient: sequence (moving) and per_token (fixed), "
        "γ = 1.0, α = 0.1."
    )
    assert (
        "exact-smooth-0-moving-s1 failed: FloatingPointError: loss is nan (iteration 7)." in notes
    )
    assert "No result (not run yet): exact-smooth-0-fixed-s1." in notes
    assert "The plan was made at another commit than its runs': 0123abc." in notes
    assert not any("had changes" in note for note in notes)


def test_a_runs_own_notes_reach_the_footnotes(tmp_path: Path) -> None:
    exact_plan(tmp_path, ("smooth-0",), seeds=1)
    file = tmp_path / "runs" / "exact-smooth-0-moving-s0" / "result.json"
    result = json.loads(file.read_text("utf-8")) | {"notes": ["3 judge answers were not read"]}
    result["environment"]["dirty"] = True
    file.write_text(json.dumps(result), "utf-8")
    results = read_plan(tmp_path)
    notes = footnotes(collect(results), results)
    assert "exact-smooth-0-moving-s0: 3 judge answers were not read" in notes
    assert "Some runs' checkout had changes that are not in its commit." in notes


def test_tables_hold_every_variant_and_fit_a_terminal(tmp_path: Path) -> None:
    exact_plan(tmp_path)
    results = read_plan(tmp_path)
    table = collect(results)
    table.to_csv(tmp_path / "table.csv", index=False)
    text = console_table(tmp_path)
    assert text == console_text(table, results)
    assert max(map(len, text.splitlines())) <= 130
    markdown = table_markdown(table, results)
    for words in ("bradley_terry-0 (pure: 1, 1, 1)", "smooth-0 (mixed: 3, 5, 2)", "moving lower"):
        assert words in text and words in markdown
    row = next(line for line in markdown.splitlines() if line.startswith("| smooth-0 (mixed"))
    mean = table[(table["group"] == "smooth-0") & (table["metric"] == "gap_last")]["value"].iloc[0]
    assert row.split("|")[3].strip().startswith(f"{mean:.3f} [")


def test_without_a_table_rendering_says_the_command(tmp_path: Path) -> None:
    exact_plan(tmp_path, ("smooth-0",), seeds=1)
    with pytest.raises(FileNotFoundError, match=r"run\.py aggregate"):
        render(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"run\.py aggregate"):
        console_table(tmp_path)


def test_figures_are_images_of_a_readable_size(tmp_path: Path) -> None:
    exact_plan(tmp_path, ("smooth-0", "bradley_terry-0"), seeds=2)
    results = read_plan(tmp_path)
    names = draw_figures(collect(results), results)
    assert names == [f"figures/gap_{name}.png" for name in ("all", "smooth-0", "bradley_terry-0")]
    for name in names:
        height, width, _ = image.imread(tmp_path / name).shape
        assert width >= 900 and height >= 500


def test_a_long_legend_is_folded_until_it_fits(tmp_path: Path) -> None:
    names = [f"fixed_with_a_rather_long_name_{letter}" for letter in "abcd"]
    entries = [exact_entry("smooth-0", name, 0) for name in names]
    write_plan(tmp_path, entries, compare=[])
    for entry in entries:
        write_exact_run(tmp_path, entry, last=0.3)
    figure = gap_of_game(read_plan(tmp_path), "smooth-0")
    (legend,) = figure.legends
    drawn = legend.get_window_extent(FigureCanvasAgg(figure).get_renderer())
    assert len(legend.get_texts()) == 6 and drawn.width < figure.bbox.width


def test_the_curve_drawn_is_the_mean_over_seeds(tmp_path: Path) -> None:
    exact_plan(tmp_path, ("smooth-0",), seeds=3)
    results = read_plan(tmp_path)
    axis = gap_of_game(results, "smooth-0").axes[0]
    drawn = {line.get_label(): line for line in axis.get_lines()}
    for variant in ("moving", "fixed"):
        runs = [run for run in results.done() if run.variant == variant]
        mean = sum(run.curves()["gap_last"] for run in runs) / 3
        assert drawn[variant].get_ydata() == pytest.approx(mean.to_numpy())
    level = sum(r.metrics["gap_regularised_per_token"] for r in results.done()) / 6
    solver = drawn["fixed magnet (solver), per_token"]
    assert solver.get_ydata()[0] == pytest.approx(level)
    assert axis.get_yscale() == "log"


def test_win_rates_are_drawn_for_a_language_task(tmp_path: Path) -> None:
    language_plan(tmp_path)
    results = read_plan(tmp_path)
    table = collect(results, LetterPanel)
    assert draw_figures(table, results) == ["figures/win_rates.png"]


def test_the_report_names_command_commit_budget_and_figures(tmp_path: Path) -> None:
    exact_plan(tmp_path, ("smooth-0",), seeds=2)
    executions = [{"seconds": 100.0, "jobs": 2}, {"seconds": 80.0, "jobs": 1}]
    (tmp_path / "executions.json").write_text(json.dumps(executions), "utf-8")
    results = read_plan(tmp_path)
    report = report_markdown(collect(results), results, ["figures/gap_all.png"])
    for words in (
        "python benchmarks/run.py ablation=fixed_ref",
        "Commit 0123abc, plan " + results.plan["hash"][:12],
        "4 of 4 runs done",
        "Wall time 3.0 minutes in 2 executions, 2 or 1 at a time. The runs used 80 s of CPU time",
        "`moving` and `fixed` on smooth-0, seeds 0, 1; method mpo, iterations 300",
        "magnet_interval 25 or never",
        "A run used 900 prompts, 77,400 samples, 77,000 judge calls, 200,000 tokens and 1,200 ",
        "](figures/gap_all.png)",
        "These numbers support:",
        "They do not show:",
    ):
        assert words in report
