"""The texts of the page of `yoyak explore`, which stand in texts.yaml in English and Korean."""

from functools import cache
from importlib.resources import files
from typing import Any, cast

from yoyak.config.yaml_files import parse_yaml
from yoyak.reports.page.frame import Language


@cache
def all_texts() -> dict[str, dict[str, Any]]:
    """The content of texts.yaml: figures and sections with title and about, labels of bars, and words."""
    content = files("yoyak.reports.exploration").joinpath("texts.yaml").read_text(encoding="utf-8")
    return cast("dict[str, dict[str, Any]]", parse_yaml(content))


def text(key: str, language: Language, **values: object) -> str:
    """One of the words with its values.

    Raises:
        KeyError: if there is no such text.
    """
    return str(all_texts()["words"][key][language]).format(**values)


def heading(kind: str, name: str, language: Language) -> tuple[str, str]:
    """The title of a figure or a section (`kind`: figures or sections), and a remark, which may be empty."""
    texts = all_texts()[kind][name]
    return texts["title"][language], texts.get("about", {}).get(language, "")


def label(key: str, language: Language) -> str:
    """The label of a bar. A key without a label, such as a tag or a topic, is its own."""
    labels = all_texts()["labels"]
    kind = key.removeprefix("summary_")
    if key not in labels and kind != key and kind in labels:
        return str(labels["summary"][language]).format(label=labels[kind][language])
    return str(labels[key][language]) if key in labels and key != "summary" else key
