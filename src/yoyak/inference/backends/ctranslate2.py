"""The backend `ctranslate2`: the model is converted once to CTranslate2's format, and writes several times faster on a CPU.

The converted vocabulary consists of token ids as text. So CTranslate2 reads and writes ids, and the model's own tokenizer
encodes and decodes texts.
"""

import copy
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from yoyak.config.generation_section import Generation
from yoyak.inference.backends.base import Backend
from yoyak.inference.outputs import Output, outputs_from_tokens
from yoyak.inference.scoring import Scored, rows_at_once, scored_rows
from yoyak.models.checkpoints import one_line
from yoyak.models.families.base import LoadedModel
from yoyak.system import resumable
from yoyak.system.errors import YoyakError

ComputeType = Literal["float32", "int8"]

# Model types for which tests/inference/test_ctranslate2.py compares the outputs with those of transformers. CTranslate2 4.8.5
# gives wrong outputs for scaled positions (Llama 3), unusual head sizes and mBART's language. It cannot read the new config
# keys of GPT-NeoX.
MODEL_TYPES = {"bart", "t5", "llama", "qwen2", "qwen3"}

# With a length_penalty of 0, or below -4, CTranslate2 keeps other beams than transformers: of 24 dev dialogues of
# the sample, the default model wrote 1 differently at 0, 2 at -5 and 21 at -8 (docs/log/speed.md). From -4 to 8 all were equal.
COMPARED_LENGTH_PENALTIES = (-4.0, 8.0)

MAX_WORKERS = 4  # workers share a batch; with four, each gets 8 rows of a batch of 32


def model_reasons(model: Any) -> list[str]:
    """Return every reason why CTranslate2 would not write the same texts as transformers with this model."""
    if not isinstance(model, torch.nn.Module):
        return ["it is not a transformers model"]
    config: Any = model.config
    device: Any = model.device
    is_known = config.model_type in MODEL_TYPES
    rope = getattr(config, "rope_parameters", None) or {}
    head_size = getattr(config, "head_dim", None) or 0
    usual_heads = config.model_type != "llama" or head_size in (0, config.hidden_size // config.num_attention_heads)
    reasons = {
        "a GPU is there": device.type != "cpu",
        "the adapter is not merged into its base, for want of memory": not isinstance(model, PreTrainedModel),
        f"CTranslate2 does not write as transformers does for {config.model_type}": not is_known,
        f"CTranslate2 does not know this {config.model_type}'s attention": is_known
        and (rope.get("rope_type", "default") != "default" or not usual_heads),
        "the probabilities of several models are averaged": hasattr(model, "averaged_models"),
        "a first token is forced": getattr(getattr(model, "generation_config", None), "forced_bos_token_id", None) is not None,
    }
    return [reason for reason, holds in reasons.items() if holds]


def setting_reasons(settings: Generation) -> list[str]:
    """Return the reason why CTranslate2 would decode differently from transformers; it names every such setting."""
    beams = settings.num_beams > 1
    lowest, highest = COMPARED_LENGTH_PENALTIES
    usual_penalty = lowest <= settings.length_penalty <= highest and settings.length_penalty != 0
    in_use = {
        "do_sample": settings.do_sample,
        "blocked_scripts": bool(settings.blocked_scripts),
        "repetition_penalty": settings.repetition_penalty != 1,
        "no_repeat_ngram_size": settings.no_repeat_ngram_size > 0,
        "min_new_tokens with num_beams": beams and settings.min_new_tokens > 0,
        "early_stopping other than true": beams and settings.early_stopping is not True,
        f"length_penalty {settings.length_penalty:g}": beams and not usual_penalty,
        "consensus.source dropout": settings.consensus.candidates > 1 and settings.consensus.source == "dropout",
    }
    names = [f"generation.{name}" for name, used in in_use.items() if used]
    return [f"CTranslate2 does not support {', '.join(names)} as transformers does"] if names else []


class _IdVocabulary:
    """The part of a tokenizer that CTranslate2's converter uses, for a vocabulary of token ids as text."""

    unk_token = "unk"

    def __init__(self, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
        self.bos_token, self.eos_token = (str(token_id) for token_id in (tokenizer.bos_token_id, tokenizer.eos_token_id))
        self.pad_token = str(tokenizer.pad_token_id)
        self.size = size

    def get_vocab(self) -> dict[str, int]:
        return {str(token_id): token_id for token_id in range(self.size)}

    def convert_ids_to_tokens(self, token_id: int) -> str:
        return str(token_id)


class ConvertedModel:
    """A model in CTranslate2's format, in a temporary folder that is deleted with this object."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        """Convert a model.

        A decoder-only `model` cannot be used afterwards, because the converter removes its layers one by one to save memory.

        Raises:
            YoyakError: if it cannot be converted.
        """
        from ctranslate2.converters import TransformersConverter

        config = model.config
        vocabulary = _IdVocabulary(tokenizer, config.get_text_config().vocab_size)

        class Converter(TransformersConverter):  # type: ignore[misc]
            def load_model(self, *args: Any, **kwargs: Any) -> PreTrainedModel:
                return model

            def load_tokenizer(self, *args: Any, **kwargs: Any) -> _IdVocabulary:
                return vocabulary

        self.tokenizer = tokenizer
        self.vocabulary: int = vocabulary.size
        self.is_decoder_only = not config.is_encoder_decoder
        ends = model.generation_config.eos_token_id
        self.end_ids: list[int] = ends if isinstance(ends, list) else [tokenizer.eos_token_id]
        # If there is a folder of unfinished work, use it. `resumable` deletes there what a killed process has left.
        parent = resumable.checkpoints_root() if resumable.checkpoints_root().is_dir() else None
        self._temporary = tempfile.TemporaryDirectory(prefix="converted-", dir=parent)
        self.folder = str(Path(self._temporary.name, "model"))
        try:
            config.save_pretrained(self._temporary.name)
            model.config = _config_for_converter(config)
            Converter(self._temporary.name).convert(self.folder)
        except OSError:  # for example a full disk, which has nothing to do with the model
            raise
        except Exception as error:  # torch and CTranslate2 raise exceptions of their own classes
            raise YoyakError(f"CTranslate2 cannot convert this {config.model_type} model: {one_line(error)}") from error
        finally:
            model.config = config  # the original one, because it is saved with the model


def _config_for_converter(config: Any) -> Any:
    """A copy of the config as the converter expects it.

    It reads two keys that only older BART configs have. It scales the outputs of T5 if `tie_word_embeddings` is true, but
    transformers follows `scale_decoder_outputs`.
    """
    older = copy.deepcopy(config)
    expected = {"normalize_before": False, "normalize_embedding": True} if config.model_type == "bart" else {}
    older.update({name: value for name, value in expected.items() if not hasattr(config, name)})
    if config.model_type == "t5":
        older.tie_word_embeddings = config.scale_decoder_outputs
    return older


class CTranslate2Writer:
    """A converted model, opened with one compute type."""

    def __init__(
        self,
        converted: ConvertedModel,
        settings: Generation,
        *,
        compute_type: ComputeType,
        threads: int | None,
        processes: int = 1,
    ) -> None:
        """Open the model.

        Args:
            converted: the model.
            settings: section generation of params.yaml.
            compute_type: "float32" is exact. "int8" quantizes the weights, row by row, and the inputs of matrix products.
            threads: the total number of CPU threads. None means as many as torch uses.
            processes: how many processes share these threads.
        """
        import ctranslate2

        self.converted, self.settings = converted, settings
        engine = ctranslate2.Generator if converted.is_decoder_only else ctranslate2.Translator
        # Several workers share the weights. The threads of one worker wait for each other; in int8 this takes most of the time.
        torch_threads = torch.get_num_threads()
        threads = threads or torch_threads * processes
        # A batch has the same parts for any number of processes. What is padded with what changes the last digits.
        self.parts = max(count for count in range(1, MAX_WORKERS + 1) if threads % count == 0)
        self.workers = max(1, self.parts // processes)
        self.engine = engine(
            converted.folder,
            device="cpu",
            compute_type=compute_type,
            inter_threads=self.workers,
            intra_threads=max(1, threads // processes // self.workers),
        )
        torch.set_num_threads(torch_threads)  # CTranslate2 changes OpenMP's number of threads, which torch uses too

    def write(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int) -> list[Output]:
        tokens = self.generate(encoded)
        return outputs_from_tokens(self.converted.tokenizer, tokens, end_ids=set(self.converted.end_ids))

    def write_beams(
        self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int, count: int
    ) -> list[list[tuple[Output, float]]]:
        """The `count` best results of the beam search for each row, each with the logarithm of its probability."""
        results = self._generate(encoded, count=count)
        tokens = [ids for row in results for ids, _ in row]
        outputs = iter(outputs_from_tokens(self.converted.tokenizer, tokens, end_ids=set(self.converted.end_ids)))
        # CTranslate2 divides the logarithm by the number of tokens to the power of length_penalty.
        penalty = self.settings.length_penalty
        return [[(next(outputs), score * len(ids) ** penalty) for ids, score in row] for row in results]

    def write_scored(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int, count: int) -> list[list[Scored]]:
        """As `write`, or with `count` above 1 as `write_beams`, each text with its probability by the model."""
        texts = [ids for row in self._generate(encoded, count=count) for ids, _ in row]
        outputs = outputs_from_tokens(self.converted.tokenizer, texts, end_ids=set(self.converted.end_ids))
        sources = [row for row in encoded for _ in range(count)]
        return scored_rows(outputs, texts, self._log_probabilities(sources, texts), count=count)

    def _log_probabilities(self, sources: Sequence[Sequence[int]], texts: Sequence[Sequence[int]]) -> list[float]:
        """The logarithm of the probability of each text. `max_batch_size` limits the memory of the logits."""
        longest = max(len(source) + len(text) for source, text in zip(sources, texts, strict=True))
        size = rows_at_once(longest, self.converted.vocabulary)
        read, written = ([list(map(str, row)) for row in rows] for rows in (sources, texts))
        limits = {"max_batch_size": min(size, math.ceil(len(texts) / self.parts)), "max_input_length": 0}
        if self.converted.is_decoder_only:
            results = self.engine.score_batch([one + other for one, other in zip(read, written, strict=True)], **limits)
            return [sum(result.log_probs[-len(text) :]) for result, text in zip(results, texts, strict=True)]
        # An encoder-decoder adds the end of the text itself; a text that was cut off at its longest has none.
        ends = set(map(str, self.converted.end_ids))
        bodies = [row[:-1] if row[-1] in ends else row for row in written]
        results = self.engine.score_batch(read, bodies, **limits)
        return [sum(result.log_probs[: len(text)]) for result, text in zip(results, texts, strict=True)]

    def generate(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        """Return the new token ids of each row, with the end-of-text token if there is one."""
        return [results[0][0] for results in self._generate(rows)]

    def _generate(self, rows: Sequence[Sequence[int]], *, count: int = 1) -> list[list[tuple[list[int], float]]]:
        """The new token ids and, with `count` above 1, the score of the `count` best results of each row."""
        texts = [[str(token_id) for token_id in row] for row in rows]
        common = {
            "beam_size": self.settings.num_beams,
            "length_penalty": self.settings.length_penalty,
            "end_token": self.converted.end_ids,
            "return_end_token": True,
            "max_batch_size": math.ceil(len(rows) / self.parts),
            "num_hypotheses": count,
            "return_scores": count > 1,
        }
        if self.converted.is_decoder_only:
            results = self.engine.generate_batch(
                texts,
                max_length=self.settings.max_new_tokens,
                min_length=self.settings.min_new_tokens,
                include_prompt_in_result=False,
                **common,
            )
            return [list(zip(map(list, result.sequences_ids), _scores(result), strict=True)) for result in results]
        results = self.engine.translate_batch(
            texts,
            max_input_length=0,
            max_decoding_length=self.settings.max_new_tokens,
            min_decoding_length=self.settings.min_new_tokens,
            **common,
        )
        return [
            [(list(map(int, tokens)), score) for tokens, score in zip(result.hypotheses, _scores(result), strict=True)]
            for result in results
        ]


def _scores(result: Any) -> list[float]:
    """The score of each result, or 0 where they were not asked for."""
    found: list[float] = list(result.scores)
    return found or [0.0]


class CTranslate2Backend(Backend):
    name = "ctranslate2"
    is_exact = True
    compute_type: ComputeType = "float32"

    def why_not(self, loaded: LoadedModel, settings: Generation) -> str | None:
        return "; ".join([*model_reasons(loaded.model), *setting_reasons(settings)]) or None

    def open(self, loaded: LoadedModel, settings: Generation, *, threads: int | None, processes: int = 1) -> CTranslate2Writer:
        if "ctranslate2" not in loaded.shared:  # float32 and int8 use the same files
            loaded.shared["ctranslate2"] = ConvertedModel(loaded.model, loaded.tokenizer)
        return CTranslate2Writer(
            loaded.shared["ctranslate2"], settings, compute_type=self.compute_type, threads=threads, processes=processes
        )


BACKEND = CTranslate2Backend()
