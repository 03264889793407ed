"""BERTScore and the cosine of embeddings with a tiny random BERT, against the formulas of the paper in plain loops."""

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import DIALOGUES, ROOT, SUMMARIES
from yoyak.evaluation.metrics.base import MetricSettings
from yoyak.evaluation.morphemes import Morphemes
from yoyak.evaluation.rouge import Aggregation
from yoyak.evaluation.semantic_metrics import BertScore, EmbeddingCosine
from yoyak.models.text_encoder import TextEncoder
from yoyak.system.errors import YoyakError

PREDICTIONS = [*SUMMARIES[1:], DIALOGUES[3][:40]]
REFERENCES = [[text] for text in SUMMARIES]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of three layers over characters, whose texts have at most 64 tokens."""
    from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    letters = sorted({letter for text in (*SUMMARIES, *DIALOGUES) for letter in text if not letter.isspace()})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {word: place for place, word in enumerate(words)}
    BertTokenizerFast(vocab=vocabulary, do_lower_case=False).save_pretrained(folder)  # with no model_max_length
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64, initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertForMaskedLM(config).save_pretrained(folder)  # has no pooler
    return folder


def settings(aggregation: Aggregation = "mean") -> MetricSettings:
    return MetricSettings(tokenizer=Morphemes(), aggregation=aggregation)


@functools.cache
def loaded(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()


def hidden_states(folder: Path, text: str) -> tuple[list[int], list[list[list[float]]]]:
    """The ids of one text, and the vectors of each layer, without a batch."""
    tokenizer, model = loaded(folder)
    ids: list[int] = tokenizer(text).input_ids
    with torch.no_grad():
        states = model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
    return ids, [state[0].double().tolist() for state in states]


def cosine_of(one: Sequence[float], other: Sequence[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def plain_bert_score(folder: Path, prediction: str, reference: str, layer: int, idf: dict[int, float] | None) -> list[float]:
    """Equations 1 to 4 of Zhang et al. 2020 in loops; [CLS] and [SEP] have no weight."""
    (ids, states), (other_ids, other_states) = (hidden_states(folder, text) for text in (prediction, reference))
    vectors, others = states[layer], other_states[layer]

    def weight(id_: int) -> float:
        return 0.0 if id_ in (2, 3) else 1.0 if idf is None else idf.get(id_, math.log(len(SUMMARIES) + 1))

    def side(own_ids: list[int], own: list[list[float]], far: list[list[float]]) -> float:
        weights = [weight(id_) for id_ in own_ids]
        best = [max(cosine_of(vector, other) for other in far) for vector in own]
        return sum(w * value for w, value in zip(weights, best, strict=True)) / sum(weights)

    precision, recall = side(ids, vectors, others), side(other_ids, others, vectors)
    return [100 * precision, 100 * recall, 100 * 2 * precision * recall / (precision + recall)]


def plain_idf(folder: Path) -> dict[int, float]:
    documents = [set(hidden_states(folder, text)[0]) for text in SUMMARIES]
    return {id_: math.log((len(documents) + 1) / (sum(id_ in ids for ids in documents) + 1)) for id_ in set().union(*documents)}


@pytest.mark.parametrize("idf", [False, True])
@pytest.mark.parametrize("layer", [None, 2])
def test_bert_score_is_that_of_the_paper(bert: Path, layer: int | None, idf: bool) -> None:
    metric = BertScore(settings(), TextEncoder(str(bert), None, layer=layer), layer=layer, idf=idf)
    rows = metric.score_rows(predictions=PREDICTIONS, references=REFERENCES, dialogues=None)
    weights = plain_idf(bert) if idf else None
    for place in (0, 3, 7):
        expected = plain_bert_score(bert, PREDICTIONS[place], SUMMARIES[place], layer or 3, weights)
        assert rows[place].tolist() == pytest.approx(expected, abs=2e-4)


def test_equal_texts_score_100_and_an_empty_one_0(bert: Path) -> None:
    metric = BertScore(settings(), TextEncoder(str(bert), None), layer=None, idf=False)
    rows = metric.score_rows(predictions=[SUMMARIES[0], "", " "], references=REFERENCES[:3], dialogues=None)
    assert rows[0].tolist() == pytest.approx([100, 100, 100], abs=1e-4)
    assert rows[1:].tolist() == [[0, 0, 0], [0, 0, 0]]
    again = metric.score_rows(predictions=[SUMMARIES[0], "", " "], references=REFERENCES[:3], dialogues=None)
    assert again.tobytes() == rows.tobytes()


@pytest.mark.parametrize("aggregation", ["mean", "max"])
def test_several_references(bert: Path, aggregation: Aggregation) -> None:
    metric = BertScore(settings(aggregation), TextEncoder(str(bert), None), layer=None, idf=False)
    alone = [metric.score_rows(predictions=PREDICTIONS[:1], references=[[text]], dialogues=None)[0] for text in SUMMARIES[:2]]
    (both,) = metric.score_rows(predictions=PREDICTIONS[:1], references=[list(SUMMARIES[:2])], dialogues=None)
    expected = sum(alone) / 2 if aggregation == "mean" else [max(pair) for pair in zip(*alone, strict=True)]
    assert both.tolist() == pytest.approx(list(expected), abs=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_cosine_of_embeddings(bert: Path, pooling: str) -> None:
    metric = EmbeddingCosine(settings(), TextEncoder(str(bert), None, pooling=pooling), pooling=pooling)
    metric.prepare([*PREDICTIONS, *SUMMARIES])
    rows = metric.score_rows(predictions=[*PREDICTIONS, ""], references=[*REFERENCES, [SUMMARIES[0]]], dialogues=None)

    def pooled(text: str) -> list[float]:
        last = hidden_states(bert, text)[1][-1]
        return last[0] if pooling == "cls" else [sum(column) / len(last) for column in zip(*last, strict=True)]

    for place in (0, 7):
        assert rows[place, 0] == pytest.approx(100 * cosine_of(pooled(PREDICTIONS[place]), pooled(SUMMARIES[place])), abs=1e-4)
    assert rows[-1, 0] == 0


def test_long_texts_are_cut_with_a_warning(bert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = TextEncoder(str(bert), None)
    (vectors,) = encoder.token_vectors(["가" * 100])
    assert len(vectors.ids) == 64 and vectors.ids[-1] == 3, "it still ends with [SEP]"
    assert "it reads 64 tokens; 1 texts are longer" in capsys.readouterr().err


@pytest.mark.parametrize("family", ["kobart", "llama"])
def test_other_kinds_of_models(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder of an encoder-decoder, and a decoder-only model."""
    encoder = TextEncoder(str(ROOT / f"models/base/{family}-tiny"), None, layer=1)
    metric = BertScore(settings(), encoder, layer=1, idf=False)
    rows = metric.score_rows(predictions=[SUMMARIES[0], SUMMARIES[1]], references=[[SUMMARIES[0]]] * 2, dialogues=None)
    assert rows[0, 2] == pytest.approx(100, abs=1e-3) and rows[1, 2] < 99
    empty = metric.score_rows(predictions=["", SUMMARIES[1]], references=[[SUMMARIES[0]], [""]], dialogues=None)
    assert not empty.any(), "these tokenizers put no special tokens around a text"
    cosine = EmbeddingCosine(settings(), encoder, pooling="mean")
    rows = cosine.score_rows(predictions=["", SUMMARIES[1]], references=[[SUMMARIES[1]]] * 2, dialogues=None)
    assert rows[:, 0].tolist() == [0, pytest.approx(100, abs=1e-3)]


def test_faults_name_the_checkpoint(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(YoyakError, match="layer: 4 is more than the 3 layers of"):
        TextEncoder(str(bert), None, layer=4)
    with pytest.raises(YoyakError, match="holds no checkpoint"):
        TextEncoder(str(tmp_path), None)
    with pytest.raises(YoyakError, match="set `revision`"):
        TextEncoder("klue/roberta-base", None)


def test_the_signature_names_the_model_by_its_content(bert: Path, tmp_path: Path) -> None:
    import shutil

    copy: Any = tmp_path / bert.name
    shutil.copytree(bert, copy)
    first, same = (TextEncoder(str(folder), None).description for folder in (bert, copy))
    assert first == same and str(bert) not in first
    (copy / "config.json").write_text((copy / "config.json").read_text().replace("1e-12", "1e-11"), encoding="utf-8")
    assert TextEncoder(str(copy), None).description != first
    metric = BertScore(settings(), TextEncoder(str(bert), None), layer=2, idf=True)
    assert "|layer:2|idf:references|rescaled:no|references:mean" in metric.signature()
