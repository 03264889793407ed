"""No dead knobs: every key of augment.translator and augment.writer changes what transformers is called with."""

from pathlib import Path
from typing import Any

import pytest

from tests.augmentation import tiny_translators
from tests.augmentation.model_helpers import TRAIN, workspace
from tests.conftest import ROOT
from yoyak.augmentation.methods.back_translation import BackTranslation
from yoyak.augmentation.methods.paraphrase import Paraphrase
from yoyak.config.params import leaf_keys

LLAMA = str(ROOT / "models/base/llama-tiny")
Calls = list[tuple[str, dict[str, Any]]]


class Spies:
    """Hub names lead to local folders. What `from_pretrained` and `generate` are called with is recorded."""

    def __init__(self, patch: pytest.MonkeyPatch, folders: dict[str, str]) -> None:
        import torch
        import transformers

        from yoyak.system import hardware

        self.calls: Calls = []
        for name in ("AutoTokenizer", "AutoConfig", "AutoModelForSeq2SeqLM", "AutoModelForCausalLM"):
            self._spy_loading(patch, getattr(transformers, name), name, folders)
        generate = transformers.GenerationMixin.generate

        def spy(model: Any, **arguments: Any) -> Any:
            texts = {name: value for name, value in arguments.items() if not isinstance(value, torch.Tensor)}
            processors = [warper for one in texts.pop("logits_processor", []) for warper in one._warpers]
            texts |= {type(one).__name__: vars(one) for one in processors}
            self.calls.append(
                (
                    "generate",
                    texts | {"rows": len(arguments["input_ids"]), "first_tokens": arguments["input_ids"][:, 0].tolist()},
                )
            )
            return generate(model, **arguments)

        patch.setattr(transformers.GenerationMixin, "generate", spy)
        patch.setattr(hardware, "configure_cpu", lambda threads: self.calls.append(("threads", {"count": threads})))
        for place in ("models.checkpoints", "models.tokenizer_loading", "augmentation.text_models.translator"):
            patch.setattr(f"yoyak.{place}.check_hub", lambda *_: None)

    def _spy_loading(self, patch: pytest.MonkeyPatch, loader: Any, name: str, folders: dict[str, str]) -> None:
        load = loader.from_pretrained

        def spy(*inner: Any, **arguments: Any) -> Any:
            if inner:  # transformers calls itself
                return load(*inner, **arguments)
            self.calls.append((name, {key: value for key, value in arguments.items() if key != "config"}))
            arguments["pretrained_model_name_or_path"] = folders[arguments["pretrained_model_name_or_path"]]
            arguments.pop("quantization_config", None)
            return load(**{key: value for key, value in arguments.items() if key != "revision"})

        patch.setattr(loader, "from_pretrained", spy)

    def of(self, name: str) -> list[dict[str, Any]]:
        return [arguments for called, arguments in self.calls if called == name]


@pytest.fixture(scope="module")
def nllb(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_translators.save_nllb(tmp_path_factory.mktemp("model-params") / "nllb"))


TRANSLATOR: dict[str, Any] = {"checkpoint": "hub/a", "revision": "a1", "num_beams": 1, "batch_size": 2}
WRITER: dict[str, Any] = {"checkpoint": "hub/a", "revision": "a1", "max_new_tokens": 5, "batch_size": 2}
CHANGES: dict[str, tuple[Any, str, str, Any]] = {
    # A key of augment, its new value, and what is then called with which argument.
    "translator.checkpoint": ("hub/b", "AutoModelForSeq2SeqLM", "pretrained_model_name_or_path", "hub/b"),
    "translator.revision": ("b2", "AutoModelForSeq2SeqLM", "revision", "b2"),
    "translator.back_checkpoint": ("hub/b", "AutoTokenizer", "pretrained_model_name_or_path", "hub/b"),
    "translator.back_revision": ("b2", "AutoTokenizer", "revision", "b2"),
    "translator.korean": ("kin_Latn", "generate", "first_tokens", None),
    "translator.num_beams": (3, "generate", "num_beams", 3),
    "translator.batch_size": (1, "generate", "rows", 1),
    "writer.checkpoint": ("hub/b", "AutoModelForCausalLM", "pretrained_model_name_or_path", "hub/b"),
    "writer.revision": ("b2", "AutoModelForCausalLM", "revision", "b2"),
    "writer.quantization": ("int8", "AutoModelForCausalLM", "quantization_config", None),
    "writer.max_new_tokens": (7, "generate", "max_new_tokens", 7),
    "writer.temperature": (0.5, "generate", "TemperatureLogitsWarper", {"temperature": 0.5}),
    "writer.top_p": (0.5, "generate", "TopPLogitsWarper", None),
    "writer.batch_size": (1, "generate", "rows", 1),
}


def record(place: tuple[dict[str, Any], Path], patch: pytest.MonkeyPatch, nllb: str, name: str, value: Any) -> Spies:
    """What the method that reads a key calls with this value, for two rows."""
    (values, folder), (section, key) = place, name.split(".")
    other = {"translator.back_revision": {"back_checkpoint": "hub/b", "back_revision": "a1"}}.get(name, {})
    other |= {"back_revision": "b1"} if name == "translator.back_checkpoint" else {}
    base = (TRANSLATOR if section == "translator" else WRITER) | other
    model = nllb if section == "translator" else LLAMA
    spies = Spies(patch, {"hub/a": model, "hub/b": model})
    space = workspace(values, folder, **{section: base | ({key: value} if value is not None else {})})
    method_class = BackTranslation if section == "translator" else Paraphrase
    settings = getattr(space.params.augment, method_class.name).model_copy(update={"of": "summary"})
    method = method_class(settings.model_copy(update={"rate": 1.0}), space)
    method.write(method.tasks(TRAIN[:2]))
    return spies


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    # bitsandbytes takes seconds to import
    [pytest.param(name, marks=[pytest.mark.very_slow] * (name == "writer.quantization")) for name in CHANGES],
)
def test_a_key_changes_what_is_called(values: dict[str, Any], tmp_path: Path, nllb: str, name: str) -> None:
    value, called, argument, expected = CHANGES[name]
    with pytest.MonkeyPatch.context() as patch:
        before = [call.get(argument) for call in record((values, tmp_path / "a"), patch, nllb, name, None).of(called)]
    with pytest.MonkeyPatch.context() as patch:
        spies = record((values, tmp_path / "b"), patch, nllb, name, value)
    after = [call.get(argument) for call in spies.of(called)]
    assert before != after
    if expected is not None:
        assert expected in after and expected not in before
    assert spies.of("threads") == [{"count": values["hardware"]["cpu_threads"]}]


def test_every_key_of_the_models_is_shown_here_or_in_the_tests_of_the_endpoint() -> None:
    keys = {key.removeprefix("augment.") for key in leaf_keys() if key.startswith(("augment.translator.", "augment.writer."))}
    assert keys - set(CHANGES) == {"writer.source"}, "text_models/test_endpoint_chat.py"


def test_doctor_says_which_models_are_used_and_what_is_missing(values: dict[str, Any], tmp_path: Path, nllb: str) -> None:
    from yoyak.augmentation.report import describe_plan
    from yoyak.system.errors import YoyakError

    def plan(**changes: Any) -> str:
        return describe_plan(workspace(values, tmp_path, **changes).params)

    def nothing_is_on() -> None:
        for name in ("paraphrase", "synthesize", "back_translation", "pseudo_label"):
            values["augment"][name]["rate"] = 0.0

    assert plan(paraphrase={"rate": 1.0}, writer={"checkpoint": LLAMA}) == f"paraphrase: 1 for each train row ({LLAMA})"
    with pytest.raises(YoyakError, match=r"^augment.writer.checkpoint: "):
        plan(writer={"checkpoint": "/no/such"})
    values["model"]["endpoint"] |= {"provider": "openai", "base_url": None, "model": "gpt"}
    with pytest.raises(YoyakError, match="OPENAI_API_KEY: not set"):
        plan(writer={"source": "endpoint"})
    values["model"]["endpoint"] |= {"provider": "local"}
    assert plan(synthesize={"rate": 0.5}).endswith("synthesize: 0.5 for each train row (gpt at http://localhost:8000/v1)")
    nothing_is_on()
    assert plan(back_translation={"rate": 1.0}, translator={"checkpoint": nllb}).endswith(f"({nllb})")
    with pytest.raises(YoyakError, match=r"^augment.back_translation.pivots: .*'eng_Latx'; near codes: eng_Latn"):
        plan(back_translation={"pivots": ["eng_Latx"]})
    with pytest.raises(YoyakError, match=r"^augment.back_translation.pivots: 'xx': with `by: writer`"):
        plan(back_translation={"by": "writer", "pivots": ["xx"]})
    nothing_is_on()
    with pytest.raises(YoyakError, match=r"^augment.pseudo_label.model: .*/teacher: no such folder"):
        plan(pseudo_label={"rate": 1.0, "model": str(tmp_path / "teacher")})
