"""The program `yoyak`: help, version, unknown words, exit statuses, and how fast `--help` is."""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

import yoyak
from tests.cli.conftest import error_of, usage_error_of
from tests.conftest import ROOT
from yoyak.cli.main import COMMANDS, GROUPS, build_parser, main, version

# Idioms that DESIGN.md (Language) rules out, and words that a reader of help texts does not know.
# score.judge is a param.
FORBIDDEN = (
    r"\b(has not|have not|is due|are due|told|mend|mends|whereof|thereof|wherein|hence|thus|shall|(?<!score[.])judge|chats)\b"
)
# All that `--help` must not import. pydantic is not heavy, but it doubles the time.
HEAVY = ("torch", "transformers", "optuna", "dvc", "datasets", "numpy", "pydantic", "ruamel", "shtab", "mecab")


def help_of(*words: str) -> str:
    output = io.StringIO()
    with pytest.raises(SystemExit) as caught, contextlib.redirect_stdout(output):
        main([*words, "--help"])
    assert not caught.value.code
    return output.getvalue()


def width(line: str) -> int:
    """Columns on a terminal: a Korean letter takes two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in line)


def test_help_lists_every_command_in_its_group() -> None:
    text = help_of()
    place = 0
    for title, commands in GROUPS.items():
        for line in (f"\n{title}:\n", *(rf"\n  {command.name} +{re.escape(command.summary)}\n" for command in commands)):
            match = re.compile(line).search(text, place)
            assert match, line
            place = match.end() - 1


@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS)])
def test_help_fits_80_columns_and_is_plain_english(monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = help_of(*words)
    assert [line for line in text.splitlines() if width(line) >= 80] == []
    assert re.findall(FORBIDDEN, text, flags=re.I) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_a_description_and_examples(name: str) -> None:
    text, command = help_of(name), COMMANDS[name]
    assert " ".join(command.description.split()) in " ".join(text.split())
    assert re.fullmatch(r"[A-Z].*\.", command.description)
    assert re.fullmatch(r"[A-Z].*\.", command.summary)
    _, _, examples = text.partition("examples:\n")
    assert f"yoyak {name}" in examples


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_parse(name: str) -> None:
    """An example that the parser refuses, such as one with an option that was renamed, would mislead."""
    parser = build_parser()
    for example in COMMANDS[name].examples:
        for words in re.findall(r"\byoyak ([^|&>)]+)", example.partition(" #")[0]):
            assert parser.parse_args(words.split()).command.name in COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_is_explained(name: str) -> None:
    parser = build_parser().parse_args([name, *_least_arguments(name)]).parser
    assert [action.dest for action in parser._actions if not action.help] == []


def _least_arguments(name: str) -> list[str]:
    required = {
        "score": ["--predictions", "a", "--references", "b"],
        "completion": ["bash"],
        "answers": ["list"],
        "spreadsheet-copy": ["a", "b"],
        "folds": ["5"],
        "ensemble": ["a", "b", "c"],
    }
    required |= {name: ["a", "--output", "b"] for name in ("import", "export")}
    return required.get(name, ["x"] if name in ("use", "screen", "check-submission", "search", "compare", "record") else [])


@pytest.mark.parametrize(("words", "same"), [(["help"], ["--help"]), (["help", "use"], ["use", "--help"])])
def test_help_is_a_command_too(capsys: pytest.CaptureFixture[str], words: list[str], same: list[str]) -> None:
    for arguments in (words, same):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert not caught.value.code
    text = capsys.readouterr().out
    assert text[: len(text) // 2] == text[len(text) // 2 :]


def test_help_imports_nothing_heavy() -> None:
    """One process asks for the help of all commands, as a fresh one would for each."""
    code = f"""
import contextlib, io, sys
from yoyak.cli.main import COMMANDS, main
for words in ["--help"], *([name, "--help"] for name in COMMANDS), ["--version"], ["sumarize"]:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        main(words)
print(*sorted({set(HEAVY)} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["summarize", "nowhere.txt"], "error: nowhere.txt: no such file"),
        (["use", "kobrt"], "kobart"),
        (["search", "quik"], "did you mean quick?"),
        (["search", "quick", "--stage", "two"], "no stage 'two'"),
        (["screen", "kobrt"], "kobart"),
        (["score", "--predictions", "a.csv", "--references", "b.csv"], "error: a.csv: no such file"),
        (["summarize", "-S", "generation.num_beans=3"], "generation.num_beans: unknown key"),
        (["serve", "models/nowhere", "--port", "0"], "error: models/nowhere: no such folder or archive"),
    ],
)
def test_a_mistake_is_named_before_anything_slow_is_imported(words: list[str], message: str) -> None:
    code = (
        "import sys\nfrom yoyak.cli.main import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit as error:\n"
        "    print(error)\nprint('torch' in sys.modules, 'optuna' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, cwd=ROOT)
    assert message in done.stdout
    assert done.stdout.endswith("False False False\n")


def test_version_names_the_folder_of_the_code(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert not caught.value.code
    printed = capsys.readouterr().out
    assert printed.startswith(f"yoyak {yoyak.__version__} from {ROOT / 'src' / 'yoyak'} (Python 3.")
    assert printed.count("\n") == 1


def test_version_warns_of_another_copy_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "src" / "yoyak").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert f"{tmp_path / 'src' / 'yoyak'} is another copy of the code and is not used" in version()


def test_a_project_file_installs_the_command() -> None:
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    module, _, function = settings["project"]["scripts"]["yoyak"].partition(":")
    assert getattr(sys.modules[module], function) is main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Set up and check:"),
        (("sumarize",), "unknown command 'sumarize'; did you mean summarize?"),
        (("Search",), "unknown command 'Search'; did you mean search?"),
        (("qqq",), "unknown command 'qqq'\n"),
        (("--hlep",), "the following arguments are required: COMMAND"),
        (("score",), "required: --predictions, --references"),
        (("use",), "required: PRESET"),
        (("score", "--predictions", "a", "--references", "b", "--how", "best"), "invalid choice: 'best'"),
        (("search", "quick", "--trails", "3"), "unknown argument '--trails'; did you mean --trials?"),
        (("show", "a", "b"), "unknown argument 'b'"),
        (("completion", "fish"), "invalid choice: 'fish'"),
        (("summarize", "-S", "generation.num_beams"), "expected KEY=VALUE, such as generation.num_beams=8"),
        (("search", "quick", "--trials", "0"), "--trials: expected a whole number of at least 1, got '0'"),
        (("search", "quick", "--trials", "-3"), "--trials: expected a whole number of at least 1, got '-3'"),
        (("search", "quick", "--trials", "ten"), "--trials: expected a whole number of at least 1, got 'ten'"),
        (("search", "quick", "--hours", "nan"), "--hours: expected a number above 0, got 'nan'"),
        (("search", "quick", "--hours", "inf"), "--hours: expected a number above 0, got 'inf'"),
        (("search", "quick", "--hours", "0"), "--hours: expected a number above 0, got '0'"),
        (("search", "quick", "--jobs", "0"), "--jobs: expected a whole number of at least 1, got '0'"),
        (("time", "--rows", "0"), "--rows: expected a whole number of at least 1, got '0'"),
        (("screen", "kobart", "--rows", "-1"), "--rows: expected a whole number of at least 1, got '-1'"),
        (("doctor", "--presets", "--gib", "0"), "--gib: expected a number above 0, got '0'"),
    ],
)
def test_a_wrong_command_line_exits_with_2_and_says_what_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)  # where no command runs, should the parser accept the words
    text = usage_error_of(capsys, *words)
    assert message in text
    assert "--help` " in text


@pytest.mark.parametrize("words", [("use", "kobart"), ("deps",), ("search", "quick"), ("summarize", "a.txt"), ("doctor",)])
def test_outside_the_repository_a_command_says_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"params.yaml: not in this folder ({tmp_path}); cd to the folder of your clone" in error_of(*words)
    assert list(tmp_path.iterdir()) == []


def test_below_the_root_a_command_names_the_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "dvc.yaml").touch()
    monkeypatch.chdir(root / "data")
    assert f"cd to {root}, then run the command again" in error_of("presets")


@pytest.mark.parametrize(
    "words",
    [("doctor",), ("score", "--predictions", "a", "--references", "b"), ("summarize", "a.txt"), ("check-submission", "a")],
)
def test_errors_in_params_come_first(root: Path, words: tuple[str, ...]) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(text.replace("num_beams", "num_beans"), encoding="utf-8")
    assert "generation.num_beans: unknown key (did you mean generation.num_beams?)" in error_of(*words)


def test_ctrl_c_ends_with_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("yoyak.cli.main._run", interrupt)
    with pytest.raises(SystemExit) as caught:
        main(["show"])
    assert caught.value.code == 130
    assert capsys.readouterr().err == "\ninterrupted\n"


def test_ctrl_c_on_a_terminal(root: Path) -> None:
    """The real signal, sent while `yoyak summarize` waits for what the user types."""
    ours, theirs = os.openpty()
    code = (  # a process that a script started in the background ignores Ctrl-C, and so does what it starts
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from yoyak.cli.main import main; main(['summarize'])"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=theirs, stderr=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stderr
        assert process.stderr.readline().startswith("Type a dialogue, such as #Person1#: ")
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "\ninterrupted\n"
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 130


@pytest.mark.parametrize("words", [["--help"], ["completion", "bash"], ["presets"]])
def test_a_closed_pipe_ends_a_command_quietly(words: list[str]) -> None:
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "yoyak", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=buffered
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()  # as `head` does, here before the first line
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_a_broken_connection_is_no_closed_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database or a hub that hangs up raises BrokenPipeError too, which must stay visible."""

    def hang_up(_: object) -> None:
        raise BrokenPipeError("the server closed the connection")

    monkeypatch.setattr("yoyak.cli.main._run", hang_up)
    with pytest.raises(BrokenPipeError):
        main(["show"])


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("yoyak.cli.main._run", fail)
    with pytest.raises(ZeroDivisionError):
        main(["show"])
