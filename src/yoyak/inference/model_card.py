"""The model card of a package: what the model is, how well it scores, and code that runs it with transformers alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yoyak.config.model_settings import ModelSettings
from yoyak.config.sections import Params
from yoyak.evaluation.score_table import score_table

EXAMPLE = r"#Person1#: 점심 먹었어? ㅋㅋ\n#Person2#: 아직. 같이 먹을래?"


def snippet(folder: str, *, decoder_only: bool) -> str:
    """Code that summarizes one dialogue with a package, without yoyak. The how-to page "use-elsewhere" has the same code."""
    kind = "AutoModelForCausalLM" if decoder_only else "AutoModelForSeq2SeqLM"
    new_tokens = "output[batch.input_ids.shape[1] :]" if decoder_only else "output"
    return f'''\
import json
import re
from pathlib import Path

from transformers import {kind}, AutoTokenizer

folder = Path("{folder}")
settings = json.loads((folder / "yoyak.json").read_text(encoding="utf-8"))
tokenizer = AutoTokenizer.from_pretrained(folder)
model = {kind}.from_pretrained(folder).eval()

dialogue = "{EXAMPLE}"
lines = dialogue.split("\\n")
for pattern, replacement in settings["clean_up"]:
    lines = [re.sub(pattern, replacement, line) for line in lines]
text = settings["input"]["before"] + "\\n".join(lines) + settings["input"]["after"]
batch = tokenizer(text, add_special_tokens=False, return_tensors="pt")
output = model.generate(batch.input_ids, attention_mask=batch.attention_mask)[0]
summary = [token for token in {new_tokens}.tolist() if token not in tokenizer.all_special_ids]
print(" ".join(tokenizer.decode(summary).replace("\\ufffd", "").split()))
'''


def what_the_snippet_lacks(settings: ModelSettings) -> list[str]:
    """What `Summarizer` does with a package and the snippet does not, as sentences."""
    generation, lengths = settings.generation, settings.tokenizer
    too_long = f"loses whole turns (`truncation: {lengths.truncation}`)"
    if generation and generation.long_dialogues == "windows":
        too_long = "is read in windows (`long_dialogues`)"
    lacks = [
        f"A dialogue of more than {lengths.max_input_length:,} tokens (prompt included) {too_long}.",
        "Raw text is repaired: Unicode forms, control characters, lines without a speaker, broken tags.",
        "Parts of an output that are no summary are removed, such as `<think>…</think>` and code fences.",
    ]
    if settings.clean_up is None:
        lacks.append("`clean_up` is null: the cleaning of this model needs yoyak, and the code below does not run without it.")
    if settings.input is None:
        lacks.append("`input` is null: the input of this model needs yoyak, and the code below does not run without it.")
    if generation and generation.blocked_scripts:
        lacks.append(f"Letters of these scripts are never written: {', '.join(generation.blocked_scripts)}.")
    if settings.postprocess:
        lacks.append("The end of a summary that was cut off is repaired (`postprocess`).")
    return lacks


def model_card(settings: ModelSettings, *, params: Params, scores: dict[str, Any], decoder_only: bool, name: str) -> str:
    """The README.md of a package.

    Args:
        settings: the yoyak.json of the package.
        params: sections data, model, pretrain and training, and lora for a decoder-only model.
        scores: the content of metrics/scores.json.
        decoder_only: whether the model is decoder-only.
        name: of the package.
    """
    tag = "text-generation" if decoder_only else "summarization"
    lines = [
        *_about(settings, params, scores, name, ("library_name: transformers", f"pipeline_tag: {tag}")),
        "## Use it with transformers",
        "",
        "The code needs no yoyak. `generation_config.json` has the decoding settings.",
        "",
        "```python",
        snippet(".", decoder_only=decoder_only).rstrip(),
        "```",
        "",
        "`Summarizer.load` of yoyak does more than this code:",
        "",
        *[f"- {sentence}" for sentence in what_the_snippet_lacks(settings)],
        "",
        *_training_and_limits(params, decoder_only=decoder_only),
    ]
    return "\n".join(lines) + "\n"


def gguf_card(settings: ModelSettings, *, params: Params, scores: dict[str, Any], name: str, differs: Sequence[str]) -> str:
    """The README.md of a package in the format GGUF.

    Args:
        settings, params, scores, name: as for `model_card`.
        differs: what llama.cpp and Ollama do otherwise (`gguf.what_differs`).
    """
    lines = [
        *_about(settings, params, scores, name, ("library_name: gguf", "pipeline_tag: text-generation")),
        "The scores are those of yoyak before the conversion.",
        "",
        "## Use it with Ollama or llama.cpp",
        "",
        "`Modelfile` has the text around a dialogue and the decoding settings.",
        "",
        "```bash",
        f"ollama create {name} -f Modelfile",
        f'ollama run {name} "$(cat dialogue.txt)"',
        "```",
        "",
        "With llama.cpp alone, put the text of `TEMPLATE` around the dialogue yourself, and turn its own chat template off:",
        "",
        "```bash",
        "llama-completion -m model.gguf -f prompt.txt --temp 0 -no-cnv",
        "```",
        "",
        "What differs from yoyak:",
        "",
        *[f"- {sentence}" for sentence in differs],
        "",
        *_training_and_limits(params, decoder_only=True),
    ]
    return "\n".join(lines) + "\n"


def _about(settings: ModelSettings, params: Params, scores: dict[str, Any], name: str, library: Sequence[str]) -> list[str]:
    """The head of a card, up to the scores."""
    chosen = getattr(params.model, settings.family)  # of an ensemble, the family of its members
    base = _without_folders(chosen.checkpoint)
    return [
        "---",
        "language: ko",
        *library,
        *([f"base_model: {chosen.checkpoint}"] if chosen.revision else []),
        "license: unknown # fill in: it follows from the licences of the base model and of the data",
        "---",
        "",
        f"# {name}",
        "",
        "Summarizes Korean dialogues (한국어 대화 요약). Trained with yoyak.",
        "",
        "| | |",
        "| --- | --- |",
        f"| base model | {base}{f', revision {chosen.revision}' if chosen.revision else ''} |",
        *([f"| pre-trained further on | {_pretraining_texts(params)} |"] if params.pretrain.is_on else []),
        f"| data | {_without_folders(params.data.dir)} |",
        f"| longest input, longest summary in training | {settings.tokenizer.max_input_length} and "
        f"{settings.tokenizer.max_target_length} tokens |",
        "",
        "## Scores on dev",
        "",
        f"Measured with the backend `{settings.backend}`. Another backend or machine can change single summaries by rounding.",
        "",
        "```",
        score_table(scores),
        "```",
        "",
    ]


def _training_and_limits(params: Params, *, decoder_only: bool) -> list[str]:
    trained = params.training.model_dump() | ({"lora": params.lora.model_dump()} if decoder_only else {})
    if params.pretrain.is_on:
        texts = {"dialogues": _without_folders(params.pretrain.dialogues)}
        trained |= {"pretrain": params.pretrain.model_dump() | texts}
    return [
        "## Training",
        "",
        *[f"- `{key}`: {value}" for key, value in trained.items()],
        "",
        "## Limits",
        "",
        "The model can state things that the dialogue does not say. Compare names, numbers and times with the dialogue.",
        "",
        "`sha256sum -c SHA256SUMS` checks the files.",
    ]


def _pretraining_texts(params: Params) -> str:
    """What the base was pre-trained further on, as words."""
    settings = params.pretrain
    own, files = "the dialogues of train", f"the dialogues of {_without_folders(settings.dialogues)}"
    texts = {"train": own, "unlabelled": files, "both": f"{own} and {files}"}[settings.texts]
    return f"{texts}, {settings.num_train_epochs:g} epochs (`models/pretrained`)"


def _without_folders(path: str) -> str:
    """The last part of an absolute path, which is nobody else's business; any other name as it is."""
    return Path(path).name if Path(path).is_absolute() else path
