"""Commands that run models and look at results: show, screen, merge, time."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yoyak.cli.command import Command, check_root, whole_number
from yoyak.cli.trained_model import MODELS, PREDICT_REPORT, SCORES, check_model
from yoyak.system.errors import YoyakError

PRESETS = Path("presets")
PARAMS = Path("params.yaml")
AUGMENT = Path("metrics/augment.json")
DEV_ROWS = Path("data/processed/dev.jsonl")
GATES = SCORES.with_name("gates.txt")


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
    if args.file == SCORES and AUGMENT.is_file():
        from yoyak.augmentation.report import describe_report

        if line := describe_report(read_json(AUGMENT)):
            print(line)
    if args.file == SCORES and GATES.is_file():
        lines = GATES.read_text(encoding="utf-8").splitlines()
        print("".join(f"gate {line}\n" for line in lines if not line.startswith("no gates")), end="")


def _add_show_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", type=Path, nargs="?", metavar="FILE", default=SCORES, help="JSON file with scores (default: %(default)s)"
    )


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

    params = load_params().after_pretraining()
    if params.model.family == "endpoint":
        raise YoyakError(
            f"model.family is endpoint: its answers come from a server or the store; {PREDICT_REPORT} has seconds_a_dialogue"
        )
    model = MODELS / params.model.family
    check_model(model)
    if not DEV_ROWS.is_file():
        raise YoyakError(f"{DEV_ROWS}: no such file; `dvc repro` writes it")

    from yoyak.inference.decisions import Decisions
    from yoyak.inference.summarizer import Summarizer
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
