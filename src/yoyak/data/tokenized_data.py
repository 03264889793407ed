"""Tokenized splits on disk: written from JSON lines in flat memory, and read memory-mapped."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets

from yoyak.data.column_counts import count_tokens
from yoyak.data.encoding_checks import CHARACTERS, Columns, most_common_characters
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import read_json, read_jsonl, write_json

INSTRUCTION = "instruction"  # of added rows: the index of the prompt's instruction; without it, the first one
NEW_TOKENS = "new_tokens.json"  # the words that were added to the tokenizer, if there are any
ROWS_FOR_SEVERAL_PROCESSES = 20_000  # with fewer rows, starting processes takes longer than it saves


def _read_texts(
    paths: tuple[Path, ...], columns: tuple[str, ...], replaced: frozenset[str] = frozenset()
) -> Iterator[dict[str, str]]:
    for path in paths:
        for row in read_jsonl(path):
            if row["fname"] in replaced:
                continue
            yield {name: str(row.get(name, 0)) if name == INSTRUCTION else row[name] for name in columns}


def _open_rows(
    paths: tuple[Path, ...], scratch: Path, *, fingerprint: str, replaced: frozenset[str] = frozenset()
) -> datasets.Dataset:
    """The texts of JSON-lines files as a memory-mapped dataset. `Dataset.from_json` would read "2024-11-20" as a date.

    The columns are those of the first row. With a second file, of added rows, each row has an instruction too.
    """
    first = next(read_jsonl(paths[0]))
    names = ("fname", "dialogue", "summary", "topic")
    columns = (*(name for name in names if name in first), *([INSTRUCTION] if len(paths) > 1 else []))
    try:
        return datasets.Dataset.from_generator(
            _read_texts,
            features=datasets.Features(dict.fromkeys(columns, datasets.Value("string"))),
            cache_dir=str(scratch),
            gen_kwargs={"paths": paths, "columns": columns, "replaced": replaced},
            fingerprint=fingerprint,
        )
    except datasets.exceptions.DatasetGenerationError as error:
        raise error.__cause__ or error from None


def _fnames(path: Path | None) -> frozenset[str]:
    """The fnames of a JSON-lines file that need not exist."""
    return frozenset(row["fname"] for row in read_jsonl(path)) if path and path.is_file() else frozenset()


def encode_files(
    paths: Mapping[str, Path],
    folder: Path,
    encoders: Mapping[str, Callable[[Columns], Columns]],
    *,
    workers: int,
    added: Path | None = None,
    replaced: Path | None = None,
) -> dict[str, Any]:
    """Encode processed rows and write them to `folder` as a DatasetDict. Input and output are memory-mapped.

    Args:
        paths: for each split, the JSON-lines file of its processed rows.
        folder: where the DatasetDict goes.
        encoders: for each split, the function that encodes a batch (`Family.batch_encoders`).
        added: the file of the rows that the stage augment adds to train. It may be empty.
        replaced: the file with the fnames of the train rows in whose place added rows are trained on. It need not exist.
        workers: processes for large files. The written bytes do not depend on it.

    Returns:
        For each split the number of rows, and for each kind of text (dialogue, prompt, summary) its lengths in tokens before
        cutting, what was cut and left out, and the unknown tokens. This is the content of metrics/tokenize.json.
    """
    splits = datasets.DatasetDict()
    report: dict[str, dict[str, Any]] = {}
    folder.mkdir(parents=True, exist_ok=True)
    # The scratch folder is inside `folder`, so that what a kill leaves is deleted with it.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".arrow.", ignore_cleanup_errors=True) as scratch:
        for split, path in paths.items():
            more = added if split == "train" and added and added.stat().st_size else None
            left_out = _fnames(replaced) if more else frozenset[str]()
            rows = _open_rows(
                (path, more) if more else (path,), Path(scratch), fingerprint=f"yoyak-{split}-rows", replaced=left_out
            )
            encoded = rows.map(
                _encode_batch,
                batched=True,
                batch_size=500,
                writer_batch_size=200,  # smaller than the 1,000 rows that saving takes at once; larger ones are written padded
                num_proc=workers if len(rows) >= ROWS_FOR_SEVERAL_PROCESSES and workers > 1 else None,
                remove_columns=rows.column_names,
                fn_kwargs={"encode": encoders[split]},
                new_fingerprint=f"yoyak-{split}",  # the library's own hash differs from run to run
                desc=f"tokenize {split}",
            )
            numbers = [name for name in encoded.column_names if name.startswith("_") and not name.startswith(CHARACTERS)]
            report[split] = {"rows": len(encoded)} | ({"added": sum(1 for _ in read_jsonl(more))} if more else {})
            report[split] |= {"replaced": len(left_out)} if left_out else {}
            report[split] |= count_tokens({name: encoded.data.column(name).to_numpy() for name in numbers})
            _add_characters(report[split], encoded)
            kept = encoded.remove_columns([name for name in encoded.column_names if name.startswith("_")])
            # A new object: the result of several processes does not know its split, and the written files would show that.
            splits[split] = datasets.Dataset(kept.data, split=datasets.NamedSplit(split), fingerprint=f"yoyak-{split}-ids")
        splits.save_to_disk(folder, num_shards=dict.fromkeys(splits, 1))
    return report


def _add_characters(counts: dict[str, Any], encoded: datasets.Dataset) -> None:
    """Add unknown_characters and rewritten_characters to the counts of each kind of text."""
    for column in encoded.column_names:
        if column.startswith(CHARACTERS):
            kind, _, what = column.removeprefix(CHARACTERS).partition("_")
            cells = (cell.as_py() for chunk in encoded.data.column(column).chunks for cell in chunk)
            counts[kind][f"{what}_characters"] = most_common_characters(cells)


def _encode_batch(batch: Mapping[str, list[Any]], encode: Callable[[Columns], Columns]) -> Columns:
    return encode({name: list(batch[name]) for name in batch})


def load_tokenized(folder: Path) -> datasets.DatasetDict:
    """The tokenized splits, memory-mapped. YoyakError if they are missing or damaged."""
    try:
        return datasets.DatasetDict.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise YoyakError(f"{folder}: not a readable tokenized data set ({error}); run dvc repro") from error


def write_words(folder: Path, words: Sequence[str]) -> None:
    """Keep the words that became tokens (`tokenizer.new_tokens`) for training. Without words no file is written."""
    if words:
        write_json(folder / NEW_TOKENS, list(words))


def read_words(folder: Path) -> list[str]:
    """The words that became tokens in the tokenized splits."""
    words: list[str] = read_json(folder / NEW_TOKENS) if (folder / NEW_TOKENS).is_file() else []
    return words
