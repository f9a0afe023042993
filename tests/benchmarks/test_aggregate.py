"""table.csv against numbers computed here from the made-up folder's files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.aggregate import aggregate, collect, table_so_far
from benchmarks.best_alpha import ALL_GAMES
from benchmarks.intervals import Interval
from benchmarks.plan import PlanError
from benchmarks.plan_results import read_plan
from benchmarks.rows import find, find_difference, read_table
from tests.benchmarks.plan_folder import (
    LAST,
    LetterPanel,
    exact_entry,
    exact_plan,
    language_entry,
    language_plan,
    write_exact_run,
    write_failure,
    write_language_run,
    write_plan,
)


def _metric(folder: Path, name: str, metric: str) -> float:
    return json.loads((folder / "runs" / name / "result.json").read_text("utf-8"))["metrics"][
        metric
    ]


def _found(table: pd.DataFrame, *where: str) -> Interval:
    found = find(table, *where)
    assert found is not None, where
    return found


def test_exact_means_differences_and_ratios(tmp_path: Path) -> None:
    exact_plan(tmp_path, ("smooth-0",))
    table = collect(read_plan(tmp_path))
    gaps = {
        variant: [_metric(tmp_path, f"exact-smooth-0-{variant}-s{s}", "gap_last") for s in range(5)]
        for variant in ("moving", "fixed")
    }
    for variant, values in gaps.items():
        mean = _found(table, "smooth-0", variant, "gap_last")
        assert mean.value == pytest.approx(sum(values) / 5, rel=1e-12)
        assert min(values) <= mean.low < mean.value < mean.high <= max(values)
    difference = find_difference(table, "smooth-0", "moving", "fixed", "gap_last")
    assert difference is not None and difference.resolved and difference.unit == "seeds"
    deltas = [a - b for a, b in zip(gaps["moving"], gaps["fixed"], strict=True)]
    assert difference.value == pytest.approx(sum(deltas) / 5, rel=1e-12)
    ratio = _found(table, "smooth-0", "moving", "gap_last_ratio", "fixed")
    assert ratio.value == pytest.approx(sum(gaps["moving"]) / sum(gaps["fixed"]), rel=1e-12)


def test_every_row_leads_to_its_runs_and_seeds(tmp_path: Path) -> None:
    exact_plan(tmp_path, ("smooth-0",), seeds=3)
    table = collect(read_plan(tmp_path))
    row = table[(table["metric"] == "gap_last") & (table["variant"] == "moving")].iloc[0]
    assert row["runs"].split() == [f"exact-smooth-0-moving-s{seed}" for seed in range(3)]
    for part in row["seed_values"].split():
        seed, value = part.split("=")
        own = _metric(tmp_path, f"exact-smooth-0-moving-s{seed}", "gap_last")
        assert float(value) == pytest.approx(own, rel=1e-5)
    assert (table["runs"] != "").all()


def test_the_kind_of_equilibrium_comes_from_its_support(tmp_path: Path) -> None:
    exact_plan(tmp_path, seeds=1)
    table = collect(read_plan(tmp_path))
    support = table[table["metric"] == "equilibrium_support"].set_index("group")["footnote"]
    assert support["first_token-0"] == "mixed; support per prompt 4, 4, 1"
    assert support["bradley_terry-0"] == "pure; support per prompt 1, 1, 1"


def test_deviation_only_of_a_magnet_that_never_moves_and_plays_itself(tmp_path: Path) -> None:
    entries = [exact_entry("smooth-0", variant, 0) for variant in ("moving", "fixed")]
    snapshot = exact_entry("smooth-0", "fixed_snapshot", 0)
    snapshot["config"]["method"]["opponent"] = "snapshot"
    write_plan(tmp_path, [*entries, snapshot])
    for entry in [*entries, snapshot]:
        write_exact_run(tmp_path, entry, last=0.4)
    table = collect(read_plan(tmp_path))
    rows = table[table["metric"] == "gap_deviation"]
    assert rows["variant"].tolist() == ["fixed"]
    expected = 0.4 - _metric(tmp_path, "exact-smooth-0-fixed-s0", "gap_regularised")
    assert rows["value"].iloc[0] == pytest.approx(expected)


def test_a_partial_plan_pairs_only_seeds_that_both_have(tmp_path: Path) -> None:
    entries = [exact_entry("smooth-0", v, s) for s in range(3) for v in ("moving", "fixed")]
    write_plan(tmp_path, entries)
    for entry in entries[:3]:
        write_exact_run(tmp_path, entry)
    write_failure(tmp_path, entries[3], "FloatingPointError: loss is nan")
    results = read_plan(tmp_path)
    assert [run.status for run in results.runs] == ["done"] * 3 + ["failed"] + ["missing"] * 2
    assert results.runs[3].reason == "FloatingPointError: loss is nan (iteration 7)"
    table = collect(results)
    assert _found(table, "smooth-0", "moving", "gap_last").n == 2
    difference = find_difference(table, "smooth-0", "moving", "fixed", "gap_last")
    assert difference is not None and difference.n == 1 and math.isnan(difference.low)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"schema": 1,', "not JSON"),
        ('{"schema": 2}', "schema 2, allowed is 1"),
        ('{"schema": 1, "config_hash": "of another"}', "another config"),
    ],
)
def test_a_result_that_cannot_be_used_is_missing_with_its_reason(
    tmp_path: Path, content: str, reason: str
) -> None:
    entry = exact_entry("smooth-0", "moving", 0)
    write_plan(tmp_path, [entry])
    write_exact_run(tmp_path, entry)
    (tmp_path / "runs" / entry["name"] / "result.json").write_text(content, "utf-8")
    (run,) = read_plan(tmp_path).runs
    assert run.status == "missing" and reason in run.reason


def test_a_folder_without_a_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"plan\.yaml"):
        aggregate(tmp_path)


def test_below_five_seeds_language_intervals_are_over_prompts(tmp_path: Path) -> None:
    language_plan(tmp_path, seeds=2)
    table = collect(read_plan(tmp_path), LetterPanel)
    rows = table[table["metric"] == "win_rate"].set_index("variant")
    assert set(rows["unit_of_interval"]) == {"prompts"} and (rows["n"] == 20).all()
    values = [float(part.split("=")[1]) for part in rows.loc["moving", "seed_values"].split()]
    assert len(values) == 2
    assert rows.loc["moving", "value"] == pytest.approx(sum(values) / 2, rel=1e-5)
    kl = _found(table, "smollm2", "moving", "kl_reference")
    assert kl.value == pytest.approx(0.4) and math.isnan(kl.low)


def test_from_five_seeds_on_language_intervals_are_over_seeds(tmp_path: Path) -> None:
    language_plan(tmp_path, seeds=5)
    table = collect(read_plan(tmp_path), LetterPanel)
    rows = table[table["metric"].isin(["win_rate", "win_rate_versus_fixed", "truncated"])]
    trained = rows[rows["variant"] != "initial"]
    assert set(trained["unit_of_interval"]) == {"seeds"} and (trained["n"] == 5).all()


def test_text_quality_is_beside_the_initial_policys(tmp_path: Path) -> None:
    entries = [language_entry("initial", 0), language_entry("moving", 0)]
    write_plan(tmp_path, entries, compare=[])
    for entry in entries:
        write_language_run(tmp_path, entry)
    file = tmp_path / "runs" / "smollm2-moving-s0" / "samples.jsonl"
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    for line in lines:
        line |= {"ended": False, "tokens": 24, "response": "" if line["index"] == 0 else "yes"}
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    table = collect(read_plan(tmp_path), LetterPanel)
    assert _found(table, "smollm2", "moving", "truncated")[:3] == (1.0, 1.0, 1.0)
    assert _found(table, "smollm2", "moving", "empty").value == 0.5
    assert _found(table, "smollm2", "moving", "one_word").value == 0.5
    assert _found(table, "smollm2", "moving", "response_length").value == 24
    before = _found(table, "smollm2", "initial", "truncated").value
    difference = find_difference(table, "smollm2", "moving", "initial", "truncated")
    assert difference is not None and difference.resolved
    assert difference.value == pytest.approx(1 - before)


def _sweep(folder: Path, groups: tuple[str, ...] = ("smooth-0", "first_token-0")) -> None:
    """Gaps by hand: moving is best at 0.2 on seeds 0 and 1, at 0.1 on seeds 2 and 3."""
    entries = [
        exact_entry(group, f"{family}_alpha{alpha}", seed, alpha=float(alpha))
        for group in groups
        for seed in range(4)
        for alpha in ("0.1", "0.2")
        for family in ("moving", "fixed")
    ]
    pairs = [[f"moving_alpha{alpha}", f"fixed_alpha{alpha}"] for alpha in ("0.1", "0.2")]
    select = {"seeds": [0, 1], "report": [2, 3]}
    write_plan(folder, entries, name="alpha", compare=pairs, select=select)
    for entry in entries:
        alpha, seed = entry["config"]["method"]["alpha"], entry["seed"]
        late = seed >= 2
        gap = {True: 2 * alpha, False: 0.1 if (alpha == 0.2) != late else 0.12}
        write_exact_run(folder, entry, last=gap[entry["variant"].startswith("fixed")] + seed / 1000)


def test_best_alpha_is_chosen_on_some_seeds_and_reported_on_others(tmp_path: Path) -> None:
    _sweep(tmp_path)
    table = collect(read_plan(tmp_path))
    for group in ("smooth-0", "first_token-0", ALL_GAMES):
        assert _found(table, group, "moving", "best_alpha").value == 0.2
        gap = _found(table, group, "moving", "gap_last_best_alpha")
        assert gap.value == pytest.approx(0.12 + 0.0025) and gap.n == 2
        assert _found(table, group, "fixed", "best_alpha").value == 0.1
        difference = find_difference(table, group, "moving", "fixed", "gap_last_best_alpha")
        assert difference is not None and difference.value == pytest.approx(0.12 - 0.2)


def test_an_alpha_with_a_missing_run_cannot_be_chosen(tmp_path: Path) -> None:
    _sweep(tmp_path, ("smooth-0",))
    (tmp_path / "runs" / "exact-smooth-0-moving_alpha0.2-s1" / "result.json").unlink()
    table = collect(read_plan(tmp_path))
    assert _found(table, "smooth-0", "moving", "best_alpha").value == 0.1


def test_aggregate_writes_what_it_returns_and_everything_else(tmp_path: Path) -> None:
    exact_plan(tmp_path, ("smooth-0", "bradley_terry-0"), seeds=2)
    table = aggregate(tmp_path)
    read = read_table(tmp_path / "table.csv")
    pd.testing.assert_frame_equal(read, table, check_dtype=False, rtol=1e-9)
    for name in ("table.md", "report.md", "figures/gap_all.png", "figures/gap_smooth-0.png"):
        assert (tmp_path / name).stat().st_size > 0
    assert list((tmp_path / "tensorboard").glob("events*"))
    assert (tmp_path / "tensorboard" / "exact-smooth-0-moving-s0").is_dir()
    assert not [file for file in tmp_path.rglob("*") if "aside" in file.name]


def test_aggregating_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    exact_plan(tmp_path, ("smooth-0",), seeds=2)
    names = ("table.csv", "table.md", "report.md")
    aggregate(tmp_path)
    first = [(tmp_path / name).read_bytes() for name in names]
    aggregate(tmp_path)
    assert [(tmp_path / name).read_bytes() for name in names] == first


def test_the_table_so_far_needs_no_judge_and_writes_nothing(tmp_path: Path) -> None:
    exact = [exact_entry("smooth-0", variant, 0) for variant in ("moving", "fixed")]
    language = [language_entry("initial", 0), language_entry("moving", 0)]
    write_plan(tmp_path, [*exact, *language])
    for entry in exact:
        write_exact_run(tmp_path, entry, last=LAST[entry["variant"]]["smooth-0"])
    write_language_run(tmp_path, language[0])
    before = sorted(tmp_path.rglob("*"))
    text = table_so_far(tmp_path)
    assert "0.030" in text and "0.365" in text and "moving - fixed" in text
    assert sorted(tmp_path.rglob("*")) == before
