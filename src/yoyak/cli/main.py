"""The program `yoyak`, also `python -m yoyak`: finds the command, runs it, and ends with a clear message and status.

`yoyak --help` must answer at once, so the commands import the library inside their functions.
"""

import argparse
import atexit
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import yoyak
from yoyak.cli import (
    app_command,
    compare_commands,
    endpoint_commands,
    ensemble_command,
    experiment_commands,
    explore_command,
    folds_command,
    import_commands,
    maintenance_commands,
    package_commands,
    record_command,
    report_command,
    run_commands,
    score_commands,
    search_commands,
    serve_command,
    setup_commands,
    summarize_command,
)
from yoyak.cli.command import Command, CommandParser, check_root, suggestion
from yoyak.system.errors import exit_with_message

# The groups of `yoyak --help`, in its order.
GROUPS: dict[str, tuple[Command, ...]] = {
    "Set up and check": setup_commands.COMMANDS,
    "Bring data in and out": (*import_commands.COMMANDS, *explore_command.COMMANDS),
    "Run and look": (
        *summarize_command.COMMANDS,
        *run_commands.COMMANDS,
        *report_command.COMMANDS,
        *experiment_commands.COMMANDS,
        *package_commands.COMMANDS,
    ),
    "Score and compare": (
        *score_commands.COMMANDS,
        *compare_commands.COMMANDS,
        *record_command.COMMANDS,
        *folds_command.COMMANDS,
        *ensemble_command.COMMANDS,
    ),
    "Search": search_commands.COMMANDS,
    "Serve": (*app_command.COMMANDS, *serve_command.COMMANDS),
    "Models behind an API": endpoint_commands.COMMANDS,
    "Maintain": maintenance_commands.COMMANDS,
}
COMMANDS = {command.name: command for commands in GROUPS.values() for command in commands}
INTRODUCTION = """\
Train, score and use Korean dialogue summarizers.

`dvc repro` runs the pipeline. The commands below do everything else.
Run them in the repository's root, the folder that has params.yaml."""
FIRST_STEPS = """\
first steps:
  yoyak use kobart-tiny   write a preset into params.yaml
  yoyak doctor            check that it can run on this machine
  dvc repro               run the pipeline
  yoyak show              look at the scores

`yoyak COMMAND --help` explains a command and shows examples."""
# 128 and the number of the signal, as shells count: SIGINT is 2, SIGPIPE is 13.
INTERRUPTED, BROKEN_PIPE = 130, 141


class _MainParser(CommandParser):
    """The parser of `yoyak` itself. argparse cannot list subcommands in groups, so its help is written here."""

    def format_help(self) -> str:
        width = max(map(len, COMMANDS))
        groups = [
            "\n".join([f"{title}:", *(f"  {command.name:{width}}  {command.summary}" for command in commands)])
            for title, commands in GROUPS.items()
        ]
        options = f"options:\n  {'-h, --help':{width}}  Show this help.\n  {'--version':{width}}  Show version and folder."
        return "\n\n".join([self.format_usage().strip(), INTRODUCTION, *groups, options, FIRST_STEPS]) + "\n"


def version() -> str:
    """Version, the folder that the code comes from, and Python's version; a warning if another copy lies in this folder."""
    folder = Path(yoyak.__file__).resolve().parent
    text = f"yoyak {yoyak.__version__} from {folder} (Python {platform.python_version()})"
    here = Path("src/yoyak").resolve()
    if here.is_dir() and here != folder:
        text += f"\n{here} is another copy of the code and is not used. To use it: PYTHONPATH=src yoyak COMMAND"
    return text


class _Version(argparse.Action):
    """`--version`. argparse's own action breaks long lines."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(version())
        parser.exit()


def build_parser() -> CommandParser:
    """The parser of the whole command line, with a parser for each command."""
    parser = _MainParser(prog="yoyak", usage="yoyak [-h] [--version] COMMAND ...")
    parser.add_argument("--version", action=_Version, nargs=0, help="Show version and folder.")
    commands = parser.add_subparsers(required=True, prog="yoyak", metavar="COMMAND", parser_class=CommandParser)
    for command in COMMANDS.values():
        command.add_to(commands)
    parser.set_defaults(main_parser=parser)
    return parser


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The parsed command line. Exits with status 2 and the nearest valid name if a command or an option is unknown."""
    parser = build_parser()
    if not arguments:
        parser.exit(2, parser.format_help())
    if arguments[0] == "help":  # git, pip and dvc accept `help` too
        arguments = [*arguments[1:2], "--help"]
    name = next((word for word in arguments if not word.startswith("-")), None)
    if name is not None and name not in COMMANDS:
        parser.error(f"unknown command {name!r}{suggestion(name, COMMANDS)}")
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        options = [text for action in parsed.parser._actions for text in action.option_strings]
        parsed.parser.error(f"unknown argument {unknown[0]!r}{suggestion(unknown[0].partition('=')[0], options)}")
    return parsed


def _run(arguments: Sequence[str]) -> None:
    parsed = _parse(arguments)
    with exit_with_message():
        if parsed.command.needs_root:
            check_root()
        try:
            parsed.command.run(parsed)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(parsed.command.after_interrupt) from None


def _stdout_is_closed() -> bool:
    """Whether the reader of standard output has ended, as `head` does. A database that hangs up raises the same error."""
    try:
        os.write(sys.stdout.fileno(), b"\n")
    except BrokenPipeError:
        return True
    return False


def _end_quickly() -> None:
    """PyTorch formats, as the program ends, a table of compile times that nobody sees, and imports packages for it."""
    if compiler := sys.modules.get("torch._dynamo.utils"):
        atexit.unregister(compiler.dump_compile_times)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command.

    Args:
        arguments: the words after `yoyak`; by default those of this process.

    Raises:
        SystemExit: with status 1 and a message for an error that the user can correct, 2 for a wrong command line,
            130 after Ctrl-C, 141 if standard output is closed.
    """
    try:
        try:
            _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            _end_quickly()
            sys.stdout.flush()
    except KeyboardInterrupt as error:
        advice = f"; {error}" if str(error) else ""
        print(f"\ninterrupted{advice}", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        if not _stdout_is_closed():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains again when it exits
        raise SystemExit(BROKEN_PIPE) from None
