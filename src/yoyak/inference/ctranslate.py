"""Writing by CTranslate2: a trained model converted once, and then several times as fast on a CPU.

Its vocabulary is the numbers of the tokens, so that our tokenizer's ids go in and come out.
"""

import copy
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from yoyak.config.sections import Generation
from yoyak.models.checkpoints import short
from yoyak.system import resumable
from yoyak.system.errors import YoyakError

ComputeType = Literal["float32", "int8"]

# Those whose outputs tests/test_ctranslate.py holds to transformers' own. Not so, in 4.8.5: Llama-3's scaled positions
# and heads of another width come out wrong, mBART's language is lost, GPT-NeoX's config has other names now.
KINDS = {"bart", "t5", "llama", "qwen2", "qwen3"}


def cannot(model: PreTrainedModel, settings: Generation) -> str | None:
    """Why this model or decoding is left to transformers, or None. Of penalties, those that CTranslate2 counts otherwise."""
    config, beams = model.config, settings.num_beams > 1
    if model.device.type != "cpu":
        return "a GPU is there"
    if not isinstance(model, PreTrainedModel):
        return "the adapter is not merged into its base, for want of memory"
    if config.model_type not in KINDS:
        return f"CTranslate2 does not write as transformers does for {config.model_type}"
    positions = getattr(config, "rope_parameters", None) or {}
    heads = getattr(config, "head_dim", None) or 0
    plain = config.model_type != "llama" or heads in (0, config.hidden_size // config.num_attention_heads)
    if positions.get("rope_type", "default") != "default" or not plain:
        return f"CTranslate2 does not know this {config.model_type}'s attention"
    reasons = {
        "do_sample": settings.do_sample,
        "blocked_scripts": bool(settings.blocked_scripts),
        "repetition_penalty": settings.repetition_penalty != 1,
        "no_repeat_ngram_size": settings.no_repeat_ngram_size > 0,
        "min_new_tokens with num_beams": beams and settings.min_new_tokens > 0,
        "early_stopping other than true": beams and settings.early_stopping is not True,
    }
    if used := [name for name, is_used in reasons.items() if is_used]:
        return f"CTranslate2 has not generation.{used[0]} as transformers has it"
    forced = getattr(model.generation_config, "forced_bos_token_id", None)
    return None if forced is None else "a first token is forced"


MOST_WORKERS = 4  # each with a share of a batch, so that a batch of 32 leaves 8 rows to one


class _Ids:
    """What the converter asks of a tokenizer, told of one whose tokens are the numbers of the model's."""

    unk_token = "unk"

    def __init__(self, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
        self.bos_token, self.eos_token = (str(id_) for id_ in (tokenizer.bos_token_id, tokenizer.eos_token_id))
        self.pad_token = str(tokenizer.pad_token_id)
        self.size = size

    def get_vocab(self) -> dict[str, int]:
        return {str(id_): id_ for id_ in range(self.size)}

    def convert_ids_to_tokens(self, id_: int) -> str:
        return str(id_)


class Converted:
    """A model in CTranslate2's format, in a folder that goes with this object."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        """A decoder-only `model` is used up: its layers are taken out one by one, so that it is in the memory once.

        Raises:
            YoyakError: if it cannot be converted.
        """
        from ctranslate2.converters import TransformersConverter

        config = model.config
        ids = _Ids(tokenizer, config.get_text_config().vocab_size)

        class Converter(TransformersConverter):  # type: ignore[misc]
            def load_model(self, *args: Any, **kwargs: Any) -> PreTrainedModel:
                return model

            def load_tokenizer(self, *args: Any, **kwargs: Any) -> _Ids:
                return ids

        # What the converter goes by: two keys that older configs of BART have, and for whether T5's outputs are scaled, ties.
        older = copy.deepcopy(config)
        asked = {"normalize_before": False, "normalize_embedding": True} if config.model_type == "bart" else {}
        older.update({name: value for name, value in asked.items() if not hasattr(config, name)})
        if config.model_type == "t5":
            older.tie_word_embeddings = config.scale_decoder_outputs
        self.chats = not config.is_encoder_decoder
        ends = model.generation_config.eos_token_id
        self.ends: list[int] = ends if isinstance(ends, list) else [tokenizer.eos_token_id]
        # Beside the checkpoints, if there are any: what a kill leaves there is found and deleted (`resume.clean`).
        beside = resumable.checkpoints_root() if resumable.checkpoints_root().is_dir() else None
        self._keep = tempfile.TemporaryDirectory(prefix="converted-", dir=beside)
        self.folder = str(Path(self._keep.name, "model"))
        try:
            config.save_pretrained(self._keep.name)
            model.config = older  # not to stay: it is saved with the model
            Converter(self._keep.name).convert(self.folder)
        except OSError:  # the disk, not the model
            raise
        except Exception as error:  # torch and CTranslate2 each raise their own kinds
            raise YoyakError(f"CTranslate2 cannot take this {config.model_type}: {short(error)}") from error
        finally:
            model.config = config


class Writer:
    """A converted model, ready to write."""

    def __init__(self, converted: Converted, compute_type: ComputeType, threads: int | None) -> None:
        """float32 computes what the model does; int8 quantizes weights row by row, and what they are multiplied with."""
        import ctranslate2

        self.chats, self.ends = converted.chats, converted.ends
        make = ctranslate2.Generator if self.chats else ctranslate2.Translator
        # Workers share the weights; threads within one spend more on waiting for each other, in int8 most of it (docs/log.md).
        before = torch.get_num_threads()
        threads = threads or before
        self.workers = max(count for count in range(1, MOST_WORKERS + 1) if threads % count == 0)
        self.engine = make(
            converted.folder,
            device="cpu",
            compute_type=compute_type,
            inter_threads=self.workers,
            intra_threads=threads // self.workers,
        )
        torch.set_num_threads(before)  # it sets OpenMP's number, which torch has too

    def write(self, rows: Sequence[Sequence[int]], settings: Generation) -> list[list[int]]:
        """The new tokens of each row, with the one that ended it."""
        texts = [[str(id_) for id_ in row] for row in rows]
        given = {
            "beam_size": settings.num_beams,
            "length_penalty": settings.length_penalty,
            "end_token": self.ends,  # ids, or words of the vocabulary
            "return_end_token": True,
            "max_batch_size": math.ceil(len(rows) / self.workers),
        }
        if self.chats:
            results = self.engine.generate_batch(
                texts,
                max_length=settings.max_new_tokens,
                min_length=settings.min_new_tokens,
                include_prompt_in_result=False,
                **given,
            )
            return [list(result.sequences_ids[0]) for result in results]
        results = self.engine.translate_batch(
            texts,
            max_input_length=0,
            max_decoding_length=settings.max_new_tokens,
            min_decoding_length=settings.min_new_tokens,
            **given,
        )
        return [[int(token) for token in result.hypotheses[0]] for result in results]
