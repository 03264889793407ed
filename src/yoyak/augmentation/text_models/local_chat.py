"""A decoder-only model on this machine that answers messages."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from tqdm import tqdm
from transformers import LogitsProcessorList, PreTrainedTokenizerBase

from yoyak.augmentation.text_models.answers import without_reasoning
from yoyak.augmentation.text_models.chat import Question
from yoyak.augmentation.text_models.loading import fingerprint_of, named
from yoyak.augmentation.text_models.sampling import SeededSampling
from yoyak.augmentation.text_models.written import Written
from yoyak.config.augment_models_section import Writer
from yoyak.config.sections import QuantizedCheckpoint
from yoyak.data.encoding_checks import neutralize
from yoyak.data.prompts import render_chat
from yoyak.inference.outputs import decode_tokens
from yoyak.models import causal_lm
from yoyak.models.checkpoints import from_pretrained_arguments, load_config
from yoyak.models.tokenizer_loading import load_tokenizer
from yoyak.system import hardware
from yoyak.system.errors import YoyakError
from yoyak.system.kept_values import KeptValues

VERSION = 1  # of what is kept; another way of decoding gets another number
PARAM = "augment.writer.checkpoint"


class LocalChat:
    """A checkpoint with a chat template. The weights are loaded when the first question must be answered."""

    def __init__(self, settings: Writer, kept: KeptValues) -> None:
        """Load the tokenizer.

        Raises:
            YoyakError: if the checkpoint is not there or not pinned, has no chat template, or is an encoder-decoder.
        """
        if not settings.checkpoint:
            raise YoyakError(f"{PARAM}: is empty; name a folder, or a model on the hub with a revision")
        self.settings, self.kept, self.checkpoint = settings, kept, settings.checkpoint
        self.name = self.checkpoint
        with named(PARAM):
            config = load_config(from_pretrained_arguments(self.checkpoint, settings.revision))
            if config.is_encoder_decoder:
                raise YoyakError(f"{self.checkpoint}: {config.model_type} is an encoder-decoder; it can be augment.translator")
            self.tokenizer: PreTrainedTokenizerBase = load_tokenizer(self.checkpoint, settings.revision, (), pad_with_eos=True)
            if not self.tokenizer.chat_template:
                raise YoyakError(f"{self.checkpoint}: its tokenizer has no chat template; choose a chat or instruct model")
        self.positions: int | None = getattr(config, "max_position_embeddings", None)
        if self.positions is not None and settings.max_new_tokens >= self.positions:
            raise YoyakError(
                f"augment.writer.max_new_tokens: {settings.max_new_tokens} leaves no room for a question in the "
                f"{self.positions} positions of {self.checkpoint}"
            )
        self.questions = 0

    @cached_property
    def fingerprint(self) -> Any:
        return fingerprint_of(self.checkpoint, self.settings.revision)

    @cached_property
    def model(self) -> Any:
        settings = self.settings
        checkpoint = QuantizedCheckpoint(
            checkpoint=self.checkpoint,
            revision=settings.revision,
            quantization=settings.quantization,
            double_quantization=True,
            attention="auto",
            padding_free="never",
            offload_folder=None,
        )
        with named(PARAM):
            model, _ = causal_lm.load(checkpoint, self.tokenizer, precision=hardware.supported_precision("bfloat16"))
        return model.eval()

    def answer(self, questions: Sequence[Question]) -> list[Written]:
        self.questions += len(questions)
        prompts = [self._prompt(question) for question in questions]
        asked = dict.fromkeys((prompt, question.seed) for prompt, question in zip(prompts, questions, strict=True))
        ids = {item: self._ids(item[0]) for item in asked}
        # The batches depend on the questions alone, so that an interrupted call goes on with the same ones.
        order = sorted(asked, key=lambda item: -len(ids[item]))
        size = self.settings.batch_size
        for start in tqdm(range(0, len(order), size), desc="answers", unit="batch", mininterval=1):
            batch = order[start : start + size]
            missing = [item for item in batch if self.kept.get(self._key(*item)) is None]
            if missing:
                answers = dict(zip(batch, self._write([ids[item] for item in batch], [seed for _, seed in batch]), strict=True))
                self.kept.put_all([(self._key(*item), answers[item].as_json()) for item in missing])
        return [
            Written(*self.kept.get(self._key(prompt, question.seed)))
            for prompt, question in zip(prompts, questions, strict=True)
        ]

    def report(self) -> dict[str, Any]:
        return {"model": self.name, "questions": self.questions}

    def _key(self, prompt: str, seed: int) -> list[Any]:
        settings = self.settings
        sampling = [seed, settings.temperature, settings.top_p] if settings.temperature else None
        return [VERSION, self.fingerprint, settings.quantization, settings.max_new_tokens, sampling, prompt]

    def _prompt(self, question: Question) -> str:
        messages = [{**message, "content": neutralize(self.tokenizer, message["content"])} for message in question.messages]
        with named(PARAM):
            return render_chat(self.tokenizer, messages)

    def _ids(self, prompt: str) -> list[int]:
        ids: list[int] = self.tokenizer(prompt, add_special_tokens=False).input_ids
        bos = self.tokenizer.bos_token_id
        starts_with_bos = bos is not None and self.tokenizer("가").input_ids[0] == bos
        return [bos, *ids] if starts_with_bos and ids[:1] != [bos] else ids

    def _write(self, rows: Sequence[list[int]], seeds: Sequence[int]) -> list[Written]:
        room = None if self.positions is None else self.positions - self.settings.max_new_tokens
        fits = [room is None or len(ids) <= room for ids in rows]
        chosen = [(ids, seed) for ids, seed, fit in zip(rows, seeds, fits, strict=True) if fit]
        written = iter(self._generate([ids for ids, _ in chosen], [seed for _, seed in chosen]) if chosen else [])
        return [next(written) if fit else Written("", "too_long_for_the_model") for fit in fits]

    def _generate(self, rows: list[list[int]], seeds: list[int]) -> list[Written]:
        settings, model = self.settings, self.model
        batch = self.tokenizer.pad({"input_ids": rows}, padding_side="left", return_tensors="pt").to(model.device)
        processors = LogitsProcessorList()
        if settings.temperature:
            processors.append(SeededSampling(seeds, temperature=settings.temperature, top_p=settings.top_p))
        with torch.inference_mode():
            generated = model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                logits_processor=processors,
                max_new_tokens=settings.max_new_tokens,
                do_sample=False,
                num_beams=1,
            )
        ids = generated[:, batch["input_ids"].shape[1] :].tolist()
        ends = model.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends])
        texts = decode_tokens(self.tokenizer, ids)
        return [
            Written.of(without_reasoning(text), finished=not ends.isdisjoint(row)) for text, row in zip(texts, ids, strict=True)
        ]
