"""Commands that run models and look at results: show, summarize, screen, merge, time."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoyak.cli.command import Command, add_changes, check_root, whole_number
from yoyak.system.debug_note import DEBUG_WARNING, is_debug
from yoyak.system.errors import YoyakError

if TYPE_CHECKING:
    pass

MODELS = Path("models")
PRESETS = Path("presets")
PARAMS = Path("params.yaml")
SCORES = Path("metrics/scores.json")
PREDICT_REPORT = Path("metrics/predict.json")
DEV_ROWS = Path("data/processed/dev.jsonl")


def _show(args: argparse.Namespace) -> None:
    from yoyak.system.text_files import read_json

    if not args.file.is_file() and args.file == SCORES:
        check_root()
        raise YoyakError(f"{args.file}: no such file; `dvc repro` writes it")
    scores = read_json(args.file)

    from yoyak.evaluation.score_table import score_table

    try:
        table = score_table(scores)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError):
        raise YoyakError(
            f"{args.file}: this JSON file has no scores; expected {SCORES} or a file that `yoyak score --json FILE` wrote"
        ) from None
    print(table)


def _add_show_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", type=Path, nargs="?", metavar="FILE", default=SCORES, help="JSON file with scores (default: %(default)s)"
    )


def _check_model(folder: Path) -> None:
    """Refuse a folder without a model before anything slow is imported. The family then looks into the folder."""
    notes = {"not-chosen.txt", "pruned.txt", "SHA256SUMS", ".gitignore"}
    if not folder.is_dir() or all(path.name in notes for path in folder.iterdir()):
        raise YoyakError(
            f"{folder}: no trained model here; run `dvc repro` (model.family in params.yaml chooses which model it trains)"
        )


def _summarize(args: argparse.Namespace) -> None:
    from yoyak.config.params import load_params
    from yoyak.data.raw_dialogues import prepare_row, read_dialogues

    params = load_params(changes=args.set)
    is_csv = args.input is not None and args.input.suffix.lower() in (".csv", ".tsv")
    _check_summarize_files(args.input, args.output, is_csv=is_csv)
    if args.spreadsheet_safe and not is_csv:
        raise YoyakError("--spreadsheet-safe is for the output of a CSV file; leave it out")
    if is_csv:
        rows = read_dialogues(args.input, params.preprocess)
    else:
        rows = [prepare_row(_dialogue(args.input), params.preprocess, source=str(args.input or "standard input"))]
    model = args.model or MODELS / params.model.family
    _check_model(model)

    if is_debug(model):
        print(f"WARNING: {DEBUG_WARNING}", file=sys.stderr)

    from yoyak.inference.summarizer import Decisions, Summarizer

    decisions = Decisions.read(PREDICT_REPORT)
    if args.model is not None:  # the backend was chosen for another model
        decisions = replace(decisions, backend=None)
    summaries = Summarizer.load(model, params=params, decisions=decisions).summarize_rows(rows, tell=_tell)
    _write_summaries(rows, summaries, args.output, is_csv=is_csv, for_spreadsheet=args.spreadsheet_safe)


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _write_summaries(
    rows: list[dict[str, str]], summaries: list[str], output: Path | None, *, is_csv: bool, for_spreadsheet: bool
) -> None:
    from yoyak.system.atomic import atomic_file
    from yoyak.system.csv_files import write_csv

    if output is None:
        print(summaries[0])
        return
    if is_csv:
        table = [{"fname": row["fname"], "summary": summary} for row, summary in zip(rows, summaries, strict=True)]
        write_csv(output, table, columns=["fname", "summary"], for_spreadsheet=for_spreadsheet)
    else:
        with atomic_file(output) as file:
            file.write(f"{summaries[0]}\n")
    print(f"{output}: {len(rows)} {'summary' if len(rows) == 1 else 'summaries'}", file=sys.stderr)


def _check_summarize_files(source: Path | None, output: Path | None, *, is_csv: bool) -> None:
    """Refuse input that cannot be read and output that cannot be meant, before anything slow is imported."""
    from yoyak.system.csv_files import read_csv
    from yoyak.system.text_files import check_text_file

    if source is not None:
        if is_csv and output is None:
            raise YoyakError(f"{source}: a CSV file needs --output FILE, the CSV file to write")
        check_text_file(source)
        if is_csv:
            next(read_csv(source, required=["fname", "dialogue"]))
    if output is not None and output.is_dir():
        raise YoyakError(f"{output}: --output is a folder; name a file")
    if source is not None and output is not None and output.exists() and output.samefile(source):
        raise YoyakError(f"{output}: --output is the input file; name another file")


def _dialogue(source: Path | None) -> str:
    """The text of a file, or of standard input.

    Raises:
        YoyakError: if the text is not UTF-8.
    """
    if source is None and sys.stdin.isatty():
        print("Type a dialogue, such as #Person1#: 안녕하세요. Then press Ctrl-D on a new line.", file=sys.stderr)
    data = sys.stdin.buffer.read() if source is None else source.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        name = source or "standard input"
        raise YoyakError(f"{name}: not UTF-8; convert it first, such as: iconv -f CP949 -t UTF-8 old.txt > new.txt") from None


def _add_summarize_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input",
        type=Path,
        nargs="?",
        metavar="FILE",
        help="a text file with one dialogue, or a CSV file with the columns fname,dialogue (default: standard input)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the summary, or for a CSV file fname,summary, to this file (default: print the summary)",
    )
    parser.add_argument(
        "--model", type=Path, metavar="FOLDER", help="folder of a trained model (default: models/ and model.family)"
    )
    parser.add_argument(
        "--spreadsheet-safe",
        action="store_true",
        help="write the CSV file for people: Excel shows its Korean text, and no summary runs as a formula; do not submit or "
        "score such a file",
    )
    add_changes(parser, "use this value instead of that in params.yaml; may be given several times")


def _screen(args: argparse.Namespace) -> None:
    from yoyak.config import presets

    for name in args.names:
        presets.read_preset(name, PRESETS)  # an unknown name ends this before anything slow is imported

    from yoyak.inference import screening

    results = screening.screen(
        args.names, folder=PRESETS, params=PARAMS, output=args.json, rows=args.rows, remove_cache=args.remove_cache
    )
    print("\n".join(screening.table(results)))
    _exit_if_failed(args.names, results)


def _exit_if_failed(names: Sequence[str], results: dict[str, Any]) -> None:
    if failed := [name for name in names if results["models"][name]["status"] == "failed"]:
        raise SystemExit(f"failed: {', '.join(failed)}; the table above says why. The same command tries them again.")


def _add_screen_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="PRESET", help="names that `yoyak presets` lists")
    parser.add_argument("--rows", type=whole_number, metavar="N", help="use only the first N rows of the dev split")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        default=Path("metrics/screen.json"),
        help="store the results here; models already in it are not scored again (default: %(default)s)",
    )
    parser.add_argument(
        "--remove-cache", action="store_true", help="delete each downloaded model after it is scored, to save disk space"
    )


def _merge(args: argparse.Namespace) -> None:
    if not (args.model / "adapter_config.json").is_file():
        raise YoyakError(
            f"{args.model}: no adapter here; train one (`yoyak use llama-tiny && dvc repro`) or name its folder with --model"
        )

    from yoyak.models import adapters
    from yoyak.system.atomic import atomic_folder

    with atomic_folder(args.output) as folder:
        adapters.merge(args.model, folder)
    print(f"{args.output}: merged model; try it: yoyak summarize --model {args.output} FILE")


def _add_merge_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FOLDER",
        default=MODELS / "qlora",
        help="folder of the adapter (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        default=MODELS / "merged",
        help="folder to write; an older one is replaced (default: %(default)s)",
    )


def _time(args: argparse.Namespace) -> None:
    from itertools import islice

    from yoyak.config.params import load_params
    from yoyak.system.text_files import read_jsonl

    params = load_params()
    model = MODELS / params.model.family
    _check_model(model)
    if not DEV_ROWS.is_file():
        raise YoyakError(f"{DEV_ROWS}: no such file; `dvc repro` writes it")

    from yoyak.inference.summarizer import Decisions, Summarizer
    from yoyak.inference.timing import seconds_per_dialogue

    summarizer = Summarizer.load_chosen(MODELS, params, Decisions.read(PREDICT_REPORT))
    seconds = seconds_per_dialogue(summarizer, list(islice(read_jsonl(DEV_ROWS), args.rows)))
    print(f"{seconds:.6f} seconds per dialogue (median of three runs over the first {args.rows} dev dialogues)")


def _add_time_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rows", type=whole_number, default=64, metavar="N", help="number of dev dialogues (default: %(default)s)"
    )


COMMANDS = (
    Command(
        name="show",
        summary="Print the latest scores beside the baselines.",
        description="Print the scores that the last `dvc repro` wrote, beside the baselines, with confidence intervals and "
        "warnings. Nothing is computed.",
        examples=("yoyak show", "yoyak show mine.json   # from `yoyak score --json mine.json`"),
        run=_show,
        add_arguments=_add_show_arguments,
        needs_root=False,
    ),
    Command(
        name="summarize",
        summary="Summarize one dialogue, or every dialogue of a CSV file.",
        description="Summarize with the trained model, as the predict stage does. A dialogue has one turn per line, such as "
        '"#Person1#: 안녕하세요." Run `dvc repro` first: it trains the model.',
        examples=(
            "yoyak summarize dialogue.txt",
            "cat dialogue.txt | yoyak summarize -S generation.num_beams=8",
            "yoyak summarize dialogues.csv --output summaries.csv",
        ),
        run=_summarize,
        add_arguments=_add_summarize_arguments,
    ),
    Command(
        name="screen",
        summary="Score untrained models of presets on the dev split.",
        description="Score the models of several presets on the dev split as they are, without training, and print one "
        "table. Use it to choose which model to train. Results are stored after each model, so the same command "
        "continues after an interruption.",
        examples=("yoyak screen qwen3-4b llama-3.2-korean-3b --remove-cache", "yoyak screen kobart-tiny --rows 20"),
        run=_screen,
        add_arguments=_add_screen_arguments,
        after_interrupt="the same command continues with the models that have no result yet",
    ),
    Command(
        name="merge",
        summary="Merge a LoRA adapter and its base model into one model.",
        description="Write a trained LoRA adapter and its base model as one ordinary model. It needs neither peft nor "
        "bitsandbytes, and loads with from_pretrained.",
        examples=("yoyak merge", "yoyak merge --model models/qlora --output models/merged"),
        run=_merge,
        add_arguments=_add_merge_arguments,
    ),
    Command(
        name="time",
        summary="Measure the seconds per dialogue of the trained model.",
        description="Measure the time that the trained model needs to summarize one dialogue: the median of three runs "
        "over dev dialogues after a warm-up run, without loading the model.",
        examples=("yoyak time", "yoyak time --rows 16"),
        run=_time,
        add_arguments=_add_time_arguments,
    ),
)
