"""Consensus of several summaries: the choice by hand, where the candidates come from, and that they are kept."""

import copy
import json
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import DIALOGUES
from tests.inference.test_ctranslate2 import IdTokenizer, converted_writer, loaded, random_model, random_rows, settings
from tests.inference.test_decoding import settings as plain_settings
from yoyak.config.generation_section import Consensus
from yoyak.data import pair_encoding
from yoyak.inference import backend_choice
from yoyak.inference.backends.transformers import TransformersWriter
from yoyak.inference.consensus import (
    ConsensusWriter,
    Weighted,
    candidate_seed,
    choose,
    chrf_utility,
    expected_utilities,
    rouge_utility,
)
from yoyak.inference.outputs import Candidate, Output, candidate_rows
from yoyak.models import encoder_decoder, tokenizer_loading
from yoyak.models.families.base import LoadedModel
from yoyak.system.resumable import BatchStore


def consensus(candidates: int = 3, source: Any = "samples", **changes: Any) -> Consensus:
    return Consensus(**Consensus.off().model_dump() | {"candidates": candidates, "source": source} | changes)


def table_utility(table: dict[tuple[str, str], float]) -> Any:
    return lambda pairs: np.array([table[pair] for pair in pairs])


AGREEMENT = {("a", "b"): 60.0, ("b", "a"): 50.0, ("a", "c"): 0.0, ("c", "a"): 10.0, ("b", "c"): 40.0, ("c", "b"): 20.0}


def test_the_utility_is_the_mean_over_all_candidates_by_their_weights() -> None:
    rows = [[("a", 0.5), ("b", 0.25), ("c", 0.25)], [("a", 1.0)]]
    assert expected_utilities(rows, table_utility(AGREEMENT)) == [
        [0.5 * 100 + 0.25 * 60, 0.5 * 50 + 0.25 * 100 + 0.25 * 40, 0.5 * 10 + 0.25 * 20 + 0.25 * 100],
        [100.0],
    ]


def test_the_text_that_agrees_most_is_taken() -> None:
    def weighted(*texts: str) -> list[Weighted]:
        return [Weighted(Output(text, hit_limit=text == "b"), 1 / len(texts)) for text in texts]

    first, second, third = choose([weighted("a", "b", "c"), weighted("c", "c", "a"), weighted("a")], table_utility(AGREEMENT))
    assert (first.text, first.hit_limit) == ("b", True), "its other values come with it"
    assert [round(candidate.utility, 2) for candidate in first.candidates] == [53.33, 63.33, 43.33]
    assert second.text == "c", "a text that was written twice weighs twice"
    assert [(candidate.text, round(candidate.weight, 4)) for candidate in second.candidates] == [("c", 0.6667), ("a", 0.3333)]
    assert third.candidates == (Candidate("a", 1.0, 100.0),)


def test_an_empty_text_is_no_candidate_beside_others() -> None:
    """The default model gave it more than half of the probability of eight beams for some dialogues."""
    beams = [Weighted(Output(text, hit_limit=False), weight) for text, weight in (("a", 0.25), ("", 0.5), ("b", 0.25))]
    (output,) = choose([beams], table_utility(AGREEMENT))
    assert output.candidates == (Candidate("a", 0.5, 80.0), Candidate("b", 0.5, 75.0))
    (empty,) = choose([[Weighted(Output("", hit_limit=False), 1.0)]], table_utility({}))
    assert empty.text == ""


@pytest.mark.parametrize("make", [rouge_utility, chrf_utility])
def test_the_utilities_measure_agreement(make: Any) -> None:
    near, far = "친구와 점심을 먹었습니다.", "내일 병원에 갑니다."
    equal, close, other = make()([(near, near), (near, "친구와 점심을 먹었다."), (near, far)])
    assert equal == pytest.approx(100)
    assert 100 > close > other >= 0


class Listed:
    """A writer that writes the next of these texts at each call."""

    def __init__(self, *texts: str) -> None:
        self.texts = iter(texts)

    def write(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int) -> list[Output]:
        return [Output(next(self.texts), hit_limit=False)]


@pytest.mark.parametrize(("points", "expected"), [(0, 0), (60, 2)])
def test_a_summary_loses_points_for_facts_that_the_dialogue_does_not_state(points: float, expected: int) -> None:
    """Two of three say 5시 where the dialogue says 세 시, and agree. The tags of the dialogue are written as P1."""
    texts = ("P1은 5시에 회의를 합니다.", "P1은 5시에 회의합니다.", "P1은 3시에 회의를 합니다.")
    chosen = plain_settings(do_sample=True, consensus=consensus(3, facts=points).model_dump())
    writer = ConsensusWriter(Listed(*texts), chosen, "simplify")
    (output,) = writer.write([[1]], ["P1: 회의는 세 시입니다."], seed=0)
    assert output.text == texts[expected]
    wrong, right = output.candidates[0].utility, output.candidates[2].utility
    plain = ConsensusWriter(Listed(*texts), plain_settings(do_sample=True, consensus=consensus(3).model_dump()), "simplify")
    (before,) = plain.write([[1]], ["P1: 회의는 세 시입니다."], seed=0)
    assert before.candidates[0].utility - wrong == pytest.approx(points, abs=1e-3), "one fact: the hour, and not the tag"
    assert before.candidates[2].utility == right


class Recorded:
    """A writer that writes its seed and its row."""

    rows_at_once = 7

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def write(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int) -> list[Output]:
        self.seeds.append(seed)
        return [Output(f"요약: 사람 {ids} 말 {seed % 2}", hit_limit=False) for ids in encoded]


def test_each_sample_has_a_seed_of_its_own() -> None:
    recorded = Recorded()
    writer = ConsensusWriter(recorded, plain_settings(do_sample=True, consensus=consensus(5).model_dump()), "keep_original")
    outputs = writer.write([1, 2], ["", ""], seed=42)
    assert recorded.seeds == [42, 1000045, 2000048, 3000051, 4000054]
    assert candidate_seed(2**32 - 1, 0) == 2**32 - 1
    assert all(candidate_seed(2**32 - 1, number) < 2**31 for number in range(1, 9))
    assert [output.text for output in outputs] == ["사람 1 말 0", "사람 2 말 0"], "three of five; without artefacts"
    assert writer.rows_at_once == 7, "what else the writer has"


@pytest.mark.parametrize("name", ["bart", "llama"])
def test_beams_are_weighted_by_their_probability(name: str) -> None:
    """The probability of a beam is that of its tokens, one after another, read from the model's logits."""
    model, rows = random_model(name), random_rows(3)
    beams = settings(num_beams=4, max_new_tokens=6, length_penalty=1.5, consensus=consensus(3, "beams"))
    tokenizer = IdTokenizer()
    writer = TransformersWriter(loaded(model, tokenizer), beams)
    texts: list[list[int]] = []
    writer_tokens = writer._generate(rows, [""] * 3, seed=0, count=3)
    for place, ids in enumerate(writer_tokens[0]):
        count = writer._count(ids)
        texts.append(ids[:count])
        log = writer_tokens[1][place] * count**1.5
        assert log == pytest.approx(log_probability(model, rows[place // 3], ids[:count]), rel=1e-3)
    assert all(len({tuple(ids) for ids in texts[start : start + 3]}) == 3 for start in (0, 3, 6))


def log_probability(model: Any, source: Sequence[int], new: Sequence[int]) -> float:
    with torch.inference_mode():
        if model.config.is_encoder_decoder:
            start = model.config.decoder_start_token_id
            logits = model(torch.tensor([source]), decoder_input_ids=torch.tensor([[start, *new[:-1]]])).logits[0]
        else:
            logits = model(torch.tensor([[*source, *new[:-1]]])).logits[0, len(source) - 1 :]
        return float(logits.log_softmax(-1)[range(len(new)), list(new)].sum())


@pytest.mark.parametrize("name", ["bart", "llama"])
def test_ctranslate2_gives_the_beams_of_transformers(name: str) -> None:
    model, rows = random_model(name), random_rows(6)
    beams = settings(num_beams=4, max_new_tokens=8, consensus=consensus(3, "beams"))
    expected = TransformersWriter(loaded(copy.deepcopy(model)), beams)
    tokens, scores = expected._generate(rows, [""] * 6, seed=0, count=3)
    actual = converted_writer(model, beams)._generate(rows, count=3)
    equal = 0
    for place, ids in enumerate(tokens):
        ours, score = actual[place // 3][place % 3]
        if ours == ids[: expected._count(ids)]:
            equal += 1
            assert score == pytest.approx(scores[place], rel=1e-3)
    assert equal >= 16, "of 18"


def test_dropout_gives_different_candidates(tiny: Path) -> None:
    tokenizer = tokenizer_loading.load_tokenizer(str(tiny), None, ("#Person1#", "#Person2#"))
    torch.manual_seed(0)
    model = encoder_decoder.load(str(tiny), None, tokenizer)
    chosen = plain_settings(consensus=consensus(4, "dropout").model_dump())
    writer = ConsensusWriter(TransformersWriter(LoadedModel("kobart", model, tokenizer), chosen), chosen, "keep_original")
    encoded = pair_encoding.encode_sources(tokenizer, DIALOGUES[:2], 64)
    first = writer.write(encoded, DIALOGUES[:2], seed=1)
    assert [len(output.candidates) > 1 for output in first] == [True, True]
    assert writer.write(encoded, DIALOGUES[:2], seed=1) == first
    plain = TransformersWriter(LoadedModel("kobart", model, tokenizer), plain_settings())
    assert not plain.model.training, "without a consensus there is no dropout"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"consensus": consensus(3)}, "consensus.source: samples are all the same without generation.do_sample: true"),
        (
            {"consensus": consensus(3, "beams"), "num_beams": 2},
            r"candidates: 3 are more than generation.num_beams \(2\)",
        ),
        ({"consensus": consensus(3, "beams"), "num_beams": 4, "do_sample": True}, "beams need generation.do_sample: false"),
    ],
)
def test_candidates_that_would_all_be_equal_are_refused(changes: dict[str, Any], message: str) -> None:
    changes["consensus"] = changes["consensus"].model_dump()
    with pytest.raises(ValueError, match=message):
        plain_settings(**changes)


def test_backends_that_cannot_write_the_candidates_say_so() -> None:
    model = random_model("bart")
    dropout = settings(consensus=consensus(3, "dropout"))
    reason = backend_choice.backend_named("ctranslate2").why_not(loaded(model), dropout)
    assert "generation.consensus.source dropout" in str(reason)


def test_candidates_survive_an_interrupted_run(tmp_path: Path) -> None:
    output = Output("가 #P", hit_limit=False, candidates=(Candidate("가 #P", 0.75, 90.0), Candidate("나", 0.25, 40.0)))
    store = BatchStore(tmp_path / "dev.jsonl")
    store.add(0, [astuple(output)])
    again = Output(*BatchStore(tmp_path / "dev.jsonl").finished[0][0])

    def rows_of(one: Output) -> list[dict[str, Any]]:
        return list(candidate_rows([{"fname": "dev_0"}], [one], lambda texts: [text + "erson1#" for text in texts]))

    rows = [rows_of(output), rows_of(again)]
    assert rows[0] == rows[1]
    assert json.loads(json.dumps(rows[0])) == [
        {
            "fname": "dev_0",
            "candidates": [
                {"text": "가 #Person1#", "weight": 0.75, "utility": 90.0, "chosen": True},
                {"text": "나erson1#", "weight": 0.25, "utility": 40.0, "chosen": False},
            ],
        }
    ]
