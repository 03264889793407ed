"""Packages as GGUF: how the converter is found and called, and what stands in Ollama's Modelfile.

The tests call a stand-in for llama.cpp's converter. With YOYAK_GGUF_CONVERTER and the package gguf, the real one runs too.
"""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.inference.test_packaging import Trained
from yoyak.config.generation_section import Generation
from yoyak.config.model_settings import ModelSettings
from yoyak.config.params import parse_params
from yoyak.config.sections import Params
from yoyak.inference.gguf import MODEL_FILE, convert, find_converter, modelfile, parameters, what_differs
from yoyak.inference.packaging import write_gguf_package
from yoyak.system.atomic import atomic_folder
from yoyak.system.errors import YoyakError

LLAMA = ROOT / "models/base/llama-tiny"
GREEDY = Generation.plain(max_new_tokens=40, num_beams=1)


def script(folder: Path, body: str) -> Path:
    """A converter that does something else than llama.cpp's."""
    path = folder / "convert_hf_to_gguf.py"
    path.write_text(f"import sys\nfrom pathlib import Path\n{body}\n", encoding="utf-8")
    return path


def settings(
    params: Params, generation: Generation, before: str = "<|begin|><|user|>", after: str = "<|end|>"
) -> ModelSettings:
    return ModelSettings.model_validate(
        {
            "format": 1,
            "family": "qlora",
            "preprocess": params.preprocess,
            "tokenizer": params.tokenizer,
            "prompt": params.prompt,
            "names_topic": False,
            "clean_up": [],
            "input": {"before": before, "after": after},
            "generation": generation,
        }
    )


def test_the_converter_is_found_by_a_file_a_folder_a_command_or_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("YOYAK_GGUF_CONVERTER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(YoyakError, match="no converter; get llama"):
        find_converter(None)
    path = script(tmp_path, "")
    assert find_converter(str(path)) == find_converter(str(tmp_path)) == [sys.executable, str(path)]
    assert find_converter(f"{sys.executable} {path}") == [sys.executable, str(path)]
    monkeypatch.setenv("YOYAK_GGUF_CONVERTER", str(path))
    assert find_converter(None) == [sys.executable, str(path)]
    for wrong, message in (
        (str(tmp_path / "gone.py"), "--converter: .*gone.py: no such file"),
        (str(tmp_path / "sub"), "no such program"),
        (f"{sys.executable} gone.py", "gone.py: no such file"),
    ):
        with pytest.raises(YoyakError, match=message):
            find_converter(wrong)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("import missing_package", "failed with status 1; install what it imports(.|\n)*missing_package"),
        ("raise NotImplementedError('BPE pre-tokenizer was not recognized')", "does not know the tokenizer of this model"),
        ("sys.exit(3)", "failed with status 3"),
        ("", "has written no GGUF file"),
        ("Path(sys.argv[3]).write_bytes(b'text')", "has written no GGUF file"),
    ],
)
def test_a_converter_that_fails_is_quoted(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(YoyakError, match=message):
        convert(tmp_path, tmp_path / MODEL_FILE, [sys.executable, str(script(tmp_path, body))], "auto")


def test_the_modelfile_has_the_prompt_and_all_settings_that_ollama_knows(params: Params) -> None:
    text = modelfile(LLAMA, settings(params, GREEDY))
    length = params.tokenizer.max_input_length
    assert 'TEMPLATE """<|begin|><|user|>{{ .Prompt }}<|end|>"""' in text and 'PARAMETER stop "<|end|>"' in text
    assert f"PARAMETER num_ctx {length + 40}\n" in text and "PARAMETER num_predict 40\n" in text
    assert "PARAMETER temperature 0\n" in text and "PARAMETER repeat_penalty 1.0\n" in text and "top_p" not in text
    sampled = GREEDY.model_copy(update={"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 5, "seed": 3})
    assert parameters(sampled, 10) | {"temperature": 0.7, "top_p": 0.8, "top_k": 5, "seed": 3} == parameters(sampled, 10)


def test_text_that_ollama_would_read_as_its_own_is_refused(params: Params) -> None:
    for before in ("{{ .System }}", 'a """'):
        with pytest.raises(YoyakError, match=r"which Ollama reads as its own"):
            modelfile(LLAMA, settings(params, GREEDY, before=before))
    without = settings(params, GREEDY).model_copy(update={"input": None})
    with pytest.raises(YoyakError, match=r"input is null"):
        modelfile(LLAMA, without)


def test_the_card_names_the_settings_that_ollama_lacks(params: Params) -> None:
    beams = GREEDY.model_copy(update={"num_beams": 4, "repetition_penalty": 1.2})
    sentences = " ".join(what_differs(settings(params, beams)))
    assert "`num_beams: 4`" in sentences and "min_new_tokens" not in sentences and "repetition_penalty" in sentences
    assert "none of these settings" not in " ".join(what_differs(settings(params, GREEDY)))


def package(trained: Trained, converter: list[str], kind: str = "f32") -> Path:
    folder = trained.root / "packages/gguf"
    with atomic_folder(folder) as new:
        write_gguf_package(
            trained.model,
            new,
            params=trained.params,
            predict_report=trained.report,
            scores=trained.scores,
            converter=converter,
            kind=kind,
        )
    return folder


def trained_as(family: str, values: dict[str, Any], folder: Path) -> Trained:
    values["model"]["family"] = family
    for name, base in (("kobart", "kobart-tiny"), ("qlora", "llama-tiny")):
        values["model"][name]["checkpoint"] = str(ROOT / "models/base" / base)
    values["generation"] |= {"num_beams": 1, "max_new_tokens": 24}
    return Trained(folder, parse_params(values, source="test"))


@pytest.mark.slow
def test_a_package_has_what_the_converter_wrote_of_the_merged_model(values: dict[str, Any], tmp_path: Path) -> None:
    trained = trained_as("qlora", values, tmp_path / "repository")
    body = "Path(sys.argv[3]).write_bytes(b'GGUF' + (Path(sys.argv[1]) / 'model.safetensors').read_bytes()[:8])"
    folder = package(trained, [sys.executable, str(script(tmp_path, body))])
    assert {path.name for path in folder.iterdir()} == {"model.gguf", "Modelfile", "README.md", "SHA256SUMS", "yoyak.json"}
    assert (folder / "model.gguf").read_bytes().startswith(b"GGUF")
    assert "ollama create gguf -f Modelfile" in (folder / "README.md").read_text(encoding="utf-8")
    first = (folder / "SHA256SUMS").read_bytes()
    assert (package(trained, [sys.executable, str(script(tmp_path, body))]) / "SHA256SUMS").read_bytes() == first


@pytest.mark.slow
def test_an_encoder_decoder_is_refused(values: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(YoyakError, match="GGUF is for decoder-only models"):
        package(trained_as("kobart", values, tmp_path / "repository"), [])


WRAPPER = """
import runpy
folder = {folder!r}
sys.path[:0] = [folder, folder + "/gguf-py"]
import conversion.base
# llama-tiny splits texts as GPT-2 does; llama.cpp knows tokenizers by hashes of models that are public.
conversion.base.TextModel.get_vocab_base_pre = lambda self, tokenizer: "gpt-2"
sys.argv[0] = folder + "/convert_hf_to_gguf.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.very_slow
def test_the_converter_of_llama_cpp_writes_a_file_that_gguf_reads(values: dict[str, Any], tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="the package gguf is not installed: pip install gguf")
    if not (named := os.environ.get("YOYAK_GGUF_CONVERTER")):
        pytest.skip("set YOYAK_GGUF_CONVERTER to llama.cpp's convert_hf_to_gguf.py")
    trained = trained_as("qlora", values, tmp_path / "repository")
    wrapper = script(tmp_path, WRAPPER.format(folder=str(Path(find_converter(named)[-1]).parent)))
    reader = gguf.GGUFReader(package(trained, [sys.executable, str(wrapper)]) / "model.gguf")
    assert reader.fields["general.architecture"].contents() == "llama"
    assert "#Person1#" in reader.fields["tokenizer.ggml.tokens"].contents()
    assert len(reader.tensors) == 29
