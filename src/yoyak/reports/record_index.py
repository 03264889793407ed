"""The index page of experiment records: a table that is made from the data lines of the records beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yoyak.reports.record import BEGIN, DATA, END, INDEX, code, facts_of, range_of, read_page, table_of
from yoyak.reports.record_texts import TEXTS
from yoyak.system.atomic import atomic_file


def write_index(folder: Path, *, language: str | None) -> Path:
    """Write the table of all records in a folder. Text around the table that a person wrote is kept.

    Args:
        folder: of the records.
        language: "ko" or "en"; None for that of the page that is there, else Korean.

    Raises:
        YoyakError: if the page is there and has no table between marker lines.
    """
    path, found = folder / INDEX, []
    for page in sorted(folder.glob("*.md")):
        text = read_page(page)
        if page.name != INDEX and (match := DATA.search(text)):
            found.append((page, json.loads(match[1])))
    found.sort(key=lambda item: (item[1].get("date") or "9999", item[0].name), reverse=True)
    old = read_page(path) if path.exists() else None
    data, start, end = facts_of(path, old) if old is not None else ({}, 0, 0)
    language = language or str(data.get("language", "ko"))
    texts = TEXTS[language]
    begin = f"{BEGIN} {json.dumps({'language': language})} -->"
    facts = "\n".join([begin, "", *(_index_table(found, texts) if found else [texts["no_records"]]), "", END])
    text = f"# {texts['index']}\n\n{texts['index_intro']}\n\n{facts}\n" if old is None else old[:start] + facts + old[end:]
    with atomic_file(path) as file:
        file.write(text)
    return path


def _index_table(found: Sequence[tuple[Path, Mapping[str, Any]]], texts: Mapping[str, str]) -> list[str]:
    rows = []
    for page, data in found:
        difference = "-" if data.get("difference") is None else f"{data['difference']:+.2f}"
        verdict = texts.get(str(data.get("verdict")), "-")
        rows.append(
            [
                *(f"[{page.stem}]({page.name})", data.get("date") or "-", data.get("commit") or "-"),
                *("-" if data.get(key) is None else f"{data[key]:.2f}" for key in ("rouge_sum", "content")),
                *(range_of(data.get("interval")), code(data["parent"]) if data.get("parent") else "-", difference, verdict),
            ]
        )
    headings = [texts["record"], texts["date"], texts["commit"], "rouge_sum", "content", texts["interval"], texts["parent"]]
    return table_of([*headings, texts["difference"], texts["verdict"]], rows)
