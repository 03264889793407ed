"""Processed rows to token ids: what a model reads, and what it is taught to write."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from transformers import PreTrainedTokenizerBase

from yoyak.config.sections import Prompt, Tokenizer
from yoyak.data import prompts
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_jsonl

MANY_ROWS = 20_000  # from here on several processes pay for their start


def encode_inputs(tokenizer: PreTrainedTokenizerBase, dialogues: Sequence[str], max_length: int) -> list[list[int]]:
    """Ids of each dialogue, at most `max_length` with the final EOS; what is over is cut from the dialogue's end."""
    return [_with_eos(tokenizer, ids, max_length) for ids in tokenizer(list(dialogues)).input_ids]


def encode_targets(tokenizer: PreTrainedTokenizerBase, summaries: Sequence[str], max_length: int) -> list[list[int]]:
    """Ids of each summary, at most `max_length`; EOS stands at the end also where the summary was cut."""
    return [_with_eos(tokenizer, ids, max_length) for ids in tokenizer(text_target=list(summaries)).input_ids]


def _with_eos(tokenizer: PreTrainedTokenizerBase, ids: list[int], max_length: int) -> list[int]:
    """KoBART's tokenizer adds no EOS, T5's does. A model whose labels have none never learns to stop."""
    body = ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids
    return [*body[: max_length - 1], tokenizer.eos_token_id]


def decode(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[int]]) -> list[str]:
    """The text of each row of ids, without <s>, </s>, padding and the like.

    Not by `skip_special_tokens`: KoBART's tokenizer marks 122 pieces of text as special (BI, ^^, :-), ㅠㅠ, emoji).
    """
    added = {id_: token for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
    special = {id_ for id_, token in added.items() if token.content[0] == "<" and token.content[-1] == ">"}
    special |= set(tokenizer.all_special_ids)
    texts: list[str] = tokenizer.batch_decode([[token for token in row if token not in special] for row in rows])
    return texts


def frame(
    tokenizer: PreTrainedTokenizerBase, lengths: Tokenizer, ask: Prompt, test_rows: Iterable[Mapping[str, str]]
) -> prompts.Frame:
    """How a decoder-only model is asked; `test_rows` decide whether the topic is named."""
    return prompts.Frame(
        tokenizer, settings=ask, max_length=lengths.max_input_length, with_topic=prompts.uses_topic(ask, test_rows)
    )


def encode_rows(
    rows: Sequence[Mapping[str, str]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    family: str,
    lengths: Tokenizer,
    ask: Prompt,
    test_rows: Iterable[Mapping[str, str]],
) -> list[list[int]]:
    """What the family's model reads for each processed row."""
    if family == "kobart":
        return encode_inputs(tokenizer, [row["dialogue"] for row in rows], lengths.max_input_length)
    return [item.ids for item in frame(tokenizer, lengths, ask, test_rows).encode(rows)]


Columns = dict[str, list[Any]]


def _encode_pair(batch: Columns, tokenizer: PreTrainedTokenizerBase, max_input_length: int, max_target_length: int) -> Columns:
    """For an encoder-decoder: input_ids and labels, each with EOS. Columns that start with _ are for the report."""
    columns: Columns = {"fname": batch["fname"]}
    limits = {"dialogue": max_input_length, "summary": max_target_length}
    for kind, limit in limits.items():
        if kind in batch:
            whole = (encode_inputs if kind == "dialogue" else encode_targets)(tokenizer, batch[kind], 10**9)
            columns["input_ids" if kind == "dialogue" else "labels"] = [_with_eos(tokenizer, ids, limit) for ids in whole]
            columns[f"_{kind}_tokens"] = [len(ids) for ids in whole]
            columns[f"_{kind}_truncated"] = [len(ids) > limit for ids in whole]
            columns[f"_{kind}_unknown_tokens"] = [_unknown(tokenizer, ids) for ids in whole]
    columns["length"] = [len(ids) for ids in columns["input_ids"]]
    _check_targets(columns["fname"], columns.get("labels"))
    return columns


def _encode_chat(batch: Columns, ask: prompts.Frame, max_target_length: int, variants: range) -> Columns:
    """For a decoder-only model: prompt and target in one row, the prompt masked in the labels; a row for each variant."""
    tokenizer = ask.tokenizer
    rows = [dict(zip(batch, cells, strict=True)) for cells in zip(*batch.values(), strict=True)]
    columns: Columns = {"fname": [fname for fname in batch["fname"] for _ in variants]}
    asked = [item for ways in zip(*(ask.encode(rows, variant=way) for way in variants), strict=True) for item in ways]
    columns["_prompt_tokens"] = [item.tokens for item in asked]
    columns["_prompt_truncated"] = [item.tokens > len(item.ids) or item.turn_cut for item in asked]
    columns["_prompt_turns_left_out"] = [item.turns_left_out for item in asked]
    columns["_prompt_turns_cut"] = [item.turn_cut for item in asked]
    columns["_prompt_unknown_tokens"] = [_unknown(tokenizer, item.ids) for item in asked]
    columns["input_ids"] = [item.ids for item in asked]
    if "summary" in batch:
        targets, tokens = prompts.encode_targets(tokenizer, batch["summary"], max_target_length)
        _check_targets(batch["fname"], targets)
        targets = [ids for ids in targets for _ in variants]
        tokens = [count for count in tokens for _ in variants]
        columns["_summary_tokens"] = tokens
        columns["_summary_truncated"] = [count > max_target_length for count in tokens]
        columns["_summary_unknown_tokens"] = [_unknown(tokenizer, ids) for ids in targets]
        columns["labels"] = [[-100] * len(item.ids) + ids for item, ids in zip(asked, targets, strict=True)]
        columns["input_ids"] = [item.ids + ids for item, ids in zip(asked, targets, strict=True)]
    columns["length"] = [len(ids) for ids in columns["input_ids"]]
    return columns


def _unknown(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> int:
    """Unknown tokens in `ids`. Where the end of text serves as the unknown one too, the vocabulary knows every text."""
    return 0 if tokenizer.unk_token_id == tokenizer.eos_token_id else ids.count(tokenizer.unk_token_id)


def _check_targets(fnames: list[str], targets: list[list[int]] | None) -> None:
    for fname, ids in zip(fnames, targets or [[0, 0]] * len(fnames), strict=True):
        if len(ids) < 2:
            raise YoyakError(f"{fname}: no token of its summary is left for the model to learn from")


def encoders(
    tokenizer: PreTrainedTokenizerBase,
    *,
    family: str,
    lengths: Tokenizer,
    ask: Prompt,
    test_rows: Iterable[Mapping[str, str]],
) -> dict[str, Callable[[Columns], Columns]]:
    """For each split, what makes token ids of a batch of its rows."""
    longest = lengths.max_target_length
    if family == "kobart":
        pair = partial(_encode_pair, tokenizer=tokenizer, max_input_length=lengths.max_input_length, max_target_length=longest)
        return dict.fromkeys(("train", "dev", "test"), pair)
    chats = frame(tokenizer, lengths, ask, test_rows)
    ways = {"train": len(prompts.INSTRUCTIONS) if ask.augmentation == "templates" else 1, "dev": 1, "test": 1}
    return {
        split: partial(_encode_chat, ask=chats, variants=range(count), max_target_length=longest)
        for split, count in ways.items()
    }


def _texts(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    for row in read_jsonl(path):
        yield {name: row[name] for name in columns}


def _read(path: Path, scratch: Path, *, fingerprint: str) -> datasets.Dataset:
    """The texts of a JSON-lines file as a memory-mapped dataset. `Dataset.from_json` would take "2024-11-20" for a time."""
    first = next(read_jsonl(path))
    columns = tuple(name for name in ("fname", "dialogue", "summary", "topic") if name in first)
    try:
        return datasets.Dataset.from_generator(
            _texts,
            features=datasets.Features(dict.fromkeys(columns, datasets.Value("string"))),
            cache_dir=str(scratch),
            gen_kwargs={"path": path, "columns": columns},
            fingerprint=fingerprint,
        )
    except datasets.exceptions.DatasetGenerationError as error:
        raise error.__cause__ or error from None


def encode_files(
    paths: Mapping[str, Path], folder: Path, encode: Mapping[str, Callable[[Columns], Columns]], *, workers: int
) -> dict[str, Any]:
    """Encode JSON-lines files of processed rows to a DatasetDict in `folder`, memory-mapped on both sides.

    Columns: fname, input_ids, length (of input_ids) and, where rows have a summary, labels. The files are the same whatever
    the number of workers. Returns for each split the rows and, for what is read and what is written, the lengths in tokens
    before cutting, how many rows were cut, and the unknown tokens.
    """
    splits, report = datasets.DatasetDict(), {}
    folder.mkdir(parents=True, exist_ok=True)
    # In `folder`, so that what a kill leaves goes with it.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".arrow.", ignore_cleanup_errors=True) as scratch:
        for split, path in paths.items():
            rows = _read(path, Path(scratch), fingerprint=f"yoyak-{split}-rows")
            encoded = rows.map(
                _call,
                batched=True,
                batch_size=500,
                writer_batch_size=200,  # so that what is saved in thousands is always joined anew: slices are padded otherwise
                num_proc=workers if len(rows) >= MANY_ROWS and workers > 1 else None,
                remove_columns=rows.column_names,
                fn_kwargs={"encode": encode[split]},
                new_fingerprint=f"yoyak-{split}",  # instead of a hash that differs from run to run
                desc=f"tokenize {split}",
            )
            report[split] = {"rows": len(encoded)} | _counts(encoded)
            kept = encoded.remove_columns([name for name in encoded.column_names if name.startswith("_")])
            # Made anew: what several processes give has no split, and it would be seen in the files.
            splits[split] = datasets.Dataset(kept.data, split=datasets.NamedSplit(split), fingerprint=f"yoyak-{split}-ids")
        splits.save_to_disk(folder, num_shards=dict.fromkeys(splits, 1))
    return report


def _call(batch: Mapping[str, list[Any]], encode: Callable[[Columns], Columns]) -> Columns:
    return encode({name: list(batch[name]) for name in batch})


def _counts(encoded: datasets.Dataset) -> dict[str, dict[str, Any]]:
    """For each kind of text that has columns `_<kind>_…`: its lengths before cutting, and the sums of the other columns."""
    report = {}
    for kind in ("dialogue", "prompt", "summary"):
        if f"_{kind}_tokens" in encoded.column_names:
            lengths = encoded.data.column(f"_{kind}_tokens").to_numpy()
            sums = {
                name.removeprefix(f"_{kind}_"): int(encoded.data.column(name).to_numpy().sum())
                for name in encoded.column_names
                if name.startswith(f"_{kind}_") and name != f"_{kind}_tokens"
            }
            report[kind] = {
                "tokens_mean": round(float(lengths.mean()), 2),
                "tokens_p95": int(np.percentile(lengths, 95, method="higher")),
                "tokens_max": int(lengths.max()),
                **sums,
                "truncated_share": round(sums["truncated"] / len(lengths), 6),
                "unknown_share": round(sums["unknown_tokens"] / int(lengths.sum()), 6),
            }
    return report


def load(folder: Path) -> datasets.DatasetDict:
    """The tokenized splits, memory-mapped. YoyakError if they are missing or damaged."""
    try:
        return datasets.DatasetDict.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise YoyakError(f"{folder}: not a readable tokenized set ({error}); run dvc repro") from error
