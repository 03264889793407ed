"""The completion scripts, run by the shells that they are for."""

import shutil
import subprocess
from pathlib import Path

import pytest

from yoyak.cli import completion
from yoyak.cli.main import COMMANDS, build_parser


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with presets, searches and other files."""
    for name in ("presets/kobart.yaml", "presets/kobart-tiny.yaml", "presets/qwen3-4b.yaml", "presets/note.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name in ("searches/quick.yaml", "searches/spaces/training.yaml", "models/kobart/config.json", "talk.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def completed(clone: Path, line: str) -> set[str]:
    """What bash offers at the end of a line: its completion function reads COMP_WORDS and writes COMPREPLY."""
    words = " ".join(f"'{word}'" for word in line.split(" "))
    program = (
        f"{completion.script(build_parser(), 'bash')}\nCOMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))\n"
        'function=$(complete -p yoyak | sed "s/.*-F \\([^ ]*\\).*/\\1/"); $function; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "--noprofile"], input=program, capture_output=True, text=True, check=True, cwd=clone
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("yoyak ", set(COMMANDS)),
        ("yoyak check", {"check-cache", "check-submission"}),
        ("yoyak --v", {"--version"}),
        ("yoyak use ", {"kobart", "kobart-tiny", "qwen3-4b"}),
        ("yoyak use kob", {"kobart", "kobart-tiny"}),
        ("yoyak screen kobart qw", {"qwen3-4b"}),
        ("yoyak search ", {"quick"}),
        ("yoyak search quick --tr", {"--trials"}),
        ("yoyak score --how ", {"mean", "max"}),
        ("yoyak completion ", {"bash", "zsh"}),
        ("yoyak summarize ta", {"talk.txt"}),
        ("yoyak summarize --model models/k", {"models/kobart"}),
        ("yoyak merge --output m", {"models"}),
        ("yoyak use no-such", set()),
    ],
)
def test_bash_completes(clone: Path, line: str, expected: set[str]) -> None:
    assert completed(clone, line) == expected


def test_bash_completes_nothing_outside_a_clone(tmp_path: Path) -> None:
    assert completed(tmp_path, "yoyak use ") == set()


def test_zsh_gets_the_summaries_and_the_names() -> None:
    script = completion.script(build_parser(), "zsh")
    for command in COMMANDS.values():
        assert f"{command.name}:" in script
        assert command.summary.replace("'", "'\"'\"'") in script
    assert "compadd -- presets/*.yaml(N:t:r)" in script
    assert "compadd -- searches/*.yaml(N:t:r)" in script


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh here")
def test_zsh_reads_the_script() -> None:
    subprocess.run(["zsh", "-f", "-n"], input=completion.script(build_parser(), "zsh"), text=True, check=True)


def test_the_parser_stays_as_it_was() -> None:
    """The script has summaries; `--help` afterwards has descriptions."""
    parser = build_parser()
    before = parser.parse_args(["show"]).parser.format_help()
    completion.script(parser, "zsh")
    assert parser.parse_args(["show"]).parser.format_help() == before
