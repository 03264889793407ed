"""A package in the format GGUF, for llama.cpp and Ollama. llama.cpp's own script converts; yoyak calls it and adds the rest."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yoyak.config.generation_section import Generation
from yoyak.config.model_settings import SETTINGS_FILE, ModelSettings
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_json

CONVERTER_VARIABLE = "YOYAK_GGUF_CONVERTER"
SCRIPT = "convert_hf_to_gguf.py"
MODEL_FILE, MODELFILE = "model.gguf", "Modelfile"
TYPES = ("auto", "f32", "f16", "bf16", "q8_0")  # of numbers, as the script names them
MAGIC = b"GGUF"
PREFIX = "yoyak package --format gguf: "


def find_converter(named: str | None) -> list[str]:
    """The command that starts llama.cpp's converter, without its arguments.

    Args:
        named: a path of the script or of llama.cpp's folder, or a whole command such as "venv/bin/python llama.cpp/convert…".
            None for the variable YOYAK_GGUF_CONVERTER, or a script on the PATH.

    Raises:
        YoyakError: if there is no such file.
    """
    source = "--converter" if named else CONVERTER_VARIABLE
    named = named or os.environ.get(CONVERTER_VARIABLE) or shutil.which(SCRIPT)
    if not named:
        raise YoyakError(
            f"{PREFIX}no converter; get llama.cpp's {SCRIPT} (github.com/ggml-org/llama.cpp) with its folders gguf-py and "
            f"conversion, and name it with --converter PATH or in the variable {CONVERTER_VARIABLE}"
        )
    path = Path(named)
    words = [named] if path.exists() else shlex.split(named)
    if path.is_dir():
        words = [str(path / SCRIPT)]
    if missing := [word for word in words if word.endswith(".py") and not Path(word).is_file()]:
        raise YoyakError(f"{source}: {missing[0]}: no such file; name llama.cpp's {SCRIPT}")
    if len(words) == 1 and words[0].endswith(".py"):
        return [sys.executable, *words]
    if not shutil.which(words[0]):
        raise YoyakError(f"{source}: {words[0]}: no such program; name llama.cpp's {SCRIPT}")
    return words


def convert(model: Path, output: Path, converter: Sequence[str], kind: str) -> None:
    """Convert the folder of a decoder-only model, without a network.

    Args:
        model: in the form of transformers, with its tokenizer.
        output: file to write.
        converter: from `find_converter`.
        kind: one of TYPES.

    Raises:
        YoyakError: with the last lines of the converter, if it fails or writes something else.
    """
    command = [*converter, str(model), "--outfile", str(output), "--outtype", kind]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    printed = f"{done.stdout}\n{done.stderr}".strip()
    if done.returncode:
        raise YoyakError(f"{PREFIX}the converter failed with status {done.returncode}{_advice(printed)}:\n{_last(printed)}")
    if not output.is_file() or output.read_bytes()[: len(MAGIC)] != MAGIC:
        raise YoyakError(f"{PREFIX}the converter has written no GGUF file; is it llama.cpp's {SCRIPT}?\n{_last(printed)}")


def _advice(printed: str) -> str:
    """What to do about failures that are known."""
    if "No module named" in printed:
        return "; install what it imports (pip install gguf sentencepiece), or name another Python: --converter 'PYTHON SCRIPT'"
    if "pre-tokenizer was not recognized" in printed:
        return "; llama.cpp does not know the tokenizer of this model"
    if "is not supported" in printed:
        return "; llama.cpp does not know this kind of model, or not yet: get a newer version"
    return ""


def _last(printed: str, lines: int = 8) -> str:
    return "\n".join(f"  {line}" for line in printed.splitlines()[-lines:])


def modelfile(folder: Path, settings: ModelSettings) -> str:
    """Ollama's Modelfile: the text around a dialogue as the template, and the parameters of decoding.

    Args:
        folder: of the package in the form of transformers.
        settings: its yoyak.json, with sections generation and input.

    Raises:
        YoyakError: if the input is not one text, or Ollama's template language would read something in it.
    """
    generation = settings.generation
    assert generation is not None
    if settings.input is None:
        raise YoyakError(
            f"{SETTINGS_FILE}: input is null: this model reads more than a text around the dialogue (prompt.examples), so that "
            "no template can be written; package it without --format gguf"
        )
    before, after = settings.input.before, settings.input.after
    for mark in ("{{", '"""'):
        if mark in before + after:
            raise YoyakError(f"{SETTINGS_FILE}: input: the text around a dialogue has {mark}, which Ollama reads as its own")
    bos, ends = _special_tokens(folder)
    template = f"{before.removeprefix(bos)}{{{{ .Prompt }}}}{after}"
    lines = [
        f"FROM ./{MODEL_FILE}",
        f'TEMPLATE """{template}"""',
        *(f"PARAMETER {name} {value}" for name, value in parameters(generation, settings.tokenizer.max_input_length).items()),
        *(f'PARAMETER stop "{end}"' for end in ends),
    ]
    return "\n".join(lines) + "\n"


def _special_tokens(folder: Path) -> tuple[str, list[str]]:
    """The token that llama.cpp puts before a prompt, or ""; and the tokens that end a text."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    adds_bos = tokenizer.bos_token_id is not None and tokenizer("가").input_ids[:1] == [tokenizer.bos_token_id]
    path = folder / "generation_config.json"
    ends = (read_json(path) if path.is_file() else {}).get("eos_token_id", tokenizer.eos_token_id)
    texts = tokenizer.convert_ids_to_tokens(ends if isinstance(ends, list) else [ends])
    return (tokenizer.bos_token if adds_bos else ""), [text for text in texts if text and '"' not in text]


def parameters(generation: Generation, max_input_length: int) -> dict[str, Any]:
    """What Ollama knows of the section generation. All are stated, because its defaults are not those of transformers."""
    chosen: dict[str, Any] = {
        "num_ctx": max_input_length + generation.max_new_tokens,
        "num_predict": generation.max_new_tokens,
        "temperature": generation.temperature if generation.do_sample else 0,
        "repeat_penalty": generation.repetition_penalty,
        "repeat_last_n": -1,
    }
    if generation.do_sample:
        chosen |= {"top_p": generation.top_p, "top_k": generation.top_k, "seed": generation.seed}
    return chosen


def what_differs(settings: ModelSettings) -> list[str]:
    """What Ollama does otherwise than yoyak with this model, as sentences."""
    generation = settings.generation
    assert generation is not None
    values = {
        "num_beams": (generation.num_beams, 1),
        "min_new_tokens": (generation.min_new_tokens, 0),
        "no_repeat_ngram_size": (generation.no_repeat_ngram_size, 0),
        "consensus.candidates": (generation.consensus.candidates, 1),
        "blocked_scripts": (list(generation.blocked_scripts), []),
        "long_dialogues": (generation.long_dialogues, "truncate"),
    }
    unknown = [f"`{name}: {value}`" for name, (value, off) in values.items() if value != off]
    sentences = [
        "Weights are stored in the number format that the converter was told, and llama.cpp computes otherwise than PyTorch: "
        "single summaries can differ.",
        f"Ollama does not clean a dialogue. Apply the patterns of `clean_up` in {SETTINGS_FILE} to each line first.",
        f"A dialogue of more than {settings.tokenizer.max_input_length:,} tokens (prompt included) does not lose whole turns: "
        "Ollama cuts the text.",
    ]
    if generation.repetition_penalty != 1:
        sentences.append("`repetition_penalty` counts the prompt, as in transformers, but only its last `num_ctx` tokens.")
    if unknown:
        sentences.append(f"Ollama has none of these settings, with which the scores were measured: {', '.join(unknown)}.")
    return sentences
