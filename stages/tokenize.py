"""Encode the processed rows as token ids for the chosen family."""

import os
from pathlib import Path

from stages import exit_of_stage
from yoyak.config.params import load_params
from yoyak.data import tokenized_data
from yoyak.data.encoding_checks import describe_characters
from yoyak.models.checkpoints import check_token_limits
from yoyak.models.families.lookup import family_named
from yoyak.models.few_shot import example_chooser, prepare_examples
from yoyak.models.length_proposals import tokenize_advice
from yoyak.models.length_report import describe_lengths
from yoyak.models.new_tokens import add_chosen
from yoyak.models.portable import describe_input
from yoyak.system.atomic import atomic_folder
from yoyak.system.integrity import verify_checksums
from yoyak.system.skip_note import write_skip_note
from yoyak.system.text_files import read_jsonl, write_json

SECTIONS = ("model", "preprocess", "prompt", "tokenizer")


def main(processed: Path, augmented: Path, output: Path, metrics: Path) -> None:
    params = load_params().only(*SECTIONS)
    family = family_named(params.model.family)
    if not family.is_trained:
        note = f"nothing to do, the family {family.name} is not trained"
        write_skip_note("not-chosen.txt", f"tokenize: {note}", output)
        write_json(metrics, {"skipped": note})
        return
    chosen = params.model.chosen
    checkpoint = Path(chosen.checkpoint).resolve()
    if checkpoint.is_dir() and not checkpoint.is_relative_to(Path("models/base").resolve()):
        print(f"WARNING: {chosen.checkpoint} is outside models/base: DVC does not notice when it changes", flush=True)
    lengths, limits = params.tokenizer, family.token_limits(params.tokenizer, None)
    positions = check_token_limits(chosen.checkpoint, chosen.revision, limits)
    verify_checksums(processed)
    verify_checksums(augmented)
    added = augmented / "train.jsonl"
    tokenizer = family.load_tokenizer(params)
    files = {split: processed / f"{split}.jsonl" for split in ("train", "dev", "test")}
    words = add_chosen(params, tokenizer, files["train"])
    examples = example_chooser(family, params, lambda: read_jsonl(files["train"]))
    if examples is not None:  # rows are encoded in several processes
        prepare_examples(examples, files, added)
    encoders = family.batch_encoders(tokenizer, params, read_jsonl(files["test"]), examples)
    settings = describe_input(family, tokenizer, encoders["test"], params, read_jsonl(files["test"]))
    with atomic_folder(output) as folder:
        replaced, workers = augmented / "replaced.jsonl", os.cpu_count() or 1
        report = tokenized_data.encode_files(files, folder, encoders, workers=workers, added=added, replaced=replaced)
        settings.write(folder)
        tokenized_data.write_words(folder, words)
    for split, counts in report.items():
        is_train = split == "train"
        for message in describe_lengths(counts, lengths=lengths, limits=limits, positions=positions, for_training=is_train):
            print(f"{split}: {message}", flush=True)
        for message in describe_characters(counts, tokenizer):
            print(f"{split}: {message}", flush=True)
    for line in tokenize_advice(report, lengths, limits, positions):
        print(line, flush=True)
    write_json(metrics, report)


if __name__ == "__main__":
    with exit_of_stage():
        main(Path("data/processed"), Path("data/augmented"), Path("data/tokenized"), Path("metrics/tokenize.json"))
