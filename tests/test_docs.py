"""The documents keep what they promise: their code runs and the names that they use exist."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from omegaconf import OmegaConf

from mpo.objectives.mpo import MPO
from mpo.objectives.protocol import REFERENCE, compared_pairs
from mpo.records import Prompts, Responses, Rollout, Scores

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(path for path in ROOT.glob("docs/*.md"))


def python_block(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module made of the Python blocks of a document, one after the other."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / name).read_text(), re.DOTALL)
    source = "\n".join(blocks)
    module = ModuleType(Path(name).stem)
    # A dataclass with postponed annotations looks its module up by name.
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source, name, "exec"), module.__dict__)
    return module


def test_the_judge_of_getting_started_is_antisymmetric(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = python_block("getting_started.md", monkeypatch).Shorter()
    one, two = ["a", "abc", "ab"], ["bb", "b", "cd"]
    forth = judge.win_prob(["x"] * 3, one, two)
    assert forth.tolist() == [1.0, 0.0, 0.5]
    assert torch.equal(forth + judge.win_prob(["x"] * 3, two, one), torch.ones(3).double())


def test_a_run_trains_under_the_judge_of_getting_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = python_block("getting_started.md", monkeypatch)
    asked = []
    judge = module.Shorter.win_prob
    monkeypatch.setattr(
        module.Shorter, "win_prob", lambda *given: asked.append(given) or judge(*given)
    )
    tiny = ("task=exact", "train.iterations=2", "method.responses=4")
    module.train(tmp_path / "mine", "ablation=fixed_ref", *tiny)
    assert len(asked) == 2
    result = json.loads((tmp_path / "mine" / "result.json").read_text())
    assert result["counts"]["judge_calls"] == 2 * 3 * 6


def test_the_method_of_adding_a_method_is_the_dpo_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    method = python_block("adding_a_method.md", monkeypatch).OnlineDPO(beta=0.3, responses=4)
    assert method.problems() == []
    assert len(dataclasses.replace(method, beta=0.0, responses=3).problems()) == 2

    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([[3, 1, 2, 3], [2, 2, 0, 1]])
    mask = torch.arange(3) < lengths[..., None]
    logprobs = -torch.rand(2, 4, 3, generator=generator, dtype=torch.float64) * mask
    reference = -torch.rand(2, 4, 3, generator=generator, dtype=torch.float64) * mask
    upper = torch.rand(2, 4, 4, generator=generator, dtype=torch.float64).triu(1)
    wins = upper + (1 - upper.mT).tril(-1) + 0.5 * torch.eye(4, dtype=torch.float64)
    names = tuple(tuple("abcd") for _ in range(2))
    rollout = Rollout(
        iteration=0,
        iterations=1,
        prompts=Prompts(torch.zeros(2, 1).long(), torch.ones(2).long(), torch.arange(2), ("", "")),
        responses=Responses(torch.zeros(2, 4, 3).long(), lengths, lengths < 3),
        texts=names,
        opponents=None,
        opponent_texts=names,
        wins=wins,
        compared=compared_pairs(method.needs(), 2),
        greedy_wins=None,
        judge_calls=4,
        samples=8,
        tokens=int(lengths.sum()),
    )
    scores = Scores(logprobs, -logprobs, {}, {REFERENCE: reference}, mask, None, total_prompts=2)
    loss, metrics = method.loss(scores, method.targets(rollout, scores))

    expected = 0.0
    for prompt in range(2):
        for i, j in ((0, 1), (2, 3)):
            ratios = [float((logprobs - reference)[prompt, index].sum()) for index in (i, j)]
            z = 0.3 * (ratios[0] - ratios[1])
            win = float(wins[prompt, i, j])
            expected += win * math.log1p(math.exp(-z)) + (1 - win) * math.log1p(math.exp(z))
    assert float(loss) == pytest.approx(expected / 4, rel=1e-12)
    assert metrics["agreed"].weight == 4.0


def test_paper_md_gives_the_values_that_the_two_methods_have() -> None:
    stated = re.findall(r"`(\w+)`: `([^`]+)` · `([^`]+)`", "\n".join(paper_rows()))
    assert len(stated) > 10, "paper.md's table has lost its settings"
    for column, method in ((1, "mpo"), (2, "mpo_paper")):
        file = ROOT / "benchmarks" / "conf" / "method" / f"{method}.yaml"
        chosen = OmegaConf.to_container(OmegaConf.load(file))["method"]
        for row in stated:
            value = chosen.get(row[0], getattr(MPO(), row[0]))
            shown = "null" if value is None else str(value)
            assert row[column] == (shown.lower() if isinstance(value, bool) else shown), row


def test_paper_md_covers_every_choice_of_the_objective() -> None:
    text = "\n".join(paper_rows())
    missing = [field.name for field in dataclasses.fields(MPO) if f"`{field.name}`" not in text]
    # The weight of the KL is the paper's own, without two readings.
    assert missing == ["alpha"]


def paper_rows() -> list[str]:
    """The numbered rows of the table in docs/paper.md."""
    text = (ROOT / "docs" / "paper.md").read_text()
    return [line for line in text.splitlines() if re.match(r"\| \d+ \|", line)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_files_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", document.read_text())
    missing = [target for target in targets if not (document.parent / target).exists()]
    assert missing == []
