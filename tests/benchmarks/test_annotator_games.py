"""Games from a panel's votes on a model's own responses, and `experiment=annotators` on them."""

from __future__ import annotations

import csv
import dataclasses
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.command_line import main
from benchmarks.theory.annotators import experiment
from benchmarks.theory.annotators import games as module
from benchmarks.theory.annotators.games import AnnotatorGame, annotator_games, compared_samples
from benchmarks.theory.annotators.rows import agreement, annotator_wins, ends, structure
from mpo.data import PromptSet
from mpo.games.dynamics.mirror import MWU
from mpo.games.dynamics.registry import DYNAMICS
from mpo.games.matrix_file import read_matrix
from mpo.judges.annotators import AnnotatorPanel
from mpo.rollout import SamplingSettings
from mpo.training.rows import DataError
from tests.benchmarks.tiny_language_model import save_model, save_prompts
from tests.engine import prompt_set, tiny_game, tiny_policy
from tests.oracles import duality_gap_by_lp

GAME = tiny_game(prompts=4)
SETTINGS = SamplingSettings(0, GAME.max_tokens, (GAME.eos,), GAME.text)


def taste(name: str) -> Callable[[Sequence[str], Sequence[str]], list[float]]:
    """An annotator that ranks texts by a hash of its own, in six grades so that some tie."""
    return lambda prompts, responses: [
        float(zlib.crc32(f"{name}{text}".encode()) % 6) for text in responses
    ]


def panel() -> AnnotatorPanel:
    return AnnotatorPanel({name: taste(name) for name in ("first", "second", "third")})


def made(file: Path, **changed: Any) -> list[AnnotatorGame]:
    arguments: dict[str, Any] = {
        "policy": tiny_policy(GAME),
        "prompts": prompt_set(GAME),
        "settings": SETTINGS,
        "panel": panel(),
        "responses": 8,
    }
    return annotator_games(file, **{**arguments, **changed})


def test_matrices_are_the_annotators_own_verdicts() -> None:
    games = compared_samples(tiny_policy(GAME), prompt_set(GAME), SETTINGS, panel(), 8)
    assert [game.prompt for game in games] == list(GAME.prompt_texts)
    ties = 0
    for game in games:
        assert len(set(game.responses)) == len(game.responses) > 2
        for i, a in enumerate(game.responses):
            for j, b in enumerate(game.responses):
                scores = [
                    (taste(name)([""], [a])[0], taste(name)([""], [b])[0])
                    for name in ("first", "second", "third")
                ]
                votes = [0.5 + 0.5 * np.sign(own - other) for own, other in scores]
                ties += i != j and 0.5 in votes
                assert game.votes[:, i, j].tolist() == votes
                assert float(game.preferences[i, j]) == pytest.approx(np.mean(votes), abs=1e-15)
        assert bool((game.preferences + game.preferences.T == 1).all())
    assert ties, "no annotator ties: the test has lost its case"


def test_games_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "deeper" / "games.parquet"
    first = made(file)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    monkeypatch.setattr(module, "compared_samples", None)
    for one, other in zip(first, made(file), strict=True):
        assert one[:2] == other[:2]
        assert torch.equal(one.preferences, other.preferences)
        assert torch.equal(one.votes, other.votes)


def test_games_made_from_other_arguments_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "games.parquet"
    made(file)
    few = prompt_set(GAME)
    few = PromptSet(*(list(part)[:2] for part in vars(few).values()))
    for field, changed in {
        "weights": {"policy": tiny_policy(GAME, seed=1)},
        "temperature": {"policy": tiny_policy(GAME, temperature=0.5)},
        "prompts": {"prompts": few},
        "seed": {"settings": dataclasses.replace(SETTINGS, seed=1)},
        "max_tokens": {"settings": dataclasses.replace(SETTINGS, max_tokens=1)},
        "annotators": {"panel": panel().without("third")},
        "responses": {"responses": 4},
    }.items():
        with pytest.raises(DataError) as caught:
            made(file, **changed)
        assert [problem.split(":")[0] for problem in caught.value.problems[:-1]] == [field]
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(DataError, match="it is not a Parquet file"):
        made(tmp_path / "text.parquet")
    alike = dataclasses.replace(SETTINGS, decode=lambda ids: "x")
    with pytest.raises(DataError, match="got no prompt with two different responses"):
        made(tmp_path / "alike.parquet", settings=alike)


def ranked(*rankings: Sequence[int]) -> AnnotatorGame:
    """A game of annotators that rank the responses, best first."""
    n = len(rankings[0])
    votes = torch.full((len(rankings), n, n), 0.5, dtype=torch.float64)
    for own, ranking in zip(votes, rankings, strict=True):
        for place, winner in enumerate(ranking):
            own[winner, ranking[place + 1 :]] = 1.0
            own[ranking[place + 1 :], winner] = 0.0
    return AnnotatorGame("?", tuple(map(str, range(n))), votes.mean(0), votes)


CONDORCET = ranked([0, 1, 2, 3], [1, 2, 0, 3], [2, 0, 1, 3])
"""Three responses in a circle, each better than the fourth."""
AGREED = ranked([2, 0, 1], [2, 1, 0], [0, 2, 1])
EVEN = ranked([0, 1, 2], [1, 0, 2])


def test_structure_of_known_games() -> None:
    found = structure(CONDORCET)
    assert (found.intransitive, found.condorcet, found.support) == (0.25, None, 3)
    assert found.unique and found.played == 3
    np.testing.assert_allclose(found.nash.numpy(), [1 / 3, 1 / 3, 1 / 3, 0], atol=1e-9)
    # Three random orders of three responses go round in 12 of the 216 cases.
    third = structure(ranked([0, 1, 2], [1, 2, 0], [2, 0, 1]))
    assert third.by_chance == pytest.approx(12 / 216, abs=0.06)
    found = structure(AGREED)
    assert (found.intransitive, found.condorcet, found.support) == (0.0, 2, 1)
    found = structure(EVEN)
    assert found.condorcet is None and not found.unique and found.played == 2


def test_ends_do_not_depend_on_the_batch() -> None:
    games = [CONDORCET, AGREED, ranked([3, 0, 1, 2], [3, 1, 2, 0], [1, 3, 0, 2]), EVEN]
    together = ends(games, MWU(eta=0.5), 200)
    for game, end in zip(games, together, strict=True):
        (alone,) = ends([game], MWU(eta=0.5), 200)
        np.testing.assert_allclose(alone.policy.numpy(), end.policy.numpy(), atol=1e-12)
        gap = duality_gap_by_lp(game.preferences.numpy(), end.policy.numpy())
        assert end.gap_last == pytest.approx(gap, abs=1e-9) and not end.diverged
    assert together[1].distance == pytest.approx(1 - float(together[1].policy[2]), abs=1e-9)
    assert together[3].distance < 1e-6


def test_annotators_wins_and_agreement_by_hand() -> None:
    policy = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    # Response 2 wins both others, and ties with itself, for the first two annotators.
    got = annotator_wins([AGREED], [policy])
    np.testing.assert_allclose(got.numpy(), [2.5 / 3, 2.5 / 3, 1.5 / 3])
    # The majority ranks 2, 0, 1; the second and the third annotator each turn one pair.
    np.testing.assert_allclose(agreement([AGREED]).numpy(), [1, 2 / 3, 2 / 3])


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    save_model(tmp_path / "model")
    save_prompts(tmp_path / "prompts.txt")
    monkeypatch.setattr(experiment, "AnnotatorPanel", panel)
    values: dict[str, Any] = {
        "experiment": "annotators",
        "model.path": tmp_path / "model",
        "sample.prompts": tmp_path / "prompts.txt",
        "sample.count": 5,
        "sample.responses": 8,
        "sample.max_tokens": 6,
        "calls": 300,
        "methods": "[mpo,mwu]",
    }
    return [f"{key}={value}" for key, value in values.items()]


def test_the_experiment_leaves_tables_figure_and_matrices(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, kept = tmp_path / "out", tmp_path / "kept.parquet"
    assert main([*words, f"sample.file={kept}", f"out={out}"]) == 0
    rows = list(csv.DictReader((out / "table.csv").open(encoding="utf-8")))
    assert 1 <= len(rows) <= 5
    for row in rows:
        wins = read_matrix(out / "matrices" / f"{int(row['game']):03d}.npy")
        assert len(wins) == int(row["responses"])
        assert float(row["mpo.gap_last"]) < 1e-2
        assert 0 <= float(row["mpo.distance"]) <= 1
        winner = [i for i in range(len(wins)) if (wins[i] > 0.5).sum() == len(wins) - 1]
        assert row["condorcet_winner"] == (str(winner[0]) if winner else "")
    metrics = json.loads((out / "result.json").read_text())["metrics"]
    solved = np.mean([float(row["mwu.gap_last"]) <= 1e-3 for row in rows])
    assert metrics["games"] == len(rows) and metrics["mwu.solved"] == pytest.approx(solved)
    report = (out / "report.md").read_text(encoding="utf-8")
    assert "intransitive" in report and "figures/annotators.png" in report
    assert (out / "figures" / "annotators.png").stat().st_size > 10_000
    by_annotator = list(csv.DictReader((out / "annotators.csv").open(encoding="utf-8")))
    assert [row["annotator"] for row in by_annotator] == ["first", "second", "third"]
    # Other methods on the same games need neither model time nor annotators.
    monkeypatch.setattr(module, "compared_samples", None)
    again = [*words[:-1], "methods=[mmd]", f"sample.file={kept}", f"out={tmp_path / 'again'}"]
    assert main(again) == 0
    other = list(csv.DictReader((tmp_path / "again" / "table.csv").open(encoding="utf-8")))
    assert [row["nash_support"] for row in other] == [row["nash_support"] for row in rows]


def test_every_default_method_exists() -> None:
    from benchmarks.compose import read_conf

    assert set(read_conf("experiment/annotators").about["methods"]) <= set(DYNAMICS)


def test_mistakes_come_together(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ["sample.count=500", "sample.responses=2", "sample.split=train"]
    assert main([*words[:3], *wrong, "methods=[mop]", f"out={tmp_path / 'out'}"]) == 2
    said = capsys.readouterr().err
    for part in ("sample.responses: got 2", "sample.split: got 'train'", "methods: got"):
        assert part in said
    more = ["sample.count=500", f"out={tmp_path / 'out'}"]
    assert main([*words[:2], "sample.prompts=gone.txt", "model.path=/gone", *more]) == 2
    said = capsys.readouterr().err
    assert "sample.prompts: cannot use 'gone.txt'" in said
    assert main([*words[:3], *more]) == 2
    assert "sample.count: got 500, allowed is at most 16, the training" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_kept_games_of_another_seed_are_refused(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = f"sample.file={tmp_path / 'kept.parquet'}"
    assert main([*words, kept, f"out={tmp_path / 'one'}"]) == 0
    assert main([*words, kept, "seed=1", f"out={tmp_path / 'two'}"]) == 2
    assert "seed: it was made from 0, wanted is 1" in capsys.readouterr().err
