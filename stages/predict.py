"""Write the summaries of dev and test with the trained model, and the submission file."""

from pathlib import Path

from stages import exit_of_stage
from yoyak.config.params import load_params
from yoyak.system import portable_kernels
from yoyak.system.atomic import atomic_folder
from yoyak.system.csv_files import write_summaries
from yoyak.system.debug_note import debug_report
from yoyak.system.integrity import verify_checksums
from yoyak.system.skip_note import write_skip_note
from yoyak.system.text_files import read_jsonl, write_json, write_jsonl

SECTIONS = ("model", "pretrain", "preprocess", "tokenizer", "prompt", "generation", "hardware", "search")


def main(processed: Path, models: Path, output: Path, metrics: Path) -> None:
    params = (declared := load_params().only(*SECTIONS)).after_pretraining()
    portable_kernels.use_if(params.hardware.portable)
    if params.search.pruned:
        write_skip_note("pruned.txt", f"predict: pruned: {params.search.pruned}", output)
        write_json(metrics, {"pruned": params.search.pruned})
        return
    verify_checksums(processed)
    from yoyak.data.prompts import uses_topic
    from yoyak.data.speaker_maps import NameRestorer
    from yoyak.inference.decoding import describe_decoding
    from yoyak.inference.outputs import candidate_rows, check_not_all_empty, count_faults, describe_faults
    from yoyak.inference.postprocessing import decide
    from yoyak.inference.summarizer import Summarizer
    from yoyak.system.resumable import BatchStore, work_folder
    from yoyak.system.timings import record_seconds

    summarizer = Summarizer.load_chosen(models, params, processed=processed)
    rows = {split: list(read_jsonl(processed / f"{split}.jsonl")) for split in ("dev", "test")}
    restored = NameRestorer(processed, rows["test"]) if params.generation.restore_speakers else None
    names_topic = uses_topic(params.prompt, rows["test"])
    encoded = {split: summarizer.encode(rows[split], names_topic=names_topic) for split in rows}
    print("\n".join(f"{split}: {summarizer.reader.describe_cuts(encoded[split]) or 'all fit'}" for split in rows), flush=True)
    settings, family, trained = params.generation, summarizer.family, models / params.model.family
    with work_folder("predict", *summarizer.depends_on(processed, trained)) as kept, summarizer.in_processes(trained):
        choice = summarizer.choose_backend(encoded["dev"], rows["dev"])
        print(f"backend {choice.backend}: {choice.why}", flush=True)
        stores = {split: BatchStore(kept / f"{split}.jsonl") for split in rows}
        outputs = {split: summarizer.write(encoded[split], rows[split], progress=split, kept=stores[split]) for split in rows}
    postprocess, report = decide(settings.postprocess, outputs["dev"], rows["dev"], params.preprocess.person_tags)
    report |= {"topic": names_topic} if "prompt." not in family.unread_params else {}
    report |= choice.report() | debug_report(trained) | declared.pretraining_report()
    report["decoding"] = describe_decoding(settings, choice.backend, unread=family.unread_params, postprocess=postprocess)
    with atomic_folder(output) as folder:
        for split, dialogues in rows.items():
            texts = summarizer.finish(outputs[split], postprocess=postprocess)
            report[split] = count_faults(outputs[split], texts, summarizer.restore_tags([row["dialogue"] for row in dialogues]))
            report[split]["input"] = summarizer.reader.count_cuts(encoded[split])
            check_not_all_empty(report[split], split)
            write_summaries(folder / f"{split}.csv", dialogues, texts)
            if any(output.candidates for output in outputs[split]):
                written = candidate_rows(dialogues, outputs[split], summarizer.restore_tags)
                write_jsonl(folder / f"{split}.candidates.jsonl", written)
            if split == "test":
                write_summaries(folder / "submission.csv", dialogues, restored.restore(texts) if restored else texts)
            print(f"{split}: {describe_faults(report[split])}", flush=True)
    write_json(metrics, report)
    record_seconds(output, summarizer.seconds_a_dialogue)


if __name__ == "__main__":
    with exit_of_stage():
        main(Path("data/processed"), Path("models"), Path("data/predictions"), Path("metrics/predict.json"))
