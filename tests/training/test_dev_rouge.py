from pathlib import Path
from typing import Any

import datasets
import pytest
import torch

from tests.conftest import DIALOGUES, SUMMARIES, generate_with_transformers
from tests.training.helpers import REFERENCES, load_tiny_model, load_tiny_tokenizer, tokenized_splits, train_tiny
from yoyak.config.generation_section import Consensus
from yoyak.config.sections import Params
from yoyak.data import pair_encoding
from yoyak.data.person_tags import replace_person_tags
from yoyak.evaluation import rouge
from yoyak.evaluation.morphemes import Morphemes
from yoyak.inference.backends.ctranslate2 import CTranslate2Writer
from yoyak.inference.backends.transformers import TransformersBackend
from yoyak.inference.outputs import Output
from yoyak.training import dev_rouge
from yoyak.training.dev_rouge import DevReferences, dev_rouge_function


def dev_rouge_of(params: Params, dev: Any, *, beams: int = 1, references: DevReferences = REFERENCES) -> Any:
    training = params.training.model_copy(update={"generation_num_beams": beams})
    return dev_rouge_function(dev, load_tiny_tokenizer(params), training, references=references, max_target_length=48)


def test_rouge_compares_what_the_model_writes_with_the_references(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = list(SUMMARIES)
    monkeypatch.setattr(dev_rouge, "generate", lambda *_, **__: [Output(text, hit_limit=False) for text in texts])
    tokenizer = load_tiny_tokenizer(params)
    rouge_of = dev_rouge_of(params, tokenized_splits(tokenizer)["dev"])
    model = load_tiny_model(params, tokenizer)
    assert rouge_of(model) == {"rouge1": 100, "rouge2": 100, "rougeL": 100, "rouge_sum": 300, "rouge_mean": 100}
    texts[:] = texts[1:] + texts[:1]  # each row is compared with another row's summary
    assert 0 < rouge_of(model)["rouge_sum"] < 250
    texts[:] = [""] * 8
    assert rouge_of(model)["rouge_sum"] == 0


def test_rouge_is_that_of_predict_and_score_with_the_same_settings(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """What selects the best checkpoint is what the later stages compute, although CTranslate2 writes here."""
    tokenizer = load_tiny_tokenizer(params)
    dev = tokenized_splits(tokenizer)["dev"]
    rouge_of = dev_rouge_of(params, dev, beams=2)
    model = load_tiny_model(params, tokenizer)
    with monkeypatch.context() as patch:
        patch.setattr(TransformersBackend, "open", None)  # CTranslate2 writes
        found = rouge_of(model)
    changes = {"num_beams": 2, "max_new_tokens": 48, "early_stopping": True, "batch_size": 3}
    ids = pair_encoding.encode_sources(tokenizer, DIALOGUES, 128)
    settings = params.generation.model_copy(update=changes)
    outputs = generate_with_transformers(load_tiny_model(params, tokenizer), tokenizer, ids, DIALOGUES, settings)
    scores = rouge.score_rows(
        predictions=[output.text for output in outputs],
        references=[[text] for text in SUMMARIES],
        tokenizer=Morphemes(),
    )
    assert found == rouge.summarize(scores)
    assert found["rouge_sum"] > 0


def test_it_does_not_touch_the_training(params: Params) -> None:
    """The model's generation settings stay, and so do the random numbers that dropout uses."""

    def states() -> list[torch.Tensor]:
        return [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]

    tokenizer = load_tiny_tokenizer(params)
    rouge_of = dev_rouge_of(params, tokenized_splits(tokenizer)["dev"])
    model = load_tiny_model(params, tokenizer)
    generation_config = model.generation_config
    before, values_before = states(), generation_config.to_dict()
    first = rouge_of(model)
    assert model.generation_config is generation_config
    assert generation_config.to_dict() == values_before
    assert all(torch.equal(old, new) for old, new in zip(before, states(), strict=True))
    assert rouge_of(model) == first


def test_references_are_whole_and_have_the_tags_of_the_data(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels are cut at max_target_length. The model writes P1, the references have #Person1#. There can be several."""
    tokenizer = load_tiny_tokenizer(params)
    dev = tokenized_splits(tokenizer)["dev"]
    cut = [row[:3] for row in dev["labels"]]
    dev = dev.remove_columns("labels").add_column("labels", cut)
    model = load_tiny_model(params, tokenizer)
    written = [replace_person_tags(text, "simplify") for text in SUMMARIES]
    monkeypatch.setattr(dev_rouge, "generate", lambda *_, **__: [Output(text, hit_limit=False) for text in written])
    whole = DevReferences([[text] for text in SUMMARIES], "simplify")
    assert dev_rouge_of(params, dev, references=whole)(model)["rouge_sum"] == 300
    two = DevReferences([[text, "전혀 다른 말"] for text in SUMMARIES], "simplify")
    assert dev_rouge_of(params, dev, references=two)(model)["rouge_sum"] == pytest.approx(150, abs=10)
    few = dev.select(range(3))  # training.debug
    written[:] = written[:3]
    assert dev_rouge_of(params, few, references=whole)(model)["rouge_sum"] == 300


def test_a_decoder_only_model_reads_the_prompt(params: Params, generate_calls: list[dict[str, Any]]) -> None:
    """Its rows hold both. The labels show where the target starts."""
    tokenizer = load_tiny_tokenizer(params)
    prompts = pair_encoding.encode_sources(tokenizer, DIALOGUES[:3], 128)
    targets = pair_encoding.encode_targets(tokenizer, [SUMMARIES[0], "비가 온다", SUMMARIES[2]], 48)
    rows = list(zip(prompts, targets, strict=True))
    dev = datasets.Dataset.from_dict(
        {
            "input_ids": [prompt + target for prompt, target in rows],
            "labels": [[-100] * len(prompt) + target for prompt, target in rows],
        }
    )
    rouge_of = dev_rouge_of(params, dev)
    rouge_of(load_tiny_model(params, tokenizer))
    assert generate_calls[0]["ids"] == prompts


def test_the_settings_of_generation_come_from_the_section_training(
    params: Params, tmp_path: Path, evaluated: Any, generate_calls: Any
) -> None:
    """The section `generation` has no effect, nor have the settings of the checkpoint."""
    tokenizer = load_tiny_tokenizer(params)
    for beams in (1, 3):
        train_tiny(params, tmp_path / str(beams), generation_num_beams=beams, per_device_eval_batch_size=5, seed=9)
    first, second = generate_calls
    assert all(isinstance(call["writer"], CTranslate2Writer) for call in generate_calls)  # converted to CTranslate2
    assert first["ids"] == [list(row) for row in tokenized_splits(tokenizer)["dev"]["input_ids"]]
    assert len(first["dialogues"]) == len(first["ids"])
    assert first["settings"].model_dump() == {
        "max_new_tokens": 48,
        "min_new_tokens": 0,
        "num_beams": 1,
        "do_sample": False,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "repetition_penalty": 1.0,
        "length_penalty": 1.0,
        "no_repeat_ngram_size": 0,
        "early_stopping": True,
        "blocked_scripts": [],
        "seed": 9,
        "batch_size": 5,
        "backend": "auto",
        "postprocess": "never",
        "long_dialogues": "truncate",
        "window_overlap": 2,
        "window_merge": "turns",
        "consensus": Consensus.off().model_dump(),
        "restore_speakers": False,
    }
    assert second["settings"] == first["settings"].model_copy(update={"num_beams": 3})
