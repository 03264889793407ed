"""Summaries of dev and test by the trained model, and the submission."""

from pathlib import Path
from typing import Any

from yoyak.config.params import load_params
from yoyak.data.person_tags import restore_person_tags
from yoyak.system.atomic import atomic_folder
from yoyak.system.errors import YoyakError, exit_with_message
from yoyak.system.integrity import verify_checksums
from yoyak.system.skip_note import write_skip_note
from yoyak.system.text_files import read_jsonl, write_csv, write_json


def main(processed: Path, models: Path, output: Path, metrics: Path) -> None:
    params = load_params()
    if params.search.pruned:
        write_skip_note("pruned.txt", f"predict: pruned: {params.search.pruned}", output)
        write_json(metrics, {"pruned": params.search.pruned})
        return

    from yoyak.data import prompts, tokenization
    from yoyak.inference import decoding, postprocessing
    from yoyak.models import checkpoints, trained
    from yoyak.system import hardware, resumable

    verify_checksums(processed)
    hardware.configure_cpu(params.hardware.cpu_threads)
    settings, strategy, family = params.generation, params.preprocess.person_tags, params.model.family
    source = models / family
    model, tokenizer = trained.load(source, base=params.model.qlora)
    lengths = checkpoints.lengths_of(family, params.tokenizer, settings)
    checkpoints.check_positions(model.config, str(source), lengths)
    rows = {split: list(read_jsonl(processed / f"{split}.jsonl")) for split in ("dev", "test")}
    read_as: dict[str, Any] = {"family": family, "lengths": params.tokenizer, "ask": params.prompt, "test_rows": rows["test"]}
    ids = {split: tokenization.encode_rows(part, tokenizer, **read_as) for split, part in rows.items()}
    read = {name: getattr(params, name) for name in ("tokenizer", "prompt", "generation", "hardware")}
    read["model"] = params.model.chosen
    outputs = {}
    with resumable.work_folder("predict", read, [processed, source, Path(params.model.chosen.checkpoint)]) as folder:
        size = model.num_parameters()
        judge = decoding.judge(tokenizer, ids["dev"], rows["dev"], settings=settings, person_tags=strategy, parameters=size)
        threads = params.hardware.cpu_threads
        writer, chosen = decoding.choose_writer(model, tokenizer, settings=settings, threads=threads, judge=judge)
        print(f"{chosen['backend']} writes: {chosen['why']}", flush=True)
        for split, part in rows.items():
            texts, kept = [row["dialogue"] for row in part], resumable.BatchStore(folder / f"{split}.jsonl")
            outputs[split] = decoding.generate(
                writer, tokenizer, ids[split], texts, settings=settings, progress=f"predict {split}", kept=kept
            )
    use, report = postprocessing.decide(settings.postprocess, outputs["dev"], rows["dev"], strategy)
    if family == "qlora":
        report["topic"] = prompts.uses_topic(params.prompt, rows["test"])
    report |= chosen
    report["decoding"] = decoding.describe(settings, backend=chosen["backend"]) + (",postprocess=on" if use else "")
    with atomic_folder(output) as folder:
        for split, split_rows in rows.items():
            texts = [
                restore_person_tags(postprocessing.finish(item) if use else item.text, strategy) for item in outputs[split]
            ]
            dialogues = [restore_person_tags(row["dialogue"], strategy) for row in split_rows]
            report[split] = decoding.faults(outputs[split], texts, dialogues)
            if report[split]["empty"] == len(texts):
                raise YoyakError(f"all {len(texts)} outputs for {split} are empty: the model writes nothing")
            table = [{"fname": r["fname"], "summary": t} for r, t in zip(split_rows, texts, strict=True)]
            for name in [split, "submission"] if split == "test" else [split]:
                write_csv(folder / f"{name}.csv", table, columns=["fname", "summary"])
            print(f"{split}: {report[split]}", flush=True)
    write_json(metrics, report)


if __name__ == "__main__":
    with exit_with_message():
        main(Path("data/processed"), Path("models"), Path("data/predictions"), Path("metrics/predict.json"))
