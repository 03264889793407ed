"""Translators of every kind, tiny and with random weights: languages, batches, and what is kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.augmentation import tiny_translators
from yoyak.augmentation.text_models.languages import Languages
from yoyak.augmentation.text_models.translator import Translator, open_translator, sentences_of
from yoyak.augmentation.text_models.written import Written
from yoyak.system.errors import YoyakError
from yoyak.system.kept_values import KeptValues

PARAM = "augment.translator.checkpoint"
TEXTS = ["버스를 놓쳤어.", "그럼 택시를 타고 가자.", "돈은 내가 낼게.", "고마워."]


@pytest.fixture(scope="module")
def nllb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_translators.save_nllb(tmp_path_factory.mktemp("translators") / "nllb")


def opened(folder: Path, kept: Path, **changes: Any) -> Translator:
    options: dict[str, Any] = {"num_beams": 2, "batch_size": 2} | changes
    return Translator(str(folder), None, param=PARAM, kept=KeptValues(kept / "translator.jsonl"), **options)


def calls_of(translator: Translator) -> list[dict[str, Any]]:
    """What `generate` is called with from now on, and the tokens that it returns."""
    calls: list[dict[str, Any]] = []
    generate = translator.model.generate

    def spy(**arguments: Any) -> Any:
        calls.append(arguments | {"generated": generate(**arguments)})
        return calls[-1]["generated"]

    translator.model.generate = spy
    return calls


KINDS: dict[str, tuple[Callable[[Path], Path], str, str, str]] = {
    "nllb": (tiny_translators.save_nllb, "kor_Hang", "eng_Latn", "eng_Latn"),
    "mbart-50": (tiny_translators.save_mbart, "ko_KR", "en_XX", "en_XX"),
    "m2m100": (tiny_translators.save_m2m100, "ko", "en", "__en__"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_multilingual_translator_reads_one_language_and_is_made_to_write_the_other(kind: str, tmp_path: Path) -> None:
    save, korean, english, token = KINDS[kind]
    translator = opened(save(tmp_path / kind), tmp_path)
    calls = calls_of(translator)
    translated = translator.translate(TEXTS, source=korean, target=english)
    assert len(translated) == len(TEXTS) and not [one for one in translated if one.text.startswith(token)]
    source, target = (translator.tokenizer.convert_tokens_to_ids(name) for name in (translator.languages.tokens[korean], token))
    for call in calls:
        assert set(call["input_ids"][:, 0].tolist()) == {source}
        assert set(call["generated"][:, 1].tolist()) == {target}, "the first token is the language"
    translator.translate(TEXTS[:1], source=english, target=korean)
    assert calls[-1]["input_ids"][0, 0] == target and calls[-1]["generated"][0, 1] == source


def test_marian_knows_one_direction_or_reads_the_target_before_the_text(tmp_path: Path) -> None:
    one = opened(tiny_translators.save_marian(tmp_path / "one", source="ko", target="en"), tmp_path)
    assert one.languages == Languages("bilingual", {})
    calls = calls_of(one)
    assert all(isinstance(text, Written) for text in one.translate(TEXTS, source="kor", target="eng"))
    assert all("forced_bos_token_id" not in call for call in calls) and len(calls) == 2
    several = opened(
        tiny_translators.save_marian(tmp_path / "more", source="mul", target="mul", codes=(">>kor<<", ">>eng<<")), tmp_path
    )
    assert several.languages.kind == "prefix" and set(several.languages.tokens) == {"kor", "eng"}
    calls = calls_of(several)
    several.translate(TEXTS[:1], source="kor", target="eng")
    assert several.tokenizer.convert_ids_to_tokens(calls[0]["input_ids"][0, 0].item()) == ">>eng<<"


def test_what_is_kept_is_not_translated_again(nllb: Path, tmp_path: Path) -> None:
    first = opened(nllb, tmp_path)
    before = first.translate([*TEXTS, "…", TEXTS[0]], source="kor_Hang", target="eng_Latn")
    assert before[4] == Written("…"), "nothing to translate"
    assert before[0] == before[5] and before[0].text
    again = opened(nllb, tmp_path)
    assert again.translate(TEXTS, source="kor_Hang", target="eng_Latn") == before[:4]
    assert "model" not in again.__dict__, "the weights are not even loaded"
    for changes in ({"num_beams": 1}, {}):
        other = opened(nllb, tmp_path, **changes)
        calls = calls_of(other)
        other.translate(TEXTS, source="kor_Hang", target="eng_Latn" if changes else "jpn_Jpan")
        assert len(calls) == 2, "other settings, or another language"


def test_an_interrupted_call_goes_on_with_the_same_batches(nllb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = opened(nllb, tmp_path / "a")
    calls = calls_of(undisturbed)
    expected = undisturbed.translate(TEXTS, source="kor_Hang", target="eng_Latn")
    killed = opened(nllb, tmp_path / "b")
    generate, count = killed._generate, 0

    def stop_at_second(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        return generate(*arguments)

    monkeypatch.setattr(killed, "_generate", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        killed.translate(TEXTS, source="kor_Hang", target="eng_Latn")
    resumed = opened(nllb, tmp_path / "b")
    later = calls_of(resumed)
    assert resumed.translate(TEXTS, source="kor_Hang", target="eng_Latn") == expected
    assert [call["input_ids"].tolist() for call in later] == [calls[1]["input_ids"].tolist()], "only the second batch"
    assert (tmp_path / "a/translator.jsonl").read_bytes() == (tmp_path / "b/translator.jsonl").read_bytes()


def test_other_weights_are_another_model(nllb: Path, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(nllb, tmp_path / "copy"))
    before = opened(folder, tmp_path).fingerprint
    assert before == opened(nllb, tmp_path).fingerprint
    (folder / "generation_config.json").write_text("{}", encoding="utf-8")
    assert opened(folder, tmp_path).fingerprint != before


def test_a_text_that_is_too_long_is_not_cut(nllb: Path, tmp_path: Path) -> None:
    written = opened(nllb, tmp_path).translate(["고마워 " * 40, "고마워."], source="kor_Hang", target="eng_Latn")
    assert written[0] == Written("", "too_long_for_the_model") and written[1].fault != "too_long_for_the_model"


def test_a_language_that_is_not_known_gets_near_codes(nllb: Path, tmp_path: Path) -> None:
    languages = opened(nllb, tmp_path).languages
    languages.check("kor_Hang", param="p", checkpoint="nllb")
    with pytest.raises(YoyakError, match=r"^augment.translator.korean: nllb does not know the language 'ko_KR'; .*kor_Hang"):
        languages.check("ko_KR", param="augment.translator.korean", checkpoint="nllb")
    with pytest.raises(YoyakError, match="near codes: eng_Latn"):
        languages.check("eng_Lat", param="augment.back_translation.pivots", checkpoint="nllb")
    with pytest.raises(YoyakError, match="near codes: ace_Arab"):
        languages.check("???", param="p", checkpoint="nllb")


def test_a_checkpoint_that_cannot_be_used_is_told_with_its_param(tmp_path: Path, tiny: Path) -> None:
    options: dict[str, Any] = {"param": PARAM, "num_beams": 1, "batch_size": 1, "kept": KeptValues(tmp_path / "k")}
    with pytest.raises(YoyakError, match=r"^augment.translator.checkpoint: is empty"):
        open_translator(None, None, **options)
    with pytest.raises(YoyakError, match=r"^augment.translator.checkpoint: model checkpoint 'facebook/nllb': .*set `revision`"):
        open_translator("facebook/nllb", None, **options)
    with pytest.raises(YoyakError, match=r"^augment.translator.checkpoint: model checkpoint '/no/such': there is no such"):
        open_translator("/no/such", None, **options)
    (tiny / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(YoyakError, match=r"^augment.translator.checkpoint: .*cannot be loaded"):
        open_translator(str(tiny), None, **options).translate(["안녕"], source="a", target="b")


def test_without_sentencepiece_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise ImportError("MarianTokenizer requires the SentencePiece library but it was not found in your environment.")

    folder = tiny_translators.save_marian(tmp_path / "one", source="ko", target="en")
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", fail)
    with pytest.raises(YoyakError, match=r"pip install 'yoyak\[translation\]'"):
        opened(folder, tmp_path)


def test_madlad_reads_the_target_before_the_text() -> None:
    from types import SimpleNamespace

    tokenizer = SimpleNamespace(get_vocab=lambda: {"<2ko>": 1, "<2en>": 2, "<unk>": 3, "en": 4})
    assert Languages.of(tokenizer) == Languages("prefix", {"ko": "<2ko>", "en": "<2en>"})


def test_sentences_are_divided_at_their_ends() -> None:
    assert sentences_of("정말? 3.5점이네! 음… 좋아") == ["정말?", "3.5점이네!", "음…", "좋아"]
    assert sentences_of("고마워") == ["고마워"] and sentences_of("") == []
