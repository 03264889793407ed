"""What every command consists of, and the types of its arguments. Nothing here is slow to import."""

import argparse
import difflib
import math
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from yoyak.system.errors import YoyakError

LANGUAGES = ("ko", "en")  # of the pages
HELP_WIDTH = 75  # fits into 80 columns even if a Korean example, whose letters are two columns wide, is on the line


def _no_arguments(_: argparse.ArgumentParser) -> None:
    pass


@dataclass(frozen=True)
class Command:
    """One command of `yoyak`.

    Attributes:
        name: what the user types.
        summary: one line for `yoyak --help`.
        description: the first paragraph of `yoyak NAME --help`.
        examples: complete command lines for `yoyak NAME --help`.
        run: does the work. It imports slow packages itself, after it has checked its arguments.
        add_arguments: adds the command's arguments to its parser. The metavars FILE, FOLDER, PRESET and SEARCH decide
            what the tab key completes (see `yoyak.cli.completion`).
        needs_root: whether the command works only in the repository's root.
        after_interrupt: what to do after Ctrl-C, for a command that can continue.
    """

    name: str
    summary: str
    description: str
    examples: tuple[str, ...]
    run: Callable[[argparse.Namespace], None]
    add_arguments: Callable[[argparse.ArgumentParser], None] = _no_arguments
    needs_root: bool = True
    after_interrupt: str = ""

    def add_to(self, commands: "argparse._SubParsersAction[CommandParser]") -> None:
        """Add a parser for this command."""
        examples = "\n".join(f"  {line}" for line in self.examples)
        place = "\n\nRun it in the repository's root, the folder that has params.yaml." if self.needs_root else ""
        parser = commands.add_parser(
            self.name,
            help=self.summary,
            description=textwrap.fill(self.description, HELP_WIDTH),
            epilog=f"examples:\n{examples}{place}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.add_arguments(parser)
        parser.set_defaults(command=self, parser=parser)


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors say where the help is."""

    def error(self, message: str) -> NoReturn:
        """Print usage, message and where to read more, and exit with status 2."""
        self.exit(2, f"{self.format_usage()}{self.prog}: error: {message}\nRun `{self.prog} --help` for help and examples.\n")


def suggestion(name: str, valid: Iterable[str]) -> str:
    """`; did you mean X?` for the valid name that is nearest to an unknown one, or an empty text."""
    near = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def check_root() -> None:
    """Check that the current folder is the root of a yoyak repository.

    Raises:
        YoyakError: if it has no params.yaml. The message names the nearest folder above that has one.
    """
    here = Path.cwd()
    if (here / "params.yaml").is_file():
        return
    roots = (folder for folder in here.parents if (folder / "params.yaml").is_file() and (folder / "dvc.yaml").is_file())
    target = next(map(str, roots), "the folder of your clone of yoyak that has params.yaml")
    raise YoyakError(f"params.yaml: not in this folder ({here}); cd to {target}, then run the command again")


def whole_number(text: str) -> int:
    """The type of an argument that is 1, 2, 3, …"""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return value


def positive_number(text: str) -> float:
    """The type of an argument that is a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def change(text: str) -> str:
    """The type of an argument such as `generation.num_beams=8`. The name and the value are checked later."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, such as generation.num_beams=8, got {text!r}")
    return text


def add_changes(parser: argparse.ArgumentParser, help_text: str) -> None:
    """Add the option `-S KEY=VALUE`, which a user may give several times."""
    parser.add_argument("-S", "--set", action="append", default=[], type=change, metavar="KEY=VALUE", help=help_text)
