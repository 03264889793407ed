"""Writing summaries: batches by length, results in the input's order, and what is wrong with them counted."""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase

from yoyak.config.sections import Generation
from yoyak.data.dialogue import copies
from yoyak.data.person_tags import PersonTags, restore_person_tags
from yoyak.data.tokenization import decode
from yoyak.evaluation import bootstrap, rouge
from yoyak.evaluation.morphemes import Morphemes
from yoyak.inference import foreign_letters
from yoyak.inference.ctranslate import Converted, Writer, cannot
from yoyak.system.errors import YoyakError
from yoyak.system.resumable import BatchStore

Written = Callable[[list[list[int]], list[str], int], list[list[int]]]  # (rows, dialogues, seed) to new tokens


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


def describe(settings: Generation, *, backend: str) -> str:
    """The decoding in one line, for the score's signature."""
    shown = settings.model_dump(exclude={"batch_size", "backend", "postprocess", "seed", "temperature", "top_p", "top_k"})
    shown["blocked_scripts"] = "+".join(settings.blocked_scripts) or "none"
    if settings.do_sample:
        shown |= settings.model_dump(include={"temperature", "top_p", "top_k", "seed"})
    return ",".join(f"{key}={value}" for key, value in {**shown, "backend": backend}.items())


def _transformers(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, settings: Generation) -> Written:
    # Set, not passed: what a passed config leaves open, generate() would take from the checkpoint's own.
    model.generation_config = decoding(settings, tokenizer, model)
    chats = not model.config.is_encoder_decoder
    blocked = foreign_letters.Blocked(tokenizer, settings.blocked_scripts) if settings.blocked_scripts else None
    columns = model.config.get_text_config().vocab_size
    model.eval()

    def write(rows: list[list[int]], dialogues: list[str], seed: int) -> list[list[int]]:
        torch.manual_seed(seed)
        # A decoder-only model goes on where its prompt ends, so the padding stands before it.
        side = "left" if chats else "right"
        batch = tokenizer.pad({"input_ids": rows}, padding_side=side, return_tensors="pt").to(model.device)
        processors = LogitsProcessorList()
        if blocked:
            processors.append(blocked.processor(dialogues, columns=columns, device=model.device))
        with torch.inference_mode():
            written = model.generate(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], logits_processor=processors
            )
        new: list[list[int]] = written[:, batch["input_ids"].shape[1] if chats else 1 :].tolist()
        return new

    return write


def generate(
    model: PreTrainedModel | Writer,
    tokenizer: PreTrainedTokenizerBase,
    ids: Sequence[Sequence[int]],
    dialogues: Sequence[str],
    *,
    settings: Generation,
    progress: str,
    kept: BatchStore | None = None,
) -> list[Output]:
    """One output for each row of `ids` (what the model reads), in their order. Batches are of like length, the longest first.

    `dialogues` are the same rows' texts: their own words are never blocked as foreign. What `kept` has of an earlier,
    killed call with the same arguments is taken from there, and each finished batch goes there.
    """
    write: Written
    if isinstance(model, Writer):
        converted, ends = model, set(model.ends)
        write = lambda rows, *_: converted.write(rows, settings)  # noqa: E731
    else:
        write = _transformers(model, tokenizer, settings)
        known = model.generation_config.eos_token_id
        ends = set(known if isinstance(known, list) else [known])
    order = sorted(range(len(ids)), key=lambda at: -len(ids[at]))
    outputs: dict[int, Output] = {}
    with tqdm(total=len(ids), desc=progress, unit="dialogue", mininterval=1) as bar:
        for start in range(0, len(order), settings.batch_size):
            chosen = order[start : start + settings.batch_size]
            if kept and start in kept.finished:
                outputs.update({at: Output(*row) for at, row in zip(chosen, kept.finished[start], strict=True)})
                bar.update(len(chosen))
                continue
            # Seeded by batch, so that none depends on those before it.
            written = write([list(ids[at]) for at in chosen], [dialogues[at] for at in chosen], settings.seed + start)
            for at, text, row in zip(chosen, decode(tokenizer, written), written, strict=True):
                whole = text.replace("\ufffd", "").strip()
                outputs[at] = Output(whole, hit_limit=ends.isdisjoint(row), broken="\ufffd" in text)
            if kept:
                kept.add(start, [astuple(outputs[at]) for at in chosen])
            bar.update(len(chosen))
    return [outputs[at] for at in range(len(ids))]


# Of dev, written twice to judge int8 by. A small model loses more by int8 (docs/log.md), and writes fast.
INT8_ROWS, INT8_ROWS_SMALL, SMALL = 64, 256, 50_000_000  # rows, rows, parameters
INT8_MAY_LOSE = 0.01  # of rouge_sum


def judge(
    tokenizer: PreTrainedTokenizerBase,
    ids: Sequence[Sequence[int]],
    rows: Sequence[dict[str, Any]],
    *,
    settings: Generation,
    person_tags: PersonTags,
    parameters: int,
) -> Callable[[PreTrainedModel | Writer], rouge.Scores]:
    """ROUGE (rows, 3) of what a model of so many `parameters` writes for up to INT8_ROWS (INT8_ROWS_SMALL) of dev's `rows`,
    evenly spaced; `ids` is what it reads."""
    most = INT8_ROWS_SMALL if parameters < SMALL else INT8_ROWS
    places = [at * len(rows) // most for at in range(most)] if len(rows) > most else range(len(rows))
    chosen = [rows[at] for at in places]
    morphemes = Morphemes()

    def scores(model: PreTrainedModel | Writer) -> rouge.Scores:
        outputs = generate(
            model,
            tokenizer,
            [ids[at] for at in places],
            [row["dialogue"] for row in chosen],
            settings=settings,
            progress="judge int8",
        )
        return rouge.score_rows(
            predictions=[restore_person_tags(output.text, person_tags) for output in outputs],
            references=[row["references"] for row in chosen],
            tokenizer=morphemes,
        )

    return scores


def choose_writer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    settings: Generation,
    threads: int | None,
    judge: Callable[[PreTrainedModel | Writer], rouge.Scores] | None = None,
    earlier: str | None = None,
) -> tuple[PreTrainedModel | Writer, dict[str, Any]]:
    """What writes, by `settings.backend`, and why: its name there, and what decided.

    auto: on a CPU CTranslate2, if it writes this model and decoding as transformers does. In int8 if `judge` (the ROUGE
    (rows, 3) of what a writer writes for some rows) finds that no worse: the mean may be lower by INT8_MAY_LOSE of itself, if
    that is within the noise of the rows. Without a judge by what was chosen `earlier`, else in float32, which computes what
    transformers does.

    Raises:
        YoyakError: if the backend asked for cannot write this model or decoding.
    """
    backend = settings.backend
    if backend == "transformers":
        return model, {"backend": backend, "why": "generation.backend says so"}
    if why := cannot(model, settings):
        if backend == "auto":
            return model, {"backend": "transformers", "why": why}
        raise YoyakError(f"generation.backend: {backend}: {why}; choose auto or transformers")
    converted = Converted(model, tokenizer)
    if backend != "auto":
        why = "generation.backend says so"
    elif not judge:
        backend = "ctranslate2-int8" if earlier == "ctranslate2-int8" else "ctranslate2"
        why = "as it was chosen for dev" if earlier else "no dev to judge int8 by"
    if why:
        return Writer(converted, "int8" if backend.endswith("int8") else "float32", threads), {"backend": backend, "why": why}
    assert judge
    exact, int8 = Writer(converted, "float32", threads), Writer(converted, "int8", threads)
    scores = [judge(writer).sum(axis=1) for writer in (exact, int8)]
    change = scores[1] - scores[0]
    means = bootstrap.resampled_means(change[:, None], samples=1000, seed=settings.seed)
    low, high = np.percentile(means, [2.5, 97.5])
    lost = high < 0 or change.mean() < -INT8_MAY_LOSE * scores[0].mean()
    told = f"int8 changes rouge_sum by {change.mean():+.2f} [{low:+.2f}, {high:+.2f}] on {len(change)} dev rows"
    return (exact, {"backend": "ctranslate2", "why": told}) if lost else (int8, {"backend": "ctranslate2-int8", "why": told})


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
        **foreign_letters.count(texts, dialogues),
        "mean_characters": round(sum(map(len, texts)) / len(texts), 2),
    }
