"""Votes weighted by probability: the probabilities of each backend, the weights, and the choice."""

import copy
import math
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import DIALOGUES
from tests.inference.test_consensus import consensus, log_probability, table_utility
from tests.inference.test_ctranslate2 import IdTokenizer, converted_writer, loaded, random_model, random_rows, settings
from tests.inference.test_decoding import settings as plain_settings
from yoyak.data import pair_encoding
from yoyak.inference import scoring
from yoyak.inference.backend_choice import backend_named
from yoyak.inference.backends import lean
from yoyak.inference.backends.transformers import TransformersWriter
from yoyak.inference.consensus import ConsensusWriter, choose, weights_by_probability
from yoyak.inference.decoding import generate
from yoyak.inference.outputs import Output
from yoyak.inference.scoring import Scored
from yoyak.models import encoder_decoder, tokenizer_loading
from yoyak.models.families.base import LoadedModel
from yoyak.system.resumable import BatchStore

AGREEMENT = {(one, other): 10.0 * (2 * ord(one) + ord(other) - 291) for one in "abc" for other in "abc" if one != other}


def scored(*rows: tuple[str, float, int]) -> list[Scored]:
    return [Scored(Output(text, hit_limit=False), log, tokens) for text, log, tokens in rows]


def by_hand(row: Sequence[tuple[str, float, int]], temperature: float) -> dict[str, float]:
    """The expected utility of each text, as the papers write it: sum over texts of p(text)^(1/length T) u(one, text) / Z."""
    votes = {text: math.exp(log / tokens / temperature) for text, log, tokens in row}
    return {
        one: sum(vote * (100 if one == other else AGREEMENT[one, other]) for other, vote in votes.items()) / sum(votes.values())
        for one in votes
    }


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_the_choice_is_that_of_a_brute_force(temperature: float) -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        row = [(text, float(-random.uniform(1, 30)), int(random.integers(2, 12))) for text in "abc"]
        (output,) = choose([weights_by_probability(scored(*row), temperature)], table_utility(AGREEMENT))
        expected = by_hand(row, temperature)
        assert {one.text: one.utility for one in output.candidates} == pytest.approx(expected, abs=1e-4)
        assert output.text == max(expected, key=lambda text: expected[text])
        assert sum(one.weight for one in output.candidates) == pytest.approx(1, abs=1e-5), "the file of candidates has them"


def test_a_text_that_was_drawn_twice_weighs_once_and_an_empty_one_never() -> None:
    row = scored(("a", -4.0, 4), ("", -0.001, 1), ("a", -4.0, 4), ("b", -8.0, 4))
    weights = weights_by_probability(row, 0.01)
    assert {one.output.text: one.weight for one in weights} == pytest.approx({"a": 1.0, "b": 0.0}, abs=1e-9)
    half = {one.output.text: one.weight for one in weights_by_probability(row, 1.0)}
    assert half == pytest.approx({"a": 1 / (1 + math.exp(-1)), "b": 1 / (1 + math.e)})
    assert [one.output.text for one in weights_by_probability(scored(("", -1.0, 1)), 1.0)] == [""]


@pytest.mark.parametrize("name", ["bart", "t5", "llama"])
@pytest.mark.parametrize("backend", ["transformers", "ctranslate2"])
def test_the_probability_of_a_candidate_is_the_models_own(name: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compared with logits read text by text, for texts of several lengths that ended (token 1) or were cut off."""
    monkeypatch.setattr(scoring, "LOGITS_AT_ONCE", 24 * 60)  # several passes
    model, rows = random_model(name), random_rows(3)
    texts = [[5, 9, 4, 1], [7, 8, 3, 3, 6, 6], [1], [12, 5, 4, 9, 23, 8], [4, 4, 8, 9, 23, 1], [3, 1]]
    whole = copy.deepcopy(model).eval()  # the converter takes a decoder apart
    chosen = settings(num_beams=2, consensus=consensus(2, "beams"))
    if backend == "transformers":
        writer: Any = TransformersWriter(loaded(model, IdTokenizer()), chosen)
        written: Any = [text + [2] * (6 - len(text)) for text in texts], []
        writer.model.train(True)  # as for source: dropout; the probability is that of the whole model
    else:
        writer = converted_writer(model, chosen)
        written = [[(text, 0.0) for text in texts[start : start + 2]] for start in (0, 2, 4)]
    monkeypatch.setattr(writer, "_generate", lambda *_, **__: written)
    monkeypatch.setattr(f"yoyak.inference.backends.{backend}.outputs_from_tokens", lambda _, rows, **__: rows)
    found = [one for row in writer.write_scored(rows, [""] * 3, seed=0, count=2) for one in row]
    assert [one.tokens for one in found] == [len(text) for text in texts]
    for place, (one, text) in enumerate(zip(found, texts, strict=True)):
        expected = log_probability(whole, rows[place // 2], text)
        assert one.log_probability == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert backend == "ctranslate2" or writer.model.training, "the state is put back"


def tiny_model(tiny: Path) -> LoadedModel:
    tokenizer = tokenizer_loading.load_tokenizer(str(tiny), None, ("#Person1#", "#Person2#"))
    torch.manual_seed(0)
    return LoadedModel("kobart", encoder_decoder.load(str(tiny), None, tokenizer), tokenizer)


def test_lean_gives_the_candidates_of_transformers_with_their_probability(tiny: Path) -> None:
    model = tiny_model(tiny)
    chosen = plain_settings(num_beams=3, repetition_penalty=1.3, consensus=consensus(3, "beams").model_dump())
    encoded = pair_encoding.encode_sources(model.tokenizer, DIALOGUES[:2], 64)
    writers: list[Any] = [one.open(model, chosen, threads=1) for one in (lean.BACKEND, backend_named("transformers"))]
    ours, theirs = (writer.write_scored(encoded, DIALOGUES[:2], seed=0, count=3) for writer in writers)
    for one, other in zip(chain(*ours), chain(*theirs), strict=True):
        assert (one.output, one.tokens) == (other.output, other.tokens)
        assert one.log_probability == pytest.approx(other.log_probability, rel=1e-4)


@pytest.mark.parametrize(
    ("source", "of_source"), [("beams", {"num_beams": 3}), ("samples", {"do_sample": True}), ("dropout", {})]
)
def test_every_source_can_be_weighted_and_continues_after_a_kill(
    tiny: Path, tmp_path: Path, source: str, of_source: dict[str, Any]
) -> None:
    """The second run finds the first batch finished, and writes the rest as the whole run did."""
    weighted = consensus(3, source, weights="probability", weights_temperature=0.5)
    chosen = plain_settings(**of_source, consensus=weighted.model_dump(), batch_size=1)
    model = tiny_model(tiny)
    encoded = pair_encoding.encode_sources(model.tokenizer, DIALOGUES[:2], 64)

    def write(store: BatchStore | None) -> list[Output]:
        writer = ConsensusWriter(TransformersWriter(model, chosen), chosen, "keep_original")
        return generate(writer, encoded, DIALOGUES[:2], settings=chosen, progress="test", kept=store)

    whole = write(BatchStore(tmp_path / "kept.jsonl"))
    assert all(sum(one.weight for one in output.candidates) == pytest.approx(1, abs=1e-5) for output in whole)
    assert any(len({one.weight for one in output.candidates}) > 1 for output in whole), "the weights differ"
    kept = (tmp_path / "kept.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "kept.jsonl").write_text("".join(kept[:-1]))
    again = write(BatchStore(tmp_path / "kept.jsonl"))
    assert [output.text for output in again] == [output.text for output in whole]
    assert [[tuple(one) for one in output.candidates] for output in again] == [
        [tuple(one) for one in output.candidates] for output in whole
    ]


def test_beams_can_weigh_equally(tiny: Path) -> None:
    model = tiny_model(tiny)
    chosen = plain_settings(num_beams=3, consensus=consensus(3, "beams", weights="uniform").model_dump())
    writer = ConsensusWriter(TransformersWriter(model, chosen), chosen, "keep_original")
    encoded = pair_encoding.encode_sources(model.tokenizer, DIALOGUES[:1], 64)
    (output,) = writer.write(encoded, DIALOGUES[:1], seed=0)
    thirds = [3 * one.weight for one in output.candidates]
    assert thirds == pytest.approx([round(weight) for weight in thirds], abs=1e-4)


def test_averaged_models_give_no_probability() -> None:
    chosen = settings(do_sample=True, consensus=consensus(3, weights="probability"))
    model = random_model("bart")
    model.averaged_models = []
    assert "consensus.weights" in str(backend_named("transformers").why_not(loaded(model), chosen))
