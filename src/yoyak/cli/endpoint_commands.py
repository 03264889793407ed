"""Commands for models behind an API: cost, answers."""

import argparse
from collections import Counter
from pathlib import Path

from yoyak.cli.command import Command, add_changes
from yoyak.system.errors import YoyakError


def _cost(args: argparse.Namespace) -> None:
    from yoyak.config import presets
    from yoyak.config.params import load_params

    if args.preset and args.set:
        raise YoyakError("name a preset or values with -S, not both")
    path = Path("params.yaml")
    params = (
        presets.params_with_preset(args.preset, folder=Path("presets"), params=path)
        if args.preset
        else load_params(path, changes=args.set)
    )
    tables = []
    if params.model.family == "endpoint":
        from yoyak.inference.endpoint.estimate import cost_table, estimate_cost

        tables.append(cost_table(estimate_cost(params), params))
    if params.score.judge.votes:
        from yoyak.inference.endpoint.judge_cost import estimate_judge_cost, judge_cost_table

        tables.append(judge_cost_table(estimate_judge_cost(params), params))
    if not tables:
        raise YoyakError(
            f"model.family is {params.model.family} and score.judge.votes is 0, which cost nothing; try "
            "`yoyak cost solar-pro`, `yoyak cost -S model.family=endpoint` or `yoyak cost -S score.judge.votes=3`"
        )
    print("\n\n".join("\n".join(table) for table in tables))


def _add_cost_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("preset", nargs="?", metavar="PRESET", help="a preset with an API (default: params.yaml as it is)")
    add_changes(parser, "use this value instead of that in params.yaml; may be given several times")


def _answers(args: argparse.Namespace) -> None:
    from yoyak.inference.endpoint.answer_store import AnswerStore

    if args.action != "prune" and (args.failed or args.model):
        raise YoyakError(f"--failed and --model choose what `yoyak answers prune` deletes; {args.action} takes neither")
    store = AnswerStore()
    if args.action == "list":
        counts: Counter[tuple[str, str]] = Counter()
        tokens: Counter[tuple[str, str]] = Counter()
        failed: Counter[tuple[str, str]] = Counter()
        for answer in store.answers():
            place = (answer.request["url"], answer.request["body"]["model"])
            counts[place] += 1
            tokens[place] += answer.input_tokens + answer.output_tokens
            failed[place] += answer.fault is not None
        for (url, model), count in sorted(counts.items()):
            bad = failed[url, model]
            print(f"{count:7,} answers {tokens[url, model]:12,} tokens  {model}  {url}" + (f"  ({bad} failed)" if bad else ""))
        print(f"{store.folder}: {sum(counts.values()):,} answers")
    elif args.action == "prune":
        if not (args.failed or args.model):
            raise YoyakError("say what to delete: --failed, --model NAME, or both for the failed answers of a model")
        print(f"{store.folder}: {store.prune(failed=args.failed, model=args.model):,} answers deleted")
    else:
        count = store.share()
        print(
            f"{store.shared}: {count:,} answers; share them: dvc add {store.shared} && dvc push, then commit "
            f"{store.shared}.dvc; a clone that pulls the file pays for none of them"
        )


def _add_answers_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["list", "prune", "share"], help="what to do with the stored answers")
    parser.add_argument("--failed", action="store_true", help="with prune: delete answers that a content filter refused")
    parser.add_argument("--model", metavar="NAME", help="with prune: delete answers of this model only")


COMMANDS = (
    Command(
        name="cost",
        summary="Estimate what a model behind an API would cost.",
        description="Count the calls, tokens and money that predict would take with model.family endpoint, and how many "
        "requests are answered already, and what grading by a language model would take (score.judge.votes). Nothing "
        "is sent. Tokens are counted by the tokenizer that the section names, or estimated.",
        examples=(
            "yoyak cost solar-pro",
            "yoyak cost -S model.family=endpoint -S prompt.examples=3",
            "yoyak cost -S score.judge.votes=3",
        ),
        run=_cost,
        add_arguments=_add_cost_arguments,
    ),
    Command(
        name="answers",
        summary="List, delete or share stored answers of an API.",
        description="Every answer of an API is stored in .answers under the hash of its request, so that it is never paid "
        "twice. list counts the answers of each model. prune deletes some of them. share writes all of them into "
        "data/answers.jsonl, which DVC can push; predict reads that file too.",
        examples=(
            "yoyak answers list",
            "yoyak answers prune --failed",
            "yoyak answers share && dvc add data/answers.jsonl && dvc push",
        ),
        run=_answers,
        add_arguments=_add_answers_arguments,
    ),
)
