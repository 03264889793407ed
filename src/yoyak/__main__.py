"""python -m yoyak COMMAND: what people do beside the pipeline."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoyak.config.params import load_params, parse_change
from yoyak.config.sections import Params
from yoyak.data.dialogue import Noise
from yoyak.system.errors import YoyakError, exit_with_message

if TYPE_CHECKING:
    from yoyak.search.space import Plan


def _use(args: argparse.Namespace) -> None:
    from yoyak.config import presets

    for line in presets.write_preset(args.name, folder=Path("presets"), params=Path("params.yaml")) or ["nothing to change"]:
        print(line)


def _presets(_: argparse.Namespace) -> None:
    from yoyak.config import presets

    print("\n".join(presets.preset_names(Path("presets"))))


def _doctor(args: argparse.Namespace) -> None:
    from yoyak.training import preflight

    if args.presets:
        print("\n".join(preflight.presets_table(Path("presets"), Path("params.yaml"), gib=args.gib)))
        return
    if not preflight.report(load_params(), step=not args.no_step):
        raise SystemExit(1)


def _screen(args: argparse.Namespace) -> None:
    from yoyak.inference import screening

    results = screening.screen(
        args.names,
        folder=Path("presets"),
        params=Path("params.yaml"),
        output=args.json,
        rows=args.rows,
        remove_cache=args.remove_cache,
    )
    print("\n".join(screening.table(results)))
    if failed := [name for name in args.names if results["models"][name]["status"] == "failed"]:
        raise SystemExit(f"failed: {', '.join(failed)}")


def _merge(args: argparse.Namespace) -> None:
    from yoyak.models import lora
    from yoyak.system.atomic import atomic_folder

    if not (args.model / "adapter_config.json").is_file():
        raise YoyakError(f"{args.model}: no adapter here; train one with model.family: qlora")
    with atomic_folder(args.output) as folder:
        lora.merge(args.model, folder)
    print(f"{args.output}: the merged model, for `python -m yoyak summarize --model {args.output}` or any from_pretrained")


def _check_submission(args: argparse.Namespace) -> None:
    from yoyak.evaluation import submission

    test = args.test or Path(load_params().data.dir) / "test.csv"
    unfit, look = submission.check(args.file, test=test)
    for line in look:
        print(f"look at: {line}")
    for line in unfit:
        print(f"unfit: {line}")
    if unfit:
        raise SystemExit(f"{args.file}: not fit for submission")
    print(f"{args.file}: fit for submission")


def _as_processed(text: str, clean: Callable[[str, Noise], tuple[str, object]], params: Params) -> str:
    """A dialogue or summary as the pipeline scores it; one that it would reject, as it stands."""
    from yoyak.data.dialogue import BadDialogueError

    try:
        return clean(text, params.preprocess.noise)[0]
    except BadDialogueError:
        return text


def _score(args: argparse.Namespace) -> None:
    from yoyak.data.cleaning import clean_dialogue, clean_summary, references_of
    from yoyak.evaluation import rouge, scoring, submission
    from yoyak.system.text_files import read_csv, write_json

    params = load_params()
    rows = list(read_csv(args.references, required=["fname"]))
    references = [references_of(row.cells) for row in rows]
    for row, wanted in zip(rows, references, strict=True):
        if not wanted:
            raise YoyakError(f"{args.references}: line {row.line}: {row.cells['fname']}: no summary to score against")
    tokenizer = rouge.Morphemes()
    against: dict[str, list[str]] = {}
    if "dialogue" in rows[0].cells:
        train = Path(args.train or Path(params.data.dir) / "train.csv")
        summaries = [
            _as_processed(row.cells["summary"], clean_summary, params) for row in read_csv(train, required=["summary"])
        ]
        medoid = rouge.medoid(summaries, tokenizer=tokenizer)
        dialogues = [_as_processed(row.cells["dialogue"], clean_dialogue, params) for row in rows]
        against = scoring.baselines(dialogues, medoid=medoid)
    result, _ = scoring.score(
        predictions=submission.read_predictions(args.predictions, fnames=[row.cells["fname"] for row in rows]),
        references=references,
        how=args.how or params.score.references,
        bootstrap_samples=params.score.bootstrap_samples,
        seed=params.score.seed,
        tokenizer=tokenizer,
        against=against,
        decoding="unknown",
    )
    if args.json:
        write_json(args.json, result)
    print(scoring.table(result))


def _show(args: argparse.Namespace) -> None:
    from yoyak.evaluation import scoring

    try:
        scores = json.loads(args.file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise YoyakError(f"{args.file}: no such file; dvc repro writes it") from None
    print(scoring.table(scores))


def _plots_page(args: argparse.Namespace) -> None:
    from yoyak.reports import dvc_plots

    dvc_plots.write_page(args.file)


def _decided() -> dict[str, Any]:
    """What predict chose for the model that stands here; nothing, if it has not run."""
    from yoyak.system.text_files import read_json

    path = Path("metrics/predict.json")
    return dict(read_json(path)) if path.is_file() else {}


def _summarize(args: argparse.Namespace) -> None:
    from yoyak.inference.summarize import summarize_csv, summarize_text
    from yoyak.system.text_files import check_text_file

    params = load_params(changes=args.set)
    decided = _decided()
    if params.prompt.topic == "auto" and "topic" in decided:  # as the model was asked in training
        params = load_params(changes=[*args.set, f"prompt.topic={'always' if decided['topic'] else 'never'}"])
    model = args.model or Path("models") / params.model.family
    mend = params.generation.postprocess == "always"
    if params.generation.postprocess == "auto" and decided:
        mend = decided["postprocess"]["used"]
    backend = None if args.model else decided.get("backend")
    if args.input and args.input.suffix.lower() == ".csv":
        if not args.output:
            raise YoyakError("summarize: a CSV needs --output FILE.csv")
        count = summarize_csv(args.input, args.output, model=model, params=params, mend=mend, backend=backend)
        print(f"{args.output}: {count} summaries", file=sys.stderr)
        return
    source = str(args.input or "standard input")
    if args.input:
        check_text_file(args.input)
    try:
        text = (args.input.read_bytes() if args.input else sys.stdin.buffer.read()).decode("utf-8")
    except UnicodeDecodeError:
        raise YoyakError(f"{source}: not UTF-8; if it came from an older Windows program it is probably CP949") from None
    print(summarize_text(text, source=source, model=model, params=params, mend=mend, backend=backend))


def _time(args: argparse.Namespace) -> None:
    from yoyak.inference.summarize import seconds_per_dialogue

    params = load_params()
    model = Path("models") / params.model.family
    seconds = seconds_per_dialogue(model=model, params=params, rows=args.rows, backend=_decided().get("backend"))
    print(f"{seconds:.6f} seconds a dialogue (median of three passes over the first {args.rows} dev dialogues)")


def _deps(args: argparse.Namespace) -> None:
    from yoyak.cli import stage_deps

    stale = stage_deps.update(Path(), write=args.write)
    for stage in stale:
        print(f"dvc.yaml: {stage}: its deps are {'corrected' if args.write else 'not what its script imports'}")
    if stale and not args.write:
        raise SystemExit("run `yoyak deps --write`")


def _check_cache(args: argparse.Namespace) -> None:
    from yoyak.search.experiments import cache_of
    from yoyak.system.integrity import damaged_cache_objects

    found = list(damaged_cache_objects(cache_of(Path())))
    for path in found:
        if args.delete:
            path.unlink()
        print(f"{path}: damaged{'; deleted' if args.delete else ''}")
    if found and not args.delete:
        raise SystemExit("--delete removes them; dvc pull or dvc repro then makes them again")


def _plans(args: argparse.Namespace) -> "tuple[Path, dict[str, Plan]]":
    from yoyak.search import space

    path = Path(args.file) if "/" in args.file or args.file.endswith(".yaml") else Path("searches") / f"{args.file}.yaml"
    if not path.is_file():
        valid = ", ".join(sorted(other.stem for other in Path("searches").glob("*.yaml")))
        raise YoyakError(f"{path}: no such search; there are: {valid}")
    changes = {name: getattr(args, name) for name in ("trials", "hours") if getattr(args, name) is not None}
    plans = space.load(path)
    for name, plan in plans.items():
        updates: dict[str, object] = {"budget": plan.budget.model_copy(update=changes)}
        updates |= {"jobs": args.jobs} if args.jobs else {}
        updates["set"] = {**plan.set, **dict(map(parse_change, args.set))}
        plans[name] = plan.model_copy(update=updates)
    return path, plans


def _search(args: argparse.Namespace) -> None:
    from yoyak.search import runner

    path, plans = _plans(args)
    if args.stage and args.stage not in plans:
        raise YoyakError(f"{path}: no stage {args.stage}; there are: {', '.join(plans) if '' not in plans else 'none'}")
    try:
        runner.run_file(plans, name=args.name or path.stem, only=args.stage, root=Path.cwd(), source=str(path))
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _search_report(args: argparse.Namespace) -> None:
    from yoyak.reports import search_page

    if not args.study:
        print("\n".join(search_page.studies()))
        return
    output = args.output or Path("search_reports") / f"{args.study}.html"
    print("\n".join(search_page.write(args.study, output)))


def _add_search(command: Callable[..., argparse.ArgumentParser]) -> None:
    timed = command("time", _time, "measure the seconds a dialogue that the trained model takes")
    timed.add_argument("--rows", type=int, default=64, metavar="N", help="of the dev split")
    search = command("search", _search, "search params: each trial is a DVC experiment; the same command goes on after a kill")
    search.add_argument("file", metavar="SEARCH", help="a name in searches/, or a file")
    search.add_argument("--name", help="of the study (default: the file's)")
    search.add_argument("--stage", help="only this stage of a staged search, from the best of those before it")
    search.add_argument("--trials", type=int, metavar="N", help="instead of budget.trials")
    search.add_argument("--hours", type=float, metavar="H", help="instead of budget.hours: begin no trial later")
    search.add_argument(
        "--jobs", type=int, metavar="N", help="trials at a time, each on a GPU of its own where there are several"
    )
    search.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="a param that all trials have")
    report = command("search-report", _search_report, "one offline HTML page of a study; without a study, list all")
    report.add_argument("study", nargs="?")
    report.add_argument("--output", type=Path, metavar="FILE", help="default: search_reports/STUDY.html")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m yoyak", description="What people do beside the pipeline (dvc repro).")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    use = command("use", _use, "write a preset into params.yaml")
    use.add_argument("name")
    command("presets", _presets, "list the presets")
    doctor = command("doctor", _doctor, "check machine, params, data and model, and train one step, before the real run")
    doctor.add_argument("--no-step", action="store_true", help="leave out the training step")
    doctor.add_argument("--presets", action="store_true", help="instead: estimate the GPU memory of each preset")
    doctor.add_argument("--gib", type=float, metavar="N", help="with --presets: hold them against N GiB, not this machine's")
    screen = command("screen", _screen, "score the models of presets on the dev split as they are, without training")
    screen.add_argument("names", nargs="+", metavar="PRESET")
    screen.add_argument("--rows", type=int, metavar="N", help="only the first N dev rows")
    screen.add_argument(
        "--json", type=Path, metavar="FILE", default=Path("metrics/screen.json"), help="results, also to go on from"
    )
    screen.add_argument("--remove-cache", action="store_true", help="delete each hub model from the cache afterwards")
    merge = command("merge", _merge, "write an adapter and its base as one model that needs neither peft nor bitsandbytes")
    merge.add_argument("--model", type=Path, default=Path("models/qlora"), help="folder of the adapter")
    merge.add_argument("--output", type=Path, default=Path("models/merged"))
    score = command("score", _score, "score any file of predictions with the pipeline's scorer")
    score.add_argument("--predictions", type=Path, required=True, help="CSV: fname,summary")
    score.add_argument(
        "--references", type=Path, required=True, help="CSV: fname,summary (and summary2 …; dialogue for baselines)"
    )
    score.add_argument("--train", type=Path, help="CSV whose summaries give the medoid (default: data.dir/train.csv)")
    score.add_argument("--how", choices=["mean", "max"], help="over several references (default: score.references)")
    score.add_argument("--json", type=Path, metavar="FILE", help="write the scores there too")
    show = command("show", _show, "print the last score beside its baselines")
    show.add_argument("file", type=Path, nargs="?", default=Path("metrics/scores.json"))
    summarize = command("summarize", _summarize, "summarize a dialogue from a file or standard input, or a CSV")
    summarize.add_argument("input", type=Path, nargs="?", help="a text file, or a CSV with fname,dialogue; else standard input")
    summarize.add_argument("--output", type=Path, help="for a CSV: where fname,summary go")
    summarize.add_argument("--model", type=Path, help="folder of a trained model (default: models/<family>)")
    summarize.add_argument("-S", "--set", action="append", default=[], metavar="KEY=VALUE", help="like generation.num_beams=8")
    check = command("check-submission", _check_submission, "say whether a file is fit for submission")
    check.add_argument("file", type=Path)
    check.add_argument("--test", type=Path, help="the test file (default: data.dir/test.csv)")
    cache = command("check-cache", _check_cache, "find objects of DVC's cache that are cut off or have flipped bits")
    cache.add_argument("--delete", action="store_true", help="delete them, so that dvc pull or dvc repro makes them again")
    deps = command("deps", _deps, "compare the module deps of dvc.yaml with what each stage imports")
    deps.add_argument("--write", action="store_true", help="correct dvc.yaml")
    _add_search(command)
    page = command("plots-page", _plots_page, "write the offline page that dvc plots show fills (make setup does)")
    page.add_argument("file", type=Path, nargs="?", default=Path(".dvc/plots/offline.html"))
    return top


def main() -> None:
    args = parser().parse_args()
    with exit_with_message():
        args.run(args)


if __name__ == "__main__":
    main()
