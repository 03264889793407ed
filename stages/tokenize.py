"""Clean rows to token ids on disk, for the chosen family."""

import os
from pathlib import Path

from yoyak.config.params import load_params
from yoyak.data import tokenization
from yoyak.models.checkpoints import check_lengths, lengths_of, load_tokenizer
from yoyak.system.atomic import atomic_folder
from yoyak.system.errors import exit_with_message
from yoyak.system.integrity import verify_checksums
from yoyak.system.text_files import read_jsonl, write_json


def main(processed: Path, output: Path, metrics: Path) -> None:
    params = load_params()
    settings, chosen, chats = params.tokenizer, params.model.chosen, params.model.family == "qlora"
    here = Path(chosen.checkpoint).resolve()
    if here.is_dir() and not here.is_relative_to(Path("models/base").resolve()):
        print(f"WARNING: {chosen.checkpoint} is outside models/base: DVC does not see when it changes", flush=True)
    check_lengths(chosen.checkpoint, chosen.revision, lengths_of(params.model.family, settings, None))
    verify_checksums(processed)
    tokenizer = load_tokenizer(chosen.checkpoint, chosen.revision, settings.special_tokens, pad_with_eos=chats)
    with atomic_folder(output) as folder:
        report = tokenization.encode_files(
            {split: processed / f"{split}.jsonl" for split in ("train", "dev", "test")},
            folder,
            tokenization.encoders(
                tokenizer,
                family=params.model.family,
                lengths=settings,
                ask=params.prompt,
                test_rows=read_jsonl(processed / "test.jsonl"),
            ),
            workers=os.cpu_count() or 1,
        )
    for split, counts in report.items():
        for kind, lost in (("dialogue", "its end is"), ("summary", "its end is"), ("prompt", "turns of its middle are")):
            if cut := counts.get(kind, {}).get("truncated"):
                print(f"{split}: {cut} of {counts['rows']} rows have a {kind} longer than its limit; {lost} left out")
    write_json(metrics, report)


if __name__ == "__main__":
    with exit_with_message():
        main(Path("data/processed"), Path("data/tokenized"), Path("metrics/tokenize.json"))
