"""A comparison of methods that share no settings: its table, blocks, sentences and figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib import image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from benchmarks.aggregate import aggregate
from benchmarks.blocks import blocks
from benchmarks.budget_blocks import set_in
from benchmarks.comparison_figures import gap_by_samples, last_gaps
from benchmarks.compose import read_conf
from benchmarks.figures import draw_figures
from benchmarks.findings import findings
from benchmarks.footnotes import footnotes
from benchmarks.plan_results import read_plan
from benchmarks.render import console_text
from benchmarks.report import report_markdown
from benchmarks.rows import find
from benchmarks.tensorboard_export import MISSING, aligned_settings
from tests.benchmarks.comparison_folder import (
    METHODS,
    Read,
    comparison_plan,
    experiment,
    language_comparison,
    method_entry,
    read,
    write_method_run,
)
from tests.benchmarks.plan_folder import write_plan


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Read:
    """Five methods on three games, five seeds."""
    folder = tmp_path_factory.mktemp("comparison")
    comparison_plan(folder)
    return read(folder)


def block(found: Read, title: str) -> pd.DataFrame:
    (frame,) = [each.frame for each in blocks(*found) if each.title.startswith(title)]
    return frame.set_index("variant")


def test_each_game_has_its_gaps_beside_own_targets(comparison: Read) -> None:
    frame = block(comparison, "smooth-0 (mixed: 3, 5, 2)")
    assert frame.index.tolist() == list(METHODS)
    last = find(comparison[0], "smooth-0", "ppo", "gap_last")
    assert last is not None
    assert frame.loc["ppo", "gap_last"] == f"{last.value:.3f} [{last.low:.3f}, {last.high:.3f}]"
    assert frame.loc["ppo", ["own target", "gap_target", "tv_target", "seeds"]].tolist() == [
        "tilted reference", "0.300", "0.030", "5",
    ]  # fmt: skip
    assert frame.loc["mpo", ["own target", "gap_target", "tv_target"]].tolist() == [
        "Nash equilibrium", "0.000", "-",
    ]  # fmt: skip
    assert frame.loc["free", ["own target", "gap_target", "tv_target"]].tolist() == ["-"] * 3


def test_every_other_method_is_compared_with_the_first(comparison: Read) -> None:
    (frame,) = [each.frame for each in blocks(*comparison) if "paired differences" in each.title]
    pairs = [f"mpo - {other}" for other in list(METHODS)[1:]]
    assert frame["comparison"].tolist() == pairs * 3
    assert (frame["verdict"] == "mpo lower").all()


def test_the_budget_block_has_all_budgets_and_seconds(comparison: Read) -> None:
    frame = block(comparison, "exact: what a run used")
    assert frame.columns.tolist() == [
        "prompts", "samples", "judge calls", "tokens", "optimizer steps", "CPU-seconds",
    ]  # fmt: skip
    assert frame.loc["iterative_dpo_8"].tolist() == ["300", "2,400", "300", "7,200", "400", "20.0"]


def test_a_budget_is_a_mean_over_games_and_seeds(tmp_path: Path) -> None:
    comparison_plan(tmp_path, ("mpo", "ppo"), ("smooth-0", "first_token-0"), seeds=2)
    file = tmp_path / "runs" / "exact-smooth-0-ppo-s1" / "result.json"
    result = json.loads(file.read_text("utf-8"))
    result["counts"]["tokens"] += 4_000
    file.write_text(json.dumps(result), "utf-8")
    assert block(read(tmp_path), "exact: what a run used").loc["ppo", "tokens"] == "15,400"


def test_settings_say_where_they_come_from(comparison: Read) -> None:
    frame = block(comparison, "exact: each method's learning rate")
    assert frame["strength"].tolist() == ["α 0.1", "α 0.1", "β 0.1", "β 0.1", "-"]
    assert frame["learning rate"].tolist() == ["0.003"] * 5


def test_a_setting_comes_from_the_last_file_that_has_it() -> None:
    tuned, task = read_conf("tuned/exact/ppo").values, read_conf("task/exact").values
    keys = ["train.lr", "method.beta"]
    config: dict[str, Any] = {
        "method": {"name": "ppo", "beta": tuned["method.beta"].value},
        "train": {"lr": tuned["train.lr"].value},
    }
    assert set_in("exact", config, keys) == "conf/tuned/exact/ppo.yaml"
    config["train"]["lr"] = 17.0
    assert set_in("exact", config, keys) == "train.lr: the command, conf/tuned/exact/ppo.yaml"
    untuned = {"method": {"name": "free"}, "train": {"lr": task["train.lr"].value}}
    assert set_in("exact", untuned, ["train.lr"]) == "conf/task/exact.yaml"


def test_footnotes_name_settings_for_the_methods_that_have_them(comparison: Read) -> None:
    notes = footnotes(*comparison)
    assert notes[0] == (
        "exact: opponent: policy (mpo, mpo_clip), kl_gradient: sequence (mpo, mpo_clip), "
        "γ: 1.0 (mpo, mpo_clip, ppo), α: 0.1 (mpo, mpo_clip), β: 0.1 (ppo, iterative_dpo_8)."
    )
    text = " ".join(notes)
    assert "A judge call is an unordered pair of responses that is compared, or a response" in text
    assert "48,000 samples on exact a run" in text
    assert "own target: the exact solution" in text and "gap_regularised" not in text
    assert "ppo: smooth-0 -0.0" in text and "size=" not in text


def test_a_quick_plan_says_so(tmp_path: Path) -> None:
    comparison_plan(tmp_path, ("mpo", "ppo"), ("smooth-0",), seeds=2, size="quick", budget=None)
    found = read(tmp_path)
    text = " ".join(footnotes(*found))
    assert "size=quick: fewer seeds than the full comparison, 2 seeds a variant" in text
    assert "Budget: none is shared" in text
    sentences = findings(*found)
    assert "`mpo` comes within" not in " ".join(sentences.can)
    cannot = " ".join(sentences.cannot)
    assert "is not claimed of `mpo` and `ppo` where there are fewer than 5 seeds" in cannot
    assert "`mpo` and `ppo` share fewer than 5 seeds on smooth-0 (2)" in cannot


def test_the_curves_are_against_samples(comparison: Read) -> None:
    results = comparison[1]
    axis = gap_by_samples(results, ["smooth-0"]).axes[0]
    drawn = {line.get_label(): line for line in axis.get_lines()}
    assert list(drawn) == list(METHODS)
    for variant, line in drawn.items():
        runs = [r for r in results.done() if (r.group, r.variant) == ("smooth-0", variant)]
        curves = [run.curves() for run in runs]
        assert line.get_xdata() == pytest.approx(curves[0]["samples"].to_numpy())
        mean = sum(curve["gap_last"] for curve in curves) / 5
        assert line.get_ydata() == pytest.approx(mean.to_numpy())
    looks = {(line.get_color(), line.get_marker()) for line in drawn.values()}
    assert len(looks) == len(METHODS)


def test_nine_variants_look_different(tmp_path: Path) -> None:
    entries = []
    for number in range(9):
        entry = method_entry("smooth-0", "free", 0)
        entry |= {"variant": f"free_{number}", "name": f"run-{number}"}
        entries.append(entry)
    write_plan(tmp_path, entries, **experiment([entry["variant"] for entry in entries]))
    for entry in entries:
        write_method_run(tmp_path, entry | {"variant": "free"})
    axis = gap_by_samples(read_plan(tmp_path), ["smooth-0"]).axes[0]
    assert len({(line.get_color(), line.get_marker()) for line in axis.get_lines()}) == 9


def test_a_run_that_stopped_early_is_drawn_to_where_it_came(tmp_path: Path) -> None:
    comparison_plan(tmp_path, ("mpo", "ppo"), ("smooth-0",), seeds=2)
    file = tmp_path / "runs" / "exact-smooth-0-ppo-s0" / "curves.csv"
    pd.read_csv(file).head(10).to_csv(file, index=False)
    axis = gap_by_samples(read_plan(tmp_path), ["smooth-0"]).axes[0]
    mpo, ppo = axis.get_lines()
    assert (len(mpo.get_xdata()), len(ppo.get_xdata())) == (21, 10)


def test_own_targets_are_hollow_beside_the_last_gaps(comparison: Read) -> None:
    table, results = comparison
    axis = last_gaps(table, results, ["smooth-0"]).axes[0]
    hollow = [line for line in axis.get_lines() if line.get_markerfacecolor() == "none"]
    assert [float(line.get_xdata()[0]) for line in hollow] == [0.001, 0.001, 0.3, 0.4]
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert labels == list(METHODS)


def test_figures_are_those_of_a_comparison(comparison: Read) -> None:
    table, results = comparison
    names = draw_figures(table, results)
    assert names == ["figures/gap_by_samples.png", "figures/last_gaps.png"]
    for name in names:
        height, width, _ = image.imread(results.folder / name).shape
        assert width >= 900 and height >= 450


def test_the_tables_fit_a_terminal_and_the_report_has_all(comparison: Read) -> None:
    text = console_text(*comparison)
    assert max(map(len, text.splitlines())) <= 130
    report = report_markdown(*comparison, [])
    for words in (
        "methods mpo, mpo_clip, ppo, iterative_dpo_8 and free, iterations 100, rounds 1",
        "responses a prompt 16 or 8, inner steps 4 or 2, learning rate 0.003, α 0.1, β 0.1",
        "1,200 to 4,800 samples",
    ):
        assert words in report
    assert "own best α" not in report


def test_tensorboard_compares_runs_of_different_methods(tmp_path: Path) -> None:
    comparison_plan(tmp_path, ("mpo", "ppo", "free"), ("smooth-0",), seeds=1)
    aggregate(tmp_path)
    results = read_plan(tmp_path)
    settings = aligned_settings(results.done())
    keys = [sorted(own) for own in settings]
    assert keys[0] == keys[1] == keys[2]
    assert [own["method.alpha"] for own in settings] == ["0.1", MISSING, MISSING]
    assert [own["method.beta"] for own in settings] == [MISSING, "0.1", MISSING]
    assert [own["train.lr"] for own in settings] == [0.003] * 3
    for run in results.done():
        folder = tmp_path / "tensorboard" / run.name
        events = EventAccumulator(str(folder)).Reload()
        contents = events.PluginTagToContent("hparams")
        (start,) = [content for tag, content in contents.items() if "session_start" in tag]
        data = HParamsPluginData.FromString(start)
        assert sorted(data.session_start_info.hparams) == keys[0]
        assert {"final/gap_last", "final/tv_target"} <= set(events.Tags()["scalars"])


def test_a_language_comparison_has_budgets_and_direct_contests(tmp_path: Path) -> None:
    language_comparison(tmp_path)
    found = read(tmp_path)
    titles = [each.title for each in blocks(*found)]
    assert "smollm2: what a run used (mean over its games and seeds)" in titles
    (direct,) = [each.frame for each in blocks(*found) if "one variant against" in each.title]
    assert direct["contest"].tolist() == ["mpo against ppo"]
    notes = " ".join(footnotes(*found))
    assert "9,000 tokens on smollm2 a run" in notes
    assert "whoever judged in training (annotators: mpo, ppo)" in notes
    assert draw_figures(*found) == ["figures/win_rates.png"]


@pytest.mark.parametrize("variant", ["ppo", "free"])
def test_one_method_alone_reads(variant: str, tmp_path: Path) -> None:
    comparison_plan(tmp_path, (variant,), ("smooth-0",), seeds=1)
    found = read(tmp_path)
    assert block(found, "smooth-0").index.tolist() == [variant]
    assert report_markdown(*found, []).count("## ") >= 3
