"""Processed rows to token ids: what the encoder-decoder reads, and what it is taught to write."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from transformers import PreTrainedTokenizerBase

from yoyak.errors import YoyakError
from yoyak.files import read_jsonl

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


def _encode(
    batch: Mapping[str, list[Any]], tokenizer: PreTrainedTokenizerBase, limits: Mapping[str, int]
) -> dict[str, list[Any]]:
    """Columns of a batch, with `<kind>_tokens` (before cutting) and `<kind>_unknown` for the report."""
    columns: dict[str, list[Any]] = {"fname": batch["fname"]}
    for kind, limit in limits.items():
        whole = (encode_inputs if kind == "dialogue" else encode_targets)(tokenizer, batch[kind], 10**9)
        cut = [_with_eos(tokenizer, ids, limit) for ids in whole]
        columns["input_ids" if kind == "dialogue" else "labels"] = cut
        if kind == "dialogue":
            columns["length"] = [len(ids) for ids in cut]
        columns[f"{kind}_tokens"] = [len(ids) for ids in whole]
        columns[f"{kind}_unknown"] = [ids.count(tokenizer.unk_token_id) for ids in whole]
    for fname, labels in zip(columns["fname"], columns.get("labels", [[0, 0]] * len(columns["fname"])), strict=True):
        if len(labels) < 2:
            raise YoyakError(f"{fname}: no token of its summary is left for the model to learn from")
    return columns


def _texts(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    for row in read_jsonl(path):
        yield {name: row[name] for name in columns}


def _read(path: Path, scratch: Path, *, fingerprint: str) -> datasets.Dataset:
    """The texts of a JSON-lines file as a memory-mapped dataset. `Dataset.from_json` would take "2024-11-20" for a time."""
    first = next(read_jsonl(path))
    columns = tuple(name for name in ("fname", "dialogue", "summary") if name in first)
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
    paths: Mapping[str, Path],
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_input_length: int,
    max_target_length: int,
    workers: int,
) -> dict[str, Any]:
    """Encode JSON-lines files of processed rows to a DatasetDict in `folder`, memory-mapped on both sides.

    Columns: fname, input_ids, length (of input_ids) and, where rows have a summary, labels. The files are the same whatever
    the number of workers. Returns for each split the rows and, for dialogue and summary, the lengths in tokens before
    cutting, how many rows were cut, and the unknown tokens.
    """
    splits, report = datasets.DatasetDict(), {}
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".arrow.", ignore_cleanup_errors=True) as scratch:
        for split, path in paths.items():
            rows = _read(path, Path(scratch), fingerprint=f"yoyak-{split}-rows")
            limits = {"dialogue": max_input_length, "summary": max_target_length}
            limits = {kind: limit for kind, limit in limits.items() if kind in rows.column_names}
            encoded = rows.map(
                _encode,
                batched=True,
                batch_size=500,
                num_proc=workers if len(rows) >= MANY_ROWS and workers > 1 else None,
                remove_columns=rows.column_names,
                fn_kwargs={"tokenizer": tokenizer, "limits": limits},
                new_fingerprint=f"yoyak-{split}",  # instead of a hash that differs from run to run
                desc=f"tokenize {split}",
            )
            report[split] = {"rows": len(rows)} | {kind: _count(encoded, kind, limit) for kind, limit in limits.items()}
            kept = encoded.remove_columns([name for name in encoded.column_names if "_tokens" in name or "_unk" in name])
            # Made anew: what several processes give has no split, and it would be seen in the files.
            splits[split] = datasets.Dataset(kept.data, split=datasets.NamedSplit(split), fingerprint=f"yoyak-{split}-ids")
        splits.save_to_disk(folder, num_shards=dict.fromkeys(splits, 1))
    return report


def _count(encoded: datasets.Dataset, kind: str, limit: int) -> dict[str, Any]:
    """Lengths in tokens before cutting, rows cut at `limit`, unknown tokens."""
    lengths = np.array(encoded[f"{kind}_tokens"])
    unknown = int(np.sum(encoded[f"{kind}_unknown"]))
    cut = int((lengths > limit).sum())
    return {
        "tokens_mean": round(float(lengths.mean()), 2),
        "tokens_p95": int(np.percentile(lengths, 95, method="higher")),
        "tokens_max": int(lengths.max()),
        "truncated": cut,
        "truncated_share": round(cut / len(lengths), 6),
        "unknown_tokens": unknown,
        "unknown_share": round(unknown / int(lengths.sum()), 6),
    }


def load(folder: Path) -> datasets.DatasetDict:
    """The tokenized splits, memory-mapped. YoyakError if they are missing or damaged."""
    try:
        return datasets.DatasetDict.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise YoyakError(f"{folder}: not a readable tokenized set ({error}); run dvc repro") from error
