"""Summaries of dev and test by the trained model, and the submission."""

from pathlib import Path

from yoyak.dialogue import restore_person_tags
from yoyak.errors import YoyakError, told
from yoyak.files import leave_note, read_jsonl, verify, whole_folder, write_csv, write_json
from yoyak.params import load


def main(processed: Path, models: Path, output: Path, metrics: Path) -> None:
    params = load()
    if params.search.pruned:
        leave_note("pruned.txt", f"predict: pruned: {params.search.pruned}", output)
        write_json(metrics, {"pruned": params.search.pruned})
        return

    from yoyak import checkpoint, encoding, generation, hardware, postprocess, prompt, resume, trained

    verify(processed)
    hardware.use_threads(params.hardware.cpu_threads)
    settings, strategy = params.generation, params.preprocess.person_tags
    source = models / params.model.family
    model, tokenizer = trained.load(source, base=params.model.qlora)
    lengths = checkpoint.lengths_of(params.model.family, params.tokenizer, settings)
    checkpoint.check_positions(model.config, str(source), lengths)
    rows = {split: list(read_jsonl(processed / f"{split}.jsonl")) for split in ("dev", "test")}
    outputs = {}
    read = {name: getattr(params, name) for name in ("tokenizer", "prompt", "generation", "hardware")}
    read["model"] = params.model.chosen
    with resume.work("predict", read, [processed, source, Path(params.model.chosen.checkpoint)]) as folder:
        for split, split_rows in rows.items():
            ids = encoding.encode_rows(
                split_rows,
                tokenizer,
                family=params.model.family,
                lengths=params.tokenizer,
                ask=params.prompt,
                test_rows=rows["test"],
            )
            outputs[split] = generation.generate(
                model,
                tokenizer,
                ids,
                [row["dialogue"] for row in split_rows],
                settings=settings,
                progress=f"predict {split}",
                kept=resume.Batches(folder / f"{split}.jsonl"),
            )
    use, report = postprocess.decide(settings.postprocess, outputs["dev"], rows["dev"], strategy)
    if params.model.family == "qlora":
        report["topic"] = prompt.uses_topic(params.prompt, rows["test"])
    report["decoding"] = generation.describe(settings) + (",postprocess=on" if use else "")
    with whole_folder(output) as folder:
        for split, split_rows in rows.items():
            texts = [restore_person_tags(postprocess.finish(item) if use else item.text, strategy) for item in outputs[split]]
            dialogues = [restore_person_tags(row["dialogue"], strategy) for row in split_rows]
            report[split] = generation.faults(outputs[split], texts, dialogues)
            if report[split]["empty"] == len(texts):
                raise YoyakError(f"all {len(texts)} outputs for {split} are empty: the model writes nothing")
            table = [{"fname": r["fname"], "summary": t} for r, t in zip(split_rows, texts, strict=True)]
            for name in [split, "submission"] if split == "test" else [split]:
                write_csv(folder / f"{name}.csv", table, columns=["fname", "summary"])
            print(f"{split}: {report[split]}", flush=True)
    write_json(metrics, report)


if __name__ == "__main__":
    with told():
        main(Path("data/processed"), Path("models"), Path("data/predictions"), Path("metrics/predict.json"))
