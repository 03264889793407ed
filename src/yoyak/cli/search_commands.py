"""Commands for hyperparameter search: search, search-report."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from yoyak.cli.command import Command, add_changes, positive_number, suggestion, whole_number
from yoyak.system.errors import YoyakError

if TYPE_CHECKING:
    from yoyak.search.plan import SearchPlan

SEARCHES = Path("searches")


def _search(args: argparse.Namespace) -> None:
    path = _search_file(args.file)
    plans = _plans(path, args)
    if args.stage and args.stage not in plans:
        stages = f"its stages are: {', '.join(plans)}" if "" not in plans else "it has no stages; leave out --stage"
        raise YoyakError(f"{path}: no stage {args.stage!r}; {stages}")

    from yoyak.search.run import run_search_file

    run_search_file(plans, name=args.name or path.stem, only_stage=args.stage, root=Path.cwd(), source=str(path))


def _search_file(name: str) -> Path:
    """The file that the user means: a path, or a name in searches/."""
    path = Path(name) if "/" in name or name.endswith(".yaml") else SEARCHES / f"{name}.yaml"
    if not path.is_file():
        valid = sorted(other.stem for other in SEARCHES.glob("*.yaml"))
        raise YoyakError(
            f"{path}: no such file{suggestion(path.stem, valid)}\n  {SEARCHES}/ has: {', '.join(valid) or 'nothing'}"
        )
    return path


def _plans(path: Path, args: argparse.Namespace) -> "dict[str, SearchPlan]":
    """The stages of the search file, changed as the options say."""
    from yoyak.config.params import parse_change
    from yoyak.search.plan_files import load_search_file

    budget = {name: value for name in ("trials", "epochs", "hours") if (value := getattr(args, name)) is not None}
    plans = {}
    for stage, plan in load_search_file(path).items():
        if args.epochs and not plan.is_freeze_thaw:
            raise YoyakError(f"--epochs: {path} has the sampler {plan.sampler.name}, which counts trials; use --trials")
        changes: dict[str, object] = {
            "budget": plan.budget.model_copy(update=budget),
            "set": {**plan.set, **dict(map(parse_change, args.set))},
        }
        if args.jobs:
            changes["jobs"] = args.jobs
        plans[stage] = plan.model_copy(update=changes)
    return plans


def _add_search_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="SEARCH", help="a name in searches/ without .yaml, or the path of a search file")
    parser.add_argument("--name", metavar="STUDY", help="store the results under this name (default: the name of the file)")
    parser.add_argument(
        "--stage", metavar="STAGE", help="run only this stage of a search with stages, from the best trial of the stage before"
    )
    parser.add_argument(
        "--trials", type=whole_number, metavar="N", help="number of trials (default: budget.trials in the file)"
    )
    parser.add_argument(
        "--epochs",
        type=whole_number,
        metavar="N",
        help="epochs of all trials together, for the sampler freeze_thaw (default: budget.epochs in the file)",
    )
    parser.add_argument(
        "--hours",
        type=positive_number,
        metavar="H",
        help="start no trial after H hours (default: budget.hours in the file, or no limit)",
    )
    parser.add_argument(
        "--jobs",
        type=whole_number,
        metavar="N",
        help="trials that run at the same time, each on its own GPU if there are several (default: jobs in the file, or 1)",
    )
    add_changes(parser, "use this value in all trials; may be given several times")


def _search_report(args: argparse.Namespace) -> None:
    if args.output and not args.study:
        args.parser.error("--output needs the name of a study")

    from yoyak.reports import search_page

    if not args.study:
        print("\n".join(search_page.list_studies()))
        return
    output = args.output or Path("search_reports") / f"{args.study}.html"
    print("\n".join(search_page.write_study_page(args.study, output)))


def _add_search_report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", nargs="?", metavar="STUDY", help="the name of a search that ran; leave it out to list all")
    parser.add_argument("--output", type=Path, metavar="FILE", help="HTML file to write (default: search_reports/STUDY.html)")


COMMANDS = (
    Command(
        name="search",
        summary="Search for better params. Each trial is a DVC experiment.",
        description="Search for params that give better scores. A search file says which params to vary, how, and for how "
        "long. Each trial runs the pipeline as a DVC experiment in its own copy of the repository, so your files stay as "
        "they are. After Ctrl-C or a crash, the same command continues the search. At the end it prints the best trial "
        "and the command that writes its params into params.yaml.",
        examples=(
            "yoyak search quick",
            "yoyak search standard --trials 30 --hours 8 --jobs 2",
            "yoyak search decoding -S generation.max_new_tokens=80",
        ),
        run=_search,
        add_arguments=_add_search_arguments,
        after_interrupt="the same command continues the search",
    ),
    Command(
        name="search-report",
        summary="Write an HTML report of a search, or list all searches.",
        description="Write the report of a search as one HTML page that needs no network: best trials, figures, failed "
        "trials. Without a name, list all searches that ran in this repository.",
        examples=("yoyak search-report", "yoyak search-report quick --output quick.html"),
        run=_search_report,
        add_arguments=_add_search_report_arguments,
    ),
)
