"""`experiment=theorems`: its claims hold and can fail, its counter-examples, and its files."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.command_line import main
from benchmarks.theory.resolve import resolve
from benchmarks.theory.theorems import fixed_magnet, mirror_descent, moving_magnet
from benchmarks.theory.theorems.claims import Claim, Curve, Verdict, verdict, verdicts
from benchmarks.theory.theorems.experiment import CLAIMS, TOPICS
from benchmarks.theory.theorems.games import Batch, batches
from benchmarks.theory.theorems.proofs import PROOFS
from benchmarks.theory.theorems.statements import STATEMENTS
from benchmarks.theory.theorems.stepsizes import local, scan
from mpo.games.dynamics.magnetic import MMD, MPORT
from tests.oracles import kl

SMALL = ["seeds=2", "steps=40", "mirror_steps=30", "families=[cyclic,rock_paper_scissors]"]


def config(*words: str) -> dict[str, Any]:
    resolved = resolve("theorems", [*SMALL, *words])
    assert resolved.problems == []
    return resolved.config


def all_batches(**values: Any) -> tuple[list[Batch], dict[str, Any]]:
    settings = config() | values
    return batches(settings), settings


def worst(module: Any, **values: Any) -> dict[str, bool]:
    """Whether each claim of a topic holds on all games."""
    found, settings = all_batches(**values)
    curves = [curve for batch in found for curve in module.claims(batch, settings)]
    held: dict[str, bool] = {}
    for one in verdicts(curves):
        held[one.claim] = held.get(one.claim, True) and one.holds
    return held


def test_a_verdict_is_of_the_worst_point_that_counts() -> None:
    claim = Claim("c", "C", "l ≤ r", "step", floor=1e-3)
    left = torch.tensor([1.0, 3.0, 9e-4], dtype=torch.float64)
    right = torch.tensor([2.0, 4.0, 1e-4], dtype=torch.float64)
    curve = Curve(claim, "cyclic", 0, torch.tensor([1.0, 2.0, 3.0]), left, right)
    assert verdict(curve) == ("c", "cyclic", 0, 2.0, 3.0, 4.0, 0.75, True)
    for changes, holds in (
        ({"floor": 0.0}, False),
        ({"last_only": True, "floor": 0.0}, False),
        ({"strict": True}, True),
    ):
        found = verdict(curve._replace(claim=claim._replace(**changes)))
        assert found is not None and found.holds is holds
    assert verdict(curve._replace(claim=claim._replace(floor=9.0))) is None
    equal = verdict(curve._replace(left=right, claim=claim._replace(strict=True)))
    assert equal is not None and not equal.holds
    broken = verdict(curve._replace(left=left * torch.nan))
    assert broken is not None and not broken.holds


def test_all_claims_hold_on_small_games() -> None:
    held: dict[str, bool] = {}
    for topic in TOPICS:
        held |= worst(topic, steps=120)
    assert held == {claim.key: True for claim in CLAIMS}


def test_claims_of_a_fixed_magnet_fail_with_another_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    mmd = fixed_magnet.MMD
    monkeypatch.setattr(fixed_magnet, "MMD", lambda alpha, eta: mmd(alpha / 3, eta))
    held = worst(fixed_magnet, steps=120)
    assert not held["theorem_3.2"] and not held["theorem_3.2_step"] and not held["theorem_F.1"]


def test_theorem_3_5_fails_without_its_stepsize(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unscaled:
        @staticmethod
        def equal_to(mpo: Any) -> Any:
            return replace(MPORT.equal_to(mpo), eta=mpo.eta)

    monkeypatch.setattr(fixed_magnet, "MPORT", Unscaled)
    assert not worst(fixed_magnet)["theorem_3.5"]


def test_claims_of_steps_fail_with_the_magnet_as_the_opponent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mpo = moving_magnet.MPO
    letter = {"opponent": "snapshot"}
    monkeypatch.setattr(moving_magnet, "MPO", lambda **values: mpo(**values, **letter))
    held = worst(moving_magnet, rounds=60)
    assert not held["lemma_3.6"] and not held["theorem_3.7"] and held["theorem_3.4"]


def test_claims_of_exact_rounds_fail_with_the_sign_of_6(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = moving_magnet.entropic_rounds
    monkeypatch.setattr(
        moving_magnet,
        "entropic_rounds",
        lambda games, start, alpha, rounds: exact(games.mT, start, alpha, rounds),
    )
    held = worst(moving_magnet, families=["bradley_terry"], rounds=20)
    for key in ("lemma_3.3", "lemma_F.2", "theorem_3.4", "theorem_F.4_KL"):
        assert not held[key], key


def test_theorem_f_4_fails_with_weaker_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = moving_magnet.euclidean_rounds
    monkeypatch.setattr(
        moving_magnet,
        "euclidean_rounds",
        lambda games, start, alpha, rounds: exact(games, start, 100 * alpha, rounds),
    )
    assert not worst(moving_magnet)["theorem_F.4"]


def test_claims_of_mirror_descent_fail_with_another_dynamic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mwu = mirror_descent.MWU
    monkeypatch.setattr(mirror_descent, "MWU", lambda eta: mwu(-eta))
    held = worst(mirror_descent, families=["bradley_terry"], mirror_steps=200)
    assert not held["md_average"]
    monkeypatch.setattr(mirror_descent, "MWU", lambda eta: MMD(0.2, eta))
    assert not worst(mirror_descent)["md_last"]


def test_the_bound_holds_at_its_stepsize_and_ends_at_the_local_one() -> None:
    found, settings = all_batches(families=["random_logistic", "rock_paper_scissors"])
    rows = [row for batch in found for row in scan(batch, settings)]
    at_one = [row.holds for row in rows if row.multiple == 1]
    assert at_one and all(at_one)
    assert not all(row.holds for row in rows if row.multiple == 32)
    near = [row for batch in found for row in local(batch, settings)]
    for row in near:
        assert row.below <= 1 < row.above
        assert row.sigma <= row.smoothness


def test_counter_examples_are_whole() -> None:
    found = [find() for find in (*STATEMENTS, *PROOFS)]
    for finding in found:
        assert finding.written and finding.shown and finding.place
        assert all(math.isfinite(value) for value in finding.numbers.values())
        for line in finding.lines:
            assert line.x.shape == line.y.shape and bool(line.y.isfinite().all())
    assert len({finding.key for finding in found}) == len(found)


def test_the_counter_examples_show_what_they_say() -> None:
    numbers = {find.__name__: find().numbers for find in (*STATEMENTS, *PROOFS)}
    opponent = numbers["opponent"]
    assert opponent["gap_magnet"] > 0.99 and opponent["gap_policy"] < 1e-12
    assert opponent["apart_from_mirror_descent"] < 1e-10
    sign = numbers["sign"]
    assert sign["gap_maximising"] < 1e-9 and sign["probability_of_worst_minimising"] > 0.999
    assert sign["gap_minimising"] == pytest.approx(sign["largest_gap_possible"], rel=1e-6)
    unique = numbers["uniqueness"]
    for name, highest in (("duplicate", 1 / 3), ("tie", 1.0)):
        assert unique[f"{name}_lowest_first"] == pytest.approx(0, abs=1e-9)
        assert unique[f"{name}_highest_first"] == pytest.approx(highest)
        assert unique[f"{name}_apart"] > 0.1 and unique[f"{name}_gap"] < 1e-9
    # Where actions are equal their shares keep the ratio of the start: 4 to 1 of a total share.
    assert unique["tie_apart"] == pytest.approx(0.6) and unique["duplicate_apart"] == pytest.approx(
        0.6 / 3
    )
    target = numbers["one_target"]
    assert target["after_last_round"] > target["after_round_1"]
    assert target["second_round_over_bound"] > 1 and target["large_eta_over_bound"] > 1
    short = numbers["short_rounds"]
    assert short["lemma_3.6_worst_ratio"] <= 1 and short["gap_1"] > 0.9 > 1e-9 > short["gap_100"]
    assert short["factor_9"] > 1 > short["factor_10"]
    assert (
        numbers["which_gap"]["gap_regularised"] < 1e-12 < 0.1 < numbers["which_gap"]["gap_original"]
    )
    direction = numbers["kl_direction"]
    assert direction["needed_negative"] > 0.05 and direction["equilibria_apart"] > 0.01
    assert direction["kl_after"] < direction["kl_before"]
    border = numbers["face"]
    assert border["border_moves"] < 1e-12 and border["border_gap"] == pytest.approx(0.3)
    nearest = kl(np.array([0.8, 0.2]), np.array([0.5, 0.5]))
    assert border["border_kl"] == pytest.approx(nearest)
    waits = [border[f"rounds_to_1e-2_1e-{power}"] for power in (2, 8, 32)]
    assert waits == sorted(waits) and waits[-1] > 5 * waits[0]
    constant = numbers["any_constant"]
    assert constant["gap_T1"] > 0.1 > 1e-9 > constant["gap_T200"]
    assert constant["entropy_slope"] > 1e5
    slips = numbers["slips"]
    assert slips["second_less_third_line"] > 0.1
    assert 1 < slips["distance_over_root_of_KL"] <= math.sqrt(2)
    assert slips["nearest_after"] > slips["nearest_before"] + 0.01


def test_the_command_writes_all_files(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["experiment=theorems", *SMALL, f"out={out}"]) == 0
    rows = {
        name: list(csv.DictReader((out / f"{name}.csv").open(newline="", encoding="utf-8")))
        for name in ("claims", "table", "curves", "counterexamples", "counterexample_curves")
    }
    assert list(rows["claims"][0]) == list(Verdict._fields)
    for line in rows["table"]:
        own = [row for row in rows["claims"] if row["claim"] == line["claim"]]
        assert len(own) == int(line["games"])
        assert sum(row["holds"] == "True" for row in own) == int(line["holds"])
        ratio = max(float(row["ratio"]) for row in own)
        assert float(line["worst_ratio"]) == ratio
    assert {row["claim"] for row in rows["table"]} == {claim.key for claim in CLAIMS}
    assert {row["finding"] for row in rows["counterexamples"]} >= {"opponent", "sign", "uniqueness"}
    report = (out / "report.md").read_text("utf-8")
    for name in ("theorems", "counterexamples"):
        assert (out / "figures" / f"{name}.png").stat().st_size > 20_000
        assert f"figures/{name}.png" in report
    metrics = json.loads((out / "result.json").read_text("utf-8"))["metrics"]
    assert metrics["theorem_3.2_holds"] == metrics["theorem_3.2_games"] == 4
    assert (out / "table.md").read_text("utf-8").strip() in report


def test_games_without_a_mixed_equilibrium_say_nothing_of_the_last_iterate(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    words = ["seeds=1", "steps=20", "rounds=4", "mirror_steps=10", "families=bradley_terry"]
    assert main(["experiment=theorems", *words, f"out={out}"]) == 0
    assert "md_last" not in (out / "table.csv").read_text("utf-8")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("families=[cyclik]", "families: got 'cyclik', allowed is random_logistic, cyclic"),
        ("families=[]", "families: got [], allowed is a list of different families"),
        ("actions=12", "actions: got 12, allowed is an integer from 3 to 8"),
        ("rounds=1", "rounds: got 1, allowed is an integer ≥ 2"),
        ("alpha=0", "alpha: got 0.0, allowed is a number > 0"),
        ("tolerance=-1", "tolerance: got -1.0"),
    ],
)
def test_a_mistake_is_named(word: str, expected: str) -> None:
    (problem,) = resolve("theorems", [word]).problems
    assert problem.startswith(expected)
