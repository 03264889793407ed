"""Tab completion: shtab turns the parser into a script for the shell; this module says what the arguments are."""

import argparse
import copy
from collections.abc import Iterator

import shtab


def _names_in(folder: str) -> dict[str, object]:
    """Completes the names of YAML files in a folder. The shell lists them itself, because starting Python is slow."""
    function = f"_yoyak_{folder}"
    return {
        "bash": function,
        "zsh": function,
        "preamble": {
            "bash": f"""
{function}() {{
  local file
  for file in {folder}/"$1"*.yaml; do
    [[ -f $file ]] && file=${{file##*/}} && echo "${{file%.yaml}}"
  done
}}""",
            "zsh": f"""
{function}() {{
  compadd -- {folder}/*.yaml(N:t:r)
}}""",
        },
    }


# What the tab key completes, by the metavar of the argument.
BY_METAVAR: dict[str, object] = {
    "FILE": shtab.FILE,
    "PATH": shtab.FILE,
    "FOLDER": shtab.DIRECTORY,
    "PRESET": _names_in("presets"),
    "SEARCH": _names_in("searches"),
}


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """All arguments of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion script of a parser.

    Args:
        parser: a parser that `yoyak.cli.main.build_parser` made. It is not changed.
        shell: "bash" or "zsh".
    """
    parser = copy.deepcopy(parser)
    for action in _actions(parser):
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                command.description = command.get_default("command").summary  # zsh shows it beside the name
        if isinstance(action.metavar, str) and action.metavar in BY_METAVAR:
            setattr(action, "complete", BY_METAVAR[action.metavar])  # noqa: B010 (argparse.Action declares no such attribute)
    return shtab.complete(parser, shell)
