"""Clean the files of the three splits and write them as JSON lines. Every change and every rejected row is counted."""

from pathlib import Path

from stages import exit_of_stage
from yoyak.config.params import load_params
from yoyak.data.speaker_maps import copy_speakers
from yoyak.data.splits import SplitCleaner
from yoyak.system import resumable
from yoyak.system.atomic import atomic_file, atomic_folder
from yoyak.system.text_files import write_json, write_jsonl


def main(output: Path, rejects: Path, metrics: Path) -> None:
    params = load_params()
    resumable.delete_old_work()  # so that `dvc repro --force` computes everything anew
    with atomic_folder(output) as folder:
        with atomic_file(rejects) as file:
            cleaner = SplitCleaner(params.data, params.preprocess, rejects_file=file, near=True)
            for split, path in cleaner.paths.items():
                write_jsonl(folder / f"{split}.jsonl", cleaner.clean(split))
                report = cleaner.reports[split]
                print(f"{path}: {report.rows_in} rows, {report.rows_out} kept", flush=True)
                for message in report.messages(str(path)):
                    print(message, flush=True)
                for cut in cleaner.files[split].without_last_newline() if split not in cleaner.unreadable else ():
                    print(f"WARNING: {cut}: the last line has no newline at its end; is the file complete?", flush=True)
        cleaner.check()
        copy_speakers(Path(params.data.dir), folder)
        for message in cleaner.near_duplicates():
            print(message, flush=True)
    write_json(metrics, {split: report.counts() for split, report in cleaner.reports.items()})


if __name__ == "__main__":
    with exit_of_stage():
        main(Path("data/processed"), Path("data/rejects/rows.jsonl"), Path("metrics/preprocess.json"))
