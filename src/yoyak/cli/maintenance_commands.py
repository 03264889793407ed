"""Commands that keep a repository in order: deps, check-cache, disk, plots-page, completion."""

import argparse
from pathlib import Path

from yoyak.cli.command import Command
from yoyak.system.errors import YoyakError


def _deps(args: argparse.Namespace) -> None:
    from yoyak.cli import stage_deps

    outdated = stage_deps.update(Path(), write=args.write)
    for stage in outdated:
        print(f"dvc.yaml: stage {stage}: deps {'corrected' if args.write else 'differ from what its script imports'}")
    if not outdated:
        print("dvc.yaml: the deps of all stages are correct")
    elif not args.write:
        raise SystemExit("Run `yoyak deps --write` to correct dvc.yaml.")


def _add_deps_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--write", action="store_true", help="correct dvc.yaml")


def _check_cache(args: argparse.Namespace) -> None:
    if not Path(".dvc").is_dir():
        raise YoyakError(".dvc: no such folder; cd to the root of a clone that uses DVC, then run the command again")

    from yoyak.search.git_dvc import dvc_cache_folder
    from yoyak.system.integrity import damaged_cache_objects

    cache = dvc_cache_folder(Path())
    damaged = list(damaged_cache_objects(cache))
    for path in damaged:
        if args.delete:
            path.unlink()
        print(f"{path}: damaged{'; deleted' if args.delete else ''}")
    if not damaged:
        print(f"{cache}: no damaged files")
    elif args.delete:
        print("Run `dvc pull` or `dvc repro` to restore what was deleted.")
    else:
        raise SystemExit("Run `yoyak check-cache --delete`, then `dvc pull` or `dvc repro` to restore the files.")


def _add_check_cache_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--delete", action="store_true", help="delete damaged files, so that DVC restores them")


def _disk(args: argparse.Namespace) -> None:
    from yoyak.reports.disk import disk_lines, free

    if args.dry_run and not args.free:
        raise YoyakError("disk: --dry-run says what --free would remove; give --free too")
    if args.free:
        for line in free(Path(), list(dict.fromkeys(args.free)), dry=args.dry_run):
            print(line, flush=True)
    else:
        print("\n".join(disk_lines(Path())))


def _add_disk_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--free",
        action="append",
        default=[],
        choices=("cache", "work", "logs"),
        metavar="PLACE",
        help="remove what nothing needs: cache (data and models that no commit and no experiment names), work (unfinished work "
        "of killed stages), logs (of trials); may be given several times",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what --free would remove")


def _plots_page(args: argparse.Namespace) -> None:
    from yoyak.reports import dvc_plots

    dvc_plots.write_plots_template(args.file)


def _add_plots_page_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        metavar="FILE",
        default=Path(".dvc/plots/offline.html"),
        help="file to write (default: %(default)s)",
    )


def _completion(args: argparse.Namespace) -> None:
    from yoyak.cli import completion

    print(completion.script(args.main_parser, args.shell))


def _add_completion_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=["bash", "zsh"], help="the shell that you use")


COMMANDS = (
    Command(
        name="deps",
        summary="Check the deps in dvc.yaml after you change an import.",
        description="Compare the Python files among each stage's deps in dvc.yaml with the modules that the stage imports. "
        "DVC reruns a stage when one of its deps changes, so a missing file leaves old results and a needless one "
        "causes needless training. Run it with --write after you add, move or delete an import in stages/ or src/yoyak/. "
        "All other lines of dvc.yaml stay.",
        examples=("yoyak deps", "yoyak deps --write"),
        run=_deps,
        add_arguments=_add_deps_arguments,
    ),
    Command(
        name="disk",
        summary="Show what takes space, and free what nothing needs.",
        description="Show what takes space: DVC's cache, unfinished work, searches, answers of APIs, models from the hub. "
        "--free removes only what no commit and no experiment needs, and nothing while something runs.",
        examples=("yoyak disk", "yoyak disk --free cache --dry-run", "yoyak disk --free cache --free logs"),
        run=_disk,
        add_arguments=_add_disk_arguments,
    ),
    Command(
        name="check-cache",
        summary="Find damaged files in the DVC cache.",
        description="Compare every file in the DVC cache with its checksum, and list those that are truncated or have "
        "changed. Use it after a disk error, or when a stage says that a file is damaged.",
        examples=("yoyak check-cache", "yoyak check-cache --delete && dvc repro"),
        run=_check_cache,
        add_arguments=_add_check_cache_arguments,
    ),
    Command(
        name="plots-page",
        summary="Write the HTML template that `dvc plots show` uses offline.",
        description="Write the HTML template that `dvc plots show` fills. The template contains the Vega library, so the "
        "plots open without a network. `make setup` runs this command; you need it only if the file is lost.",
        examples=("yoyak plots-page",),
        run=_plots_page,
        add_arguments=_add_plots_page_arguments,
    ),
    Command(
        name="completion",
        summary="Print the tab completion script for bash or zsh.",
        description="Print a script for your shell. With it, the tab key completes commands, options, presets, searches and "
        "file names after `yoyak`. Store it in a file as below and start a new shell. For zsh, ~/.zshrc needs the line "
        "fpath=(~/.zfunc $fpath) before compinit.",
        examples=(
            "source <(yoyak completion bash)   # for this shell alone",
            "mkdir -p ~/.local/share/bash-completion/completions",
            "yoyak completion bash > ~/.local/share/bash-completion/completions/yoyak",
            "mkdir -p ~/.zfunc && yoyak completion zsh > ~/.zfunc/_yoyak",
        ),
        run=_completion,
        add_arguments=_add_completion_arguments,
        needs_root=False,
    ),
)
