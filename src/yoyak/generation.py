"""Writing summaries: batches by length, results in the input's order, and what is wrong with them counted."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import torch
from tqdm import tqdm
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase

from yoyak import foreign
from yoyak.dialogue import copies
from yoyak.encoding import decode
from yoyak.params import Generation
from yoyak.resume import Batches


@dataclass(frozen=True)
class Output:
    text: str
    hit_limit: bool  # stopped by max_new_tokens, not by its own EOS
    broken: bool = False  # byte-level tokens that were no character stood in it; they are dropped


def decoding(settings: Generation, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> GenerationConfig:
    """The GenerationConfig of these settings; the sampling keys only where sampling is on."""
    sampling = {key: getattr(settings, key) for key in ("temperature", "top_p", "top_k")} if settings.do_sample else {}
    ends = model.generation_config.eos_token_id  # a chat model may know others than its tokenizer
    beams = (
        {"length_penalty": settings.length_penalty, "early_stopping": settings.early_stopping} if settings.num_beams > 1 else {}
    )
    return GenerationConfig(
        max_length=None,
        max_new_tokens=settings.max_new_tokens,
        min_new_tokens=settings.min_new_tokens or None,
        num_beams=settings.num_beams,
        do_sample=settings.do_sample,
        repetition_penalty=settings.repetition_penalty,
        no_repeat_ngram_size=settings.no_repeat_ngram_size,
        **beams,
        **sampling,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=ends if isinstance(ends, list) else tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        decoder_start_token_id=getattr(model.config, "decoder_start_token_id", None),
        forced_bos_token_id=getattr(model.generation_config, "forced_bos_token_id", None),  # mBART's language
    )


def describe(settings: Generation) -> str:
    """The decoding in one line, for the score's signature."""
    shown = settings.model_dump(exclude={"batch_size", "postprocess", "seed", "temperature", "top_p", "top_k"})
    shown["blocked_scripts"] = "+".join(settings.blocked_scripts) or "none"
    if settings.do_sample:
        shown |= settings.model_dump(include={"temperature", "top_p", "top_k", "seed"})
    return ",".join(f"{key}={value}" for key, value in shown.items())


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    ids: Sequence[Sequence[int]],
    dialogues: Sequence[str],
    *,
    settings: Generation,
    progress: str,
    kept: Batches | None = None,
) -> list[Output]:
    """One output for each row of `ids` (what the model reads), in their order. Batches are of like length, the longest first.

    `dialogues` are the same rows' texts: their own words are never blocked as foreign. What `kept` has of an earlier,
    killed call with the same arguments is taken from there, and each finished batch goes there.
    """
    # Set, not passed: what a passed config leaves open, generate() would take from the checkpoint's own.
    model.generation_config = decoding(settings, tokenizer, model)
    ends = model.generation_config.eos_token_id
    ends = torch.tensor(ends if isinstance(ends, list) else [ends])
    chats = not model.config.is_encoder_decoder
    blocked = foreign.Blocked(tokenizer, settings.blocked_scripts) if settings.blocked_scripts else None
    columns = model.config.get_text_config().vocab_size
    order = sorted(range(len(ids)), key=lambda at: -len(ids[at]))
    outputs: dict[int, Output] = {}
    model.eval()
    with torch.inference_mode(), tqdm(total=len(ids), desc=progress, unit="dialogue", mininterval=1) as bar:
        for start in range(0, len(order), settings.batch_size):
            chosen = order[start : start + settings.batch_size]
            if kept and start in kept.done:
                outputs.update({at: Output(*row) for at, row in zip(chosen, kept.done[start], strict=True)})
                bar.update(len(chosen))
                continue
            torch.manual_seed(settings.seed + start)  # so that no batch depends on those before it
            # A decoder-only model goes on where its prompt ends, so the padding stands before it.
            side = "left" if chats else "right"
            rows = {"input_ids": [list(ids[at]) for at in chosen]}
            batch = tokenizer.pad(rows, padding_side=side, return_tensors="pt").to(model.device)
            processors = LogitsProcessorList()
            if blocked:
                processors.append(blocked.processor([dialogues[at] for at in chosen], columns=columns, device=model.device))
            written = model.generate(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], logits_processor=processors
            ).cpu()
            written = written[:, batch["input_ids"].shape[1] if chats else 1 :]
            texts = decode(tokenizer, written.tolist())
            for at, text, row in zip(chosen, texts, written, strict=True):
                ended = bool(torch.isin(row, ends).any())
                whole = text.replace("\ufffd", "").strip()
                outputs[at] = Output(whole, hit_limit=not ended, broken="\ufffd" in text)
            if kept:
                kept.add(start, [astuple(outputs[at]) for at in chosen])
            bar.update(len(chosen))
    return [outputs[at] for at in range(len(ids))]


def faults(outputs: Sequence[Output], texts: Sequence[str], dialogues: Sequence[str]) -> dict[str, Any]:
    """Counts that show a broken or collapsed model: rows, distinct, empty, hit_limit, broken, copied, foreign letters;
    characters on average."""
    return {
        "rows": len(texts),
        "distinct": len(set(texts)),
        "empty": sum(not text for text in texts),
        "hit_limit": sum(output.hit_limit for output in outputs),
        "broken": sum(output.broken for output in outputs),
        "copied": sum(copies(text, dialogue) for text, dialogue in zip(texts, dialogues, strict=True)),
        **foreign.count(texts, dialogues),
        "mean_characters": round(sum(map(len, texts)) / len(texts), 2),
    }
