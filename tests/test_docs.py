"""The documents: short READMEs, links that resolve, commands and params that exist, generated pages that are current."""

import argparse
import importlib.util
import json
import re
import shlex
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ruamel.yaml import YAML

from yoyak.cli.main import build_parser
from yoyak.config.sections import Params
from yoyak.config.validation import dotted_keys

ROOT = Path(__file__).resolve().parents[1]
READMES = ("README.md", "README.ko.md")
RECORDS = ROOT / "docs/experiments"  # records of experiments are the user's, and only their index is ours
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    if path.parent != RECORDS or path.name == "index.md"
)
NO_PARAMS = {
    "training.learnin_rate",
    "model.safetensors",
    "model.gguf",
    "model.generate",
    "tokenizer.json",
    "prompt.augmentation",
    "augment.NAME",
}  # an example of a wrong name, files, a method, the old name of a key, a placeholder


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def code_lines(text: str) -> list[str]:
    """The lines of the code blocks of a Markdown text, fenced or indented by four spaces."""
    lines, fenced, previous = [], False, ""
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or (line.startswith("    ") and not re.match(r" *[-*0-9]", previous)):
            lines.append(line.strip())
        if line.strip() and not line.startswith("    "):
            previous = line
    return lines


def code_spans(text: str) -> list[str]:
    """What stands between backticks in running text."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)


def commands_of(text: str) -> Iterator[list[str]]:
    """The words of each `yoyak …` command in code blocks and between backticks, up to a comment or the next command."""
    for code in [*code_lines(text), *code_spans(text)]:
        for command in re.split(r"&&|\||;", re.sub(r"(?:^|\s)#.*", "", code)):
            match = re.match(r"(?:\S*/|!|\$ ?|python -m )*yoyak\s+(\S.*)", command.strip())
            if match:
                try:
                    yield shlex.split(match[1])
                except ValueError:  # an apostrophe of prose
                    yield match[1].split()


def script(name: str) -> ModuleType:
    """A script of docs/, which is no package, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("readme", READMES)
def test_a_readme_has_at_most_120_lines(readme: str) -> None:
    assert len(text_of(readme).splitlines()) <= 120


@pytest.mark.parametrize("readme", READMES)
def test_the_first_commands_of_a_readme_are_make_repro_and_make_test(readme: str) -> None:
    lines = [line.partition("#")[0].strip() for line in code_lines(text_of(readme))]
    commands = [line for line in lines if re.match(r"(make|dvc|git|yoyak|python|pip|source|cat) ", line)]
    assert commands[:2] == ["make repro", "make test"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_in_documents_exist_with_their_options(document: str) -> None:
    subparsers = next(action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    known: dict[str, Any] = dict(subparsers.choices)
    wrong = []
    for name, *arguments in commands_of(text_of(document)):
        if name in ("COMMAND", "NAME", "…", "...") or name.startswith("-"):
            continue
        options = {option for action in known[name]._actions for option in action.option_strings} if name in known else set()
        unknown = [word for word in arguments if word.startswith("-") and word.partition("=")[0] not in options]
        if name not in known or unknown:
            wrong.append(f"yoyak {name} {' '.join(unknown)}")
    assert not wrong


@pytest.mark.parametrize("document", DOCUMENTS)
def test_make_targets_in_documents_exist(document: str) -> None:
    targets = set(re.findall(r"(?m)^([a-z][a-z-]*):", text_of("Makefile")))
    text = text_of(document)
    code = "\n".join([*code_lines(text), *code_spans(text)])
    named = set(re.findall(r"(?m)^!?make ([a-z][a-z-]*)", code))
    assert named <= targets


@pytest.mark.parametrize("document", DOCUMENTS)
def test_params_in_documents_exist(document: str) -> None:
    keys = dotted_keys(Params)
    sections = "|".join(Params.model_fields)
    text = text_of(document)
    spans = [re.match(rf"((?:{sections})\.[\w.]+\w)(?:: .*|=.*)?$", span) for span in code_spans(text)]
    changes = [match for line in code_lines(text) for match in re.finditer(r"-S '?([\w.]+)=", line)]
    named = {match[1] for match in [*spans, *changes] if match and not match[1].endswith((".py", ".csv"))}
    assert named - NO_PARAMS <= set(keys)


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and pymdownx.slugs make it."""
    heading = unicodedata.normalize("NFC", re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading)).lower().strip()
    return re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_resolve(document: str) -> None:
    text = re.sub(r"(?m)^(?: {4}|```).*", "", text_of(document))
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text)):
        if target.startswith(("https://", "http://")):
            continue
        place, _, anchor = target.partition("#")
        file = (ROOT / document).parent / place if place else ROOT / document
        inside = not document.startswith("docs/") or file.resolve().is_relative_to(ROOT / "docs")  # the site has docs/ alone
        if not file.is_file() or not inside:
            wrong.append(target)
        elif anchor:
            headings = re.findall(r"(?m)^#+ (.+)$", file.read_text(encoding="utf-8"))
            wrong += [target] if anchor not in map(slug, headings) else []
    assert not wrong


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_load_nothing_from_other_servers(document: str) -> None:
    assert not re.findall(r"!\[[^]]*\]\(https?:|<(?:script|img|link|iframe)\b", text_of(document))


def _pages(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for value in entry.values():
                yield from _pages(value if isinstance(value, list) else [value])


def test_every_page_is_in_the_navigation_and_every_korean_page_has_an_english_one() -> None:
    text = text_of("mkdocs.yml")
    pages = sorted(_pages(YAML(typ="safe").load(text[text.index("\nnav:") :])["nav"]))
    written = [document.removeprefix("docs/") for document in DOCUMENTS if document.startswith("docs/")]
    assert pages == sorted(page for page in written if not page.endswith(".ko.md"))
    assert {page.replace(".ko.md", ".md") for page in written} <= set(pages)


def test_the_site_names_no_server_for_fonts_or_scripts() -> None:
    settings = text_of("mkdocs.yml")
    assert "font: false" in settings
    assert "polyfills: [javascripts/iframe-worker.js]" in settings  # without it the offline plugin names a server
    assert not re.findall(r"https?://", settings)


def without_defaults(page: str) -> str:
    """A generated page without the values of params.yaml, which users change."""
    return re.sub(r"(?m)\*Default:\* .* \|$", "", page)


def test_generated_pages_are_current() -> None:
    pages: dict[Path, str] = script("generate_reference").pages()
    stale = [
        path.name
        for path, text in pages.items()
        if without_defaults(path.read_text(encoding="utf-8")) != without_defaults(text)
    ]
    assert not stale, "run `make docs`"


def test_the_picture_shows_what_yoyak_show_prints() -> None:
    """It shows the scores at the time when it was drawn: users have scores of their own."""
    module = script("make_picture")
    drawn, committed = module.picture(), module.PICTURE.read_text(encoding="utf-8")
    scores = json.loads(module.SCORES.read_text(encoding="utf-8"))
    assert f"{scores['rouge_sum']:.2f}" in drawn
    assert re.sub(r"[\d.]+", "", committed.partition("signature")[0]) == re.sub(r"[\d.]+", "", drawn.partition("signature")[0])
