"""Encoder-decoders that translate: NLLB, M2M100, mBART-50, Marian (Opus-MT), MADLAD."""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from tqdm import tqdm
from transformers import AutoTokenizer

from yoyak.augmentation.text_models.languages import Languages
from yoyak.augmentation.text_models.loading import fingerprint_of, named
from yoyak.augmentation.text_models.written import Written
from yoyak.models import encoder_decoder
from yoyak.models.checkpoints import from_pretrained_arguments, one_line, verify_checkpoint
from yoyak.models.hub import check_hub
from yoyak.system import hardware
from yoyak.system.errors import YoyakError
from yoyak.system.kept_values import KeptValues
from yoyak.system.progress_bars import bars_hidden

VERSION = 1  # of what is kept; another way of decoding gets another number
MAX_NEW_TOKENS = 256  # of a sentence
ASKED_POSITIONS = 512  # where a config names none (T5)
_SENTENCE_END = re.compile(r"(?<=[.?!…。？！])\s+")
_SPOKEN = re.compile(r"[^\W\d_]")  # a letter


def sentences_of(text: str) -> list[str]:
    """The sentences of a text. Translators are trained on sentences, and drop some of a text that has several."""
    return [sentence for sentence in _SENTENCE_END.split(text) if sentence]


class Translator:
    """One checkpoint. The weights are loaded when the first text must be translated."""

    def __init__(
        self, checkpoint: str, revision: str | None, *, param: str, num_beams: int, batch_size: int, kept: KeptValues
    ) -> None:
        """Load the tokenizer.

        Args:
            checkpoint: a folder, or a name on the hub.
            revision: the commit on the hub.
            param: the name of the param with the checkpoint, for messages.
            num_beams: of beam search.
            batch_size: sentences at a time.
            kept: translations that are finished.

        Raises:
            YoyakError: if the checkpoint is not there or not pinned, is damaged, or its tokenizer cannot be loaded.
        """
        self.checkpoint, self.revision, self.param = checkpoint, revision, param
        self.num_beams, self.batch_size, self.kept = num_beams, batch_size, kept
        with named(param):
            self._arguments = from_pretrained_arguments(checkpoint, revision)
            verify_checkpoint(checkpoint, weights=False)
            check_hub(checkpoint, revision)
            self.tokenizer = self._load_tokenizer()
        self.languages = Languages.of(self.tokenizer)

    def _load_tokenizer(self) -> Any:
        try:
            return AutoTokenizer.from_pretrained(**self._arguments)
        except Exception as error:  # the tokenizers library raises plain Exception, and a damaged file any class
            if "sentencepiece" in str(error).lower() and isinstance(error, ImportError | ValueError):
                raise YoyakError(
                    f"{self.checkpoint}: its tokenizer needs the package sentencepiece: pip install 'yoyak[translation]'"
                ) from None
            raise YoyakError(f"{self.checkpoint}: its tokenizer cannot be loaded: {one_line(error)}") from error

    @cached_property
    def fingerprint(self) -> Any:
        return fingerprint_of(self.checkpoint, self.revision)

    @cached_property
    def model(self) -> Any:
        with named(self.param):
            model = encoder_decoder.load(self.checkpoint, self.revision, self.tokenizer)
        precision, _ = hardware.choose_precision("auto", parameters=model.num_parameters())
        model.generation_config.max_length = None
        return model.to(hardware.default_device(), getattr(torch, precision)).eval()

    def translate(self, texts: Sequence[str], *, source: str, target: str) -> list[Written]:
        """Translate sentences. What is kept from an earlier call is not translated again.

        A text without letters stays as it is.

        Args:
            texts: the sentences.
            source: code of their language.
            target: code of the other language.
        """
        spoken = [text for text in dict.fromkeys(texts) if _SPOKEN.search(text)]
        lengths = dict(zip(spoken, self._count_tokens(spoken, source, target), strict=True))
        # The batches depend on the texts alone, so that an interrupted call goes on with the same ones.
        order = sorted(spoken, key=lambda text: -lengths[text])
        found: dict[str, Written] = {}
        with tqdm(
            total=len(order), desc=f"{source} → {target}", unit="sentence", mininterval=1, disable=bars_hidden(not order)
        ) as bar:
            for start in range(0, len(order), self.batch_size):
                batch = order[start : start + self.batch_size]
                keys = [
                    [VERSION, self.fingerprint, self.languages.kind, source, target, self.num_beams, text] for text in batch
                ]
                finished = [self.kept.get(key) for key in keys]
                if None in finished:
                    written = self._translate_batch(batch, source, target)
                    new = [one.as_json() for one in written]
                    self.kept.put_all(
                        [(key, value) for key, value, old in zip(keys, new, finished, strict=True) if old is None]
                    )
                    finished = [value if old is None else old for value, old in zip(new, finished, strict=True)]
                found.update((text, Written(*value)) for text, value in zip(batch, finished, strict=True))
                bar.update(len(batch))
        return [found.get(text, Written(text)) for text in texts]

    def _count_tokens(self, texts: Sequence[str], source: str, target: str) -> list[int]:
        return [len(ids) for ids in self._encode(texts, source, target)] if texts else []

    def _encode(self, texts: Sequence[str], source: str, target: str) -> list[list[int]]:
        if self.languages.kind == "forced":
            self.tokenizer.src_lang = source
        prefix = f"{self.languages.tokens[target]} " if self.languages.kind == "prefix" else ""
        ids: list[list[int]] = self.tokenizer([prefix + text for text in texts]).input_ids
        return ids

    def _translate_batch(self, texts: Sequence[str], source: str, target: str) -> list[Written]:
        encoded = self._encode(texts, source, target)
        positions = getattr(self.model.config, "max_position_embeddings", None) or ASKED_POSITIONS
        fits = [len(ids) <= positions for ids in encoded]
        rows = [ids for ids, fit in zip(encoded, fits, strict=True) if fit]
        written = iter(self._generate(rows, target, min(MAX_NEW_TOKENS, positions - 1)) if rows else [])
        return [next(written) if fit else Written("", "too_long_for_the_model") for fit in fits]

    def _generate(self, rows: Sequence[Sequence[int]], target: str, limit: int) -> list[Written]:
        batch = self.tokenizer.pad({"input_ids": list(rows)}, padding_side="right", return_tensors="pt").to(self.model.device)
        forced = {}
        if self.languages.kind == "forced":
            forced["forced_bos_token_id"] = self.tokenizer.convert_tokens_to_ids(self.languages.tokens[target])
        with torch.inference_mode():
            generated = self.model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                max_new_tokens=limit,
                num_beams=self.num_beams,
                do_sample=False,
                **forced,
            )
        ids = generated[:, 1 + len(forced) :].tolist()  # after the start of the decoder and the language
        texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        end = self.tokenizer.eos_token_id
        return [Written.of(text, finished=end in row) for text, row in zip(texts, ids, strict=True)]


def open_translator(
    checkpoint: str | None, revision: str | None, *, param: str, num_beams: int, batch_size: int, kept: KeptValues
) -> Translator:
    """A translator whose checkpoint a param names.

    Raises:
        YoyakError: if the param is empty, and as `Translator`.
    """
    if not checkpoint:
        raise YoyakError(
            f"{param}: is empty; name the folder of a translator such as models/nllb-200-distilled-600M, or its name on "
            "the hub with a revision"
        )
    return Translator(checkpoint, revision, param=param, num_beams=num_beams, batch_size=batch_size, kept=kept)
