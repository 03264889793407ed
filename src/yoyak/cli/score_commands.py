"""Commands that score predictions outside the pipeline: score, check-submission."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from yoyak.cli.command import LANGUAGES, Command, add_changes
from yoyak.system.errors import YoyakError

if TYPE_CHECKING:
    from yoyak.data.noise import Noise
    from yoyak.evaluation.correlations import Values
    from yoyak.evaluation.morphemes import Morphemes
    from yoyak.evaluation.paired_tests import PairedResult
    from yoyak.system.csv_files import Row

    RowScores = list[dict[str, float | None]]  # of each dialogue by column


def _score(args: argparse.Namespace) -> None:
    from yoyak.config.params import load_params
    from yoyak.system.csv_files import read_csv
    from yoyak.system.text_files import check_text_file, counted, list_rows, place, write_json

    params = load_params(changes=args.set)
    for path in (args.predictions, args.references, args.train, args.against):
        if path:
            check_text_file(path)

    from yoyak.data.cleaning import references_of
    from yoyak.evaluation.morphemes import Morphemes
    from yoyak.evaluation.score_table import score_table
    from yoyak.evaluation.scoring import score
    from yoyak.evaluation.submission import doubled_fnames, read_predictions
    from yoyak.inference.chosen_metrics import score_metrics

    rows = list(read_csv(args.references, required=["fname"]))
    references = [references_of(row.cells) for row in rows]
    faults = [
        f"{place(args.references, row.line, row.cells['fname'])}: no summary to score against"
        for row, texts in zip(rows, references, strict=True)
        if not texts
    ]
    faults += doubled_fnames(args.references, rows)
    if faults:
        raise YoyakError(f"{args.references}: {counted(len(faults), 'fault')}:{list_rows(faults, count=len(faults))}")
    fnames = [row.cells["fname"] for row in rows]
    predictions = {path: read_predictions(path, fnames=fnames) for path in (args.predictions, args.against) if path}
    tokenizer = Morphemes()
    train = args.train or Path(params.data.dir) / "train.csv"
    dialogues = _dialogues(rows, params.preprocess.noise)
    baselines = _baselines(dialogues, train=train, tokenizer=tokenizer, noise=params.preprocess.noise) if dialogues else {}
    aggregation = args.how or params.score.references
    metrics = score_metrics(params.score, tokenizer=tokenizer, aggregation=aggregation, threads=params.hardware.cpu_threads)
    scored = {
        path: score(
            predictions=texts,
            references=references,
            dialogues=dialogues,
            baselines=baselines,
            metrics=metrics,
            bootstrap_samples=params.score.bootstrap_samples,
            seed=params.score.seed,
            decoding="unknown",
        )
        for path, texts in predictions.items()
    }
    result, per_row = scored[args.predictions]
    if args.json:
        write_json(args.json, result)
    print(score_table(result))
    if args.correlations:
        print(f"\n{_correlations(fnames, per_row, samples=params.score.bootstrap_samples, seed=params.score.seed)}")
    results = None
    if args.against:
        from yoyak.evaluation.paired_table import paired_table

        results = _comparison(args, per_row, scored[args.against][1])
        print("\n" + "\n".join(paired_table(results, base=str(args.against), rows=len(rows))))
    if args.html:
        topics = [row.cells.get("topic") or "" for row in rows]
        texts = list(zip(fnames, topics, dialogues or [""] * len(rows), references, strict=True))
        from yoyak.cli.score_page import write_score_page

        summaries = {str(path): (predictions[path], scored[path][1]) for path in (args.against, args.predictions) if path}
        write_score_page(args.html, scores=result, texts=texts, summaries=summaries, results=results, language=args.language)
        print(f"\n{args.html}: open it in a browser; it needs no network")


def _columns(table: "RowScores") -> dict[str, "Values"]:
    """(rows,) of each column; NaN where a metric was not measured."""
    import numpy as np

    return {name: np.array([np.nan if row[name] is None else row[name] for row in table]) for name in table[0]}


def _correlations(fnames: list[str], rows: "RowScores", *, samples: int, seed: int) -> str:
    from yoyak.evaluation.correlations import agreement_table, agreements
    from yoyak.evaluation.metrics.lookup import lower_is_better

    lower = lower_is_better()
    found = agreements(fnames, _columns(rows), lower_is_better=lower, samples=samples, seed=seed)
    return "\n".join(agreement_table(found, lower_is_better=lower))


def _comparison(args: argparse.Namespace, rows: "RowScores", other_rows: "RowScores") -> "dict[str, dict[str, PairedResult]]":
    """The paired tests of --predictions against --against, of the scores of each row."""
    from yoyak.evaluation.metrics.lookup import lower_is_better
    from yoyak.evaluation.paired_tests import compare_metrics

    return compare_metrics(
        {str(args.predictions): _columns(rows)},
        _columns(other_rows),
        lower_is_better=lower_is_better(),
    )


def _dialogues(rows: "list[Row]", noise: "Noise") -> list[str] | None:
    """The cleaned dialogues of `rows`; None if the file has no such column."""
    from yoyak.data.cleaning import clean_dialogue

    if "dialogue" not in rows[0].cells:
        return None
    return [_cleaned(row.cells["dialogue"], clean_dialogue, noise) for row in rows]


def _baselines(dialogues: list[str], *, train: Path, tokenizer: "Morphemes", noise: "Noise") -> dict[str, list[str]]:
    """Predictions of each baseline for `dialogues`."""
    from yoyak.data.cleaning import clean_summary
    from yoyak.evaluation.baselines import baseline_predictions, medoid
    from yoyak.system.csv_files import read_csv

    summaries = [_cleaned(row.cells["summary"], clean_summary, noise) for row in read_csv(train, required=["summary"])]
    return baseline_predictions(dialogues, medoid=medoid(summaries, tokenizer=tokenizer))


def _cleaned(text: str, clean: "Callable[[str, Noise], tuple[str, object]]", noise: "Noise") -> str:
    """A dialogue or summary as the pipeline cleans it. A text that the pipeline rejects stays as it is."""
    from yoyak.data.dialogue import BadDialogueError

    try:
        return clean(text, noise)[0]
    except BadDialogueError:
        return text


def _add_score_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--predictions", type=Path, required=True, metavar="FILE", help="CSV with fname,summary: the summaries to score"
    )
    parser.add_argument(
        "--references",
        type=Path,
        required=True,
        metavar="FILE",
        help="CSV with the same fnames and summary; summary2, summary3 … are further references; with a column dialogue, "
        "baselines are scored too",
    )
    parser.add_argument(
        "--train", type=Path, metavar="FILE", help="CSV whose summaries give the medoid baseline (default: data.dir/train.csv)"
    )
    parser.add_argument(
        "--how",
        choices=["mean", "max"],
        help="how to combine the scores against several references (default: score.references in params.yaml)",
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FILE",
        help="CSV with fname,summary: other summaries of the same dialogues, to compare with by paired tests",
    )
    parser.add_argument(
        "--correlations",
        action="store_true",
        help="also print how each metric agrees with ROUGE over the dialogues, and the dialogues that ROUGE overlooks",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the scores to this file")
    parser.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="also write a page with every dialogue, as `yoyak report` does; with --against, as `yoyak compare --html` does",
    )
    parser.add_argument("--language", choices=LANGUAGES, default="ko", help="language of the page (default: ko)")
    add_changes(parser, "use this value in place of that in params.yaml, such as score.bert_score.checkpoint=models/bert")


def _check_submission(args: argparse.Namespace) -> None:
    from yoyak.config.params import load_params
    from yoyak.evaluation.submission import check_submission, longest_allowed

    test = args.test or Path(load_params().data.dir) / "test.csv"
    errors, warnings = check_submission(args.file, test=test, longest=longest_allowed(test.with_name("train.csv")))
    for line in warnings:
        print(f"warning: {line}")
    for line in errors:
        print(f"error: {line}")
    if errors:
        raise SystemExit(f"{args.file}: not ready for submission; correct the errors above")
    print(f"{args.file}: ready for submission")


def _add_check_submission_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="CSV with fname,summary")
    parser.add_argument(
        "--test", type=Path, metavar="FILE", help="CSV with fname,dialogue: the test split (default: data.dir/test.csv)"
    )


def _spreadsheet_copy(args: argparse.Namespace) -> None:
    from yoyak.system.csv_files import read_csv, write_csv

    if args.output.exists() and args.file.exists() and args.output.samefile(args.file):
        raise YoyakError(f"{args.output}: this is the file to copy; name another file")
    rows = [row.cells for row in read_csv(args.file, required=[])]
    write_csv(args.output, rows, columns=list(rows[0]), for_spreadsheet=True)
    print(f"{args.output}: {len(rows)} rows, for reading in a spreadsheet; submit and score {args.file}")


def _add_spreadsheet_copy_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="any CSV file, such as data/predictions/dev.csv")
    parser.add_argument("output", type=Path, metavar="COPY", help="the file to write")


COMMANDS = (
    Command(
        name="score",
        summary="Score a CSV file of predictions.",
        description="Score a CSV file of predictions with the scorer of the pipeline: ROUGE-1, ROUGE-2 and ROUGE-L over "
        "Mecab morphemes, with confidence intervals and baselines. The predictions may come from any program. "
        "`yoyak show` prints the scores of the pipeline's own model.",
        examples=(
            "yoyak score --predictions mine.csv --references data/sample/dev.csv",
            "yoyak score --predictions mine.csv --references two.csv --how max",
            "yoyak score --predictions a.csv --against b.csv --references dev.csv",
            "yoyak score --predictions a.csv --references dev.csv --correlations",
            "yoyak score --predictions mine.csv --references dev.csv --html mine.html",
        ),
        run=_score,
        add_arguments=_add_score_arguments,
    ),
    Command(
        name="check-submission",
        summary="Check a submission file against the test file.",
        description="Check that a submission has exactly the rows of the test file in the same order, and look for empty, "
        "copied, overlong or damaged summaries, missing values such as nan, and artefacts such as <think>. The exit status is "
        "1 if there is an error; warnings do not count.",
        examples=(
            "yoyak check-submission data/predictions/submission.csv",
            "yoyak check-submission mine.csv --test data/sample/test.csv",
        ),
        run=_check_submission,
        add_arguments=_add_check_submission_arguments,
    ),
    Command(
        name="spreadsheet-copy",
        summary="Copy a CSV file for reading in a spreadsheet.",
        description="Copy a CSV file so that Excel and other spreadsheets show its Korean text, and run no cell as a formula: "
        "the copy starts with a byte order mark, and a cell that starts with =, +, - or @ gets an apostrophe in front. Submit "
        "and score the original, because the apostrophes change the text.",
        examples=("yoyak spreadsheet-copy data/predictions/dev.csv dev-for-excel.csv",),
        run=_spreadsheet_copy,
        add_arguments=_add_spreadsheet_copy_arguments,
        needs_root=False,
    ),
)
