"""Raw CSVs to clean JSON lines, every change and every rejected row counted."""

from pathlib import Path

from yoyak import preprocess
from yoyak.errors import told
from yoyak.files import whole_folder, write_json, write_jsonl
from yoyak.params import load


def main(output: Path, rejects: Path, metrics: Path) -> None:
    params = load()
    paths = {split: Path(params.data.dir) / f"{split}.csv" for split in preprocess.COLUMNS}
    reports = {split: preprocess.Report() for split in paths}
    guard = preprocess.Guard()
    with whole_folder(output) as folder:
        for split, path in paths.items():
            rows = preprocess.clean_file(path, split=split, settings=params.preprocess, guard=guard, report=reports[split])
            write_jsonl(folder / f"{split}.jsonl", rows)
            print(f"{path}: {reports[split].rows_in} rows, {reports[split].rows_out} kept", flush=True)
        write_jsonl(rejects, [reject for report in reports.values() for reject in report.rejects])
        preprocess.check(reports, guard=guard, paths=paths, max_rejected=params.preprocess.max_rejected)
    write_json(metrics, {split: report.counts() for split, report in reports.items()})


if __name__ == "__main__":
    with told():
        main(Path("data/processed"), Path("data/rejects/rows.jsonl"), Path("metrics/preprocess.json"))
