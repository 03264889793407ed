"""Raw CSVs to clean JSON lines, every change and every rejected row counted."""

from pathlib import Path

from yoyak.config.params import load_params
from yoyak.data import cleaning
from yoyak.system import resumable
from yoyak.system.atomic import atomic_file, atomic_folder
from yoyak.system.errors import exit_with_message
from yoyak.system.text_files import ends_with_newline, write_json, write_jsonl


def main(output: Path, rejects: Path, metrics: Path) -> None:
    params = load_params()
    resumable.delete_old_work()  # what is finished: when all is made anew, by `dvc repro --force`, nothing comes from there
    paths = {split: Path(params.data.dir) / f"{split}.csv" for split in cleaning.COLUMNS}
    guard = cleaning.Guard()
    with atomic_folder(output) as folder:
        with atomic_file(rejects) as file:
            reports = {split: cleaning.Report(file=file) for split in paths}
            for split, path in paths.items():
                rows = cleaning.clean_file(path, split=split, settings=params.preprocess, guard=guard, report=reports[split])
                write_jsonl(folder / f"{split}.jsonl", rows)
                print(f"{path}: {reports[split].rows_in} rows, {reports[split].rows_out} kept", flush=True)
                if not ends_with_newline(path):
                    print(f"WARNING: {path}: the last line has no end; was the file cut off?", flush=True)
        cleaning.check(reports, guard=guard, paths=paths, max_rejected=params.preprocess.max_rejected)
    write_json(metrics, {split: report.counts() for split, report in reports.items()})


if __name__ == "__main__":
    with exit_with_message():
        main(Path("data/processed"), Path("data/rejects/rows.jsonl"), Path("metrics/preprocess.json"))
