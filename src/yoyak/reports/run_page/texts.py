"""The texts of the pages of runs, which stand in texts.yaml in English and Korean."""

from functools import cache
from importlib.resources import files
from typing import cast

from yoyak.config.yaml_files import parse_yaml
from yoyak.reports.page.frame import Language


@cache
def all_texts() -> dict[str, dict[str, dict[str, str]]]:
    """The content of texts.yaml: for each group and key the text in each language."""
    content = files("yoyak.reports.run_page").joinpath("texts.yaml").read_text(encoding="utf-8")
    return cast("dict[str, dict[str, dict[str, str]]]", parse_yaml(content))


def text(key: str, language: Language, group: str = "words", **values: object) -> str:
    """One of the texts with its values.

    Raises:
        KeyError: if there is no such text.
    """
    return str(all_texts()[group][key][language]).format(**values)


def words_of(group: str, language: Language) -> dict[str, str]:
    """All texts of a group, with their values still to be filled in."""
    return {key: texts[language] for key, texts in all_texts()[group].items()}
