"""What makes a model's folder usable elsewhere: a description of its input, and defaults of decoding."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from yoyak.config.model_settings import FORMAT, Frame, ModelSettings
from yoyak.config.sections import Params
from yoyak.data.noise import as_substitutions
from yoyak.data.prompts import uses_topic
from yoyak.models.families.base import BatchEncoder, Family, Row
from yoyak.system.text_files import read_json, write_json

# Two dialogues: the first shows the text around a dialogue, the second checks it.
_SHOWN, _CHECKED = "#Person1#: 가나다\n#Person2#: 라마", "#Person2#: 오늘 몇 시?\n#Person1#: 7시, 늦지 마!"


def describe_input(
    family: Family, tokenizer: PreTrainedTokenizerBase, encode: BatchEncoder, params: Params, test_rows: Iterable[Row]
) -> ModelSettings:
    """How the input of a model is made from a raw dialogue.

    Args:
        family: of the model.
        tokenizer: the model's.
        encode: encodes a batch of rows (`Family.batch_encoders`).
        params: sections preprocess, tokenizer and prompt.
        test_rows: the processed rows of test, from which `prompt.topic: auto` follows.
    """
    has_prompt = "prompt." not in family.unread_params
    substitutions = as_substitutions(params.preprocess.noise) if params.preprocess.person_tags == "keep_original" else None
    values = {
        "format": FORMAT,
        "family": family.name,
        "preprocess": params.preprocess.model_copy(update={"max_rejected": 0}),  # this one does not change the input
        "tokenizer": params.tokenizer,
        "prompt": params.prompt if has_prompt else None,
        "names_topic": uses_topic(params.prompt, test_rows) if has_prompt else None,
        "clean_up": None if substitutions is None else [list(pair) for pair in substitutions],
        "input": input_frame(
            tokenizer, lambda text: encode({"fname": [""], "dialogue": [text], "topic": [""]})["input_ids"][0]
        ),
    }
    return ModelSettings.model_validate(values)


def input_frame(tokenizer: PreTrainedTokenizerBase, encode: Callable[[str], list[int]]) -> Frame | None:
    """The text around a dialogue in the input of a model, or None if the input is not the tokenizer's ids of one text."""
    before, found, after = str(tokenizer.decode(encode(_SHOWN))).partition(_SHOWN)
    ids: Any = tokenizer(f"{before}{_CHECKED}{after}", add_special_tokens=False).input_ids
    return Frame(before=before, after=after) if found and ids == encode(_CHECKED) else None


def write_generation_defaults(folder: Path, **values: Any) -> None:
    """Set defaults for transformers' `generate`, beside the special token ids in generation_config.json.

    Without them, `generate` stops after 20 tokens.
    """
    path = folder / "generation_config.json"
    write_json(path, (read_json(path) if path.is_file() else {}) | values)
