"""Bad data, by the thousand: whatever the bytes, either a correct result or one clear YoyakError, in linear time.

YOYAK_FUZZ=20 pytest tests/pipeline/test_fuzz.py tries twenty times as many.
"""

import contextlib
import functools
import io
import itertools
import json
import os
import re
import time
import unicodedata
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages import preprocess as stage
from tests.conftest import ROOT
from yoyak.config import params
from yoyak.config.fields import number_from_text
from yoyak.config.sections import Params
from yoyak.config.yaml_files import read_yaml
from yoyak.data import cleaning, dialogue, noise, text_repair
from yoyak.data.dialogue import BadDialogueError
from yoyak.data.leak_guard import LeakGuard
from yoyak.data.noise import Noise
from yoyak.data.person_tags import PersonTags, replace_reversibly
from yoyak.data.splits import REQUIRED_COLUMNS
from yoyak.evaluation import foreign_letters, submission
from yoyak.inference import postprocessing
from yoyak.inference.outputs import Output
from yoyak.system.csv_files import Row, read_csv
from yoyak.system.errors import YoyakError
from yoyak.system.invisible import FILLER, is_blank, without_invisible
from yoyak.system.text_files import read_json, read_jsonl

TIMES = int(os.environ.get("YOYAK_FUZZ", "1"))
NOISES: tuple[Noise, ...] = ("minimal", "moderate", "aggressive")
STRATEGIES: tuple[PersonTags, ...] = ("keep_original", "simplify", "abstract")


def tries(count: int) -> settings:
    return settings(
        max_examples=count * TIMES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


# Damage to bytes.

PIECES = [
    *(b'"', b'""', b",", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc3", b"\x1a", b"=", b" "),
    *("\u2028".encode(), "\x85".encode(), b"#Person1#:", b'","', b'"\n"', b"\x1b[2J"),
]
DAMAGE = st.lists(
    st.tuples(
        st.sampled_from(["insert", "insert", "cut", "flip", "delete", "repeat"]),
        st.integers(0, 10_000),
        st.integers(0, 60),
        st.sampled_from(PIECES),
    ),
    max_size=3,
)


def damaged(data: bytes, damage: list[tuple[str, int, int, bytes]]) -> bytes:
    for kind, where, much, piece in damage:
        offset = where % (len(data) + 1)
        if kind == "insert":
            data = data[:offset] + piece + data[offset:]
        elif kind == "cut":
            data = data[:offset]
        elif kind == "flip" and offset < len(data):
            data = data[:offset] + bytes([data[offset] ^ 1 << much % 8]) + data[offset + 1 :]
        elif kind == "delete":
            data = data[:offset] + data[offset + much :]
        elif kind == "repeat":
            data = data[: offset + much] + data[offset:]
    return data


# CSV, against a reader of its own.

GOOD = (
    'fname,dialogue,summary\nt_0,"#Person1#: 밥, ""먹었어""?\n#Person2#: 응","요약, 하나"\r\nt_1,#Person1#: 그래,둘\n\n'
    't_2,"#Person1#: a\r\n#Person2#: b",""\nt_3,#Person1#: "정말"?,셋\n'
).encode()


def rfc4180(text: str) -> list[tuple[int, list[str]]] | None:
    """Rows with the line that they start on; None if there are none to be had.

    By RFC 4180, and: blank lines are no rows, lines end with a line feed and any carriage returns before it, and a quote
    within a cell that does not start with one stands for itself.
    """
    rows: list[tuple[int, list[str]]] = []
    cells: list[str] = []
    cell, state, line, began = "", "start", 1, 1
    for char in text:
        line += char == "\n"
        if state == "quoted":
            state, cell = ("quote", cell) if char == '"' else (state, cell + char)
        elif state == "quote" and char == '"':
            state, cell = "quoted", cell + char
        elif char in "\r\n":
            if state != "ended" and (cells or state != "start"):
                rows.append((began, [*cells, cell]))
            cells, cell, state = [], "", "ended"
            if char == "\n":
                state, began = "start", line
        elif char == "," and state != "ended":
            cells, cell, state = [*cells, cell], "", "start"
        elif state in ("quote", "ended"):
            return None
        elif char == '"' and state == "start":
            state = "quoted"
        else:
            state, cell = "plain", cell + char
    if state == "quoted":
        return None
    if state != "ended" and (cells or state != "start"):
        rows.append((began, [*cells, cell]))
    return rows


def rows_of(data: bytes, required: Iterable[str]) -> list[Row] | None:
    """What read_csv should give for these bytes; None if it should refuse them."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    text = text.removeprefix("\ufeff")
    before = 0
    while text and is_blank(text.partition("\n")[0]):
        text, before = text.partition("\n")[2], before + 1
    if "\0" in text or text.startswith("PK\x03\x04"):
        return None
    rows = rfc4180(text)
    if not rows:
        return None
    (_, header), *rest = rows
    header = [unicodedata.normalize("NFC", without_invisible(name)).strip() for name in header]
    named = [name for name in header if name]
    rest = [(line, cells) for line, cells in rest if not all(map(is_blank, cells))]
    if not rest or not set(required) <= set(named) or len(set(named)) < len(named):
        return None
    last = max(index for index, name in enumerate(header) if name) + 1  # blank cells behind the last name are allowed
    if any(len(cells) < last or not all(map(is_blank, cells[last:])) for _, cells in rest):
        return None
    pairs = [(line + before, zip(header, cells, strict=False)) for line, cells in rest]
    return [Row(line, {name: cell for name, cell in row if name}) for line, row in pairs]


def one_message(error: YoyakError, path: Path, most: int = 2000) -> None:
    assert str(error).startswith(f"{path}:")
    assert len(str(error)) < most
    assert str(error).replace("\n", "").isprintable(), error


def same_as_by_hand(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    expected = rows_of(data, ["fname", "dialogue"])
    try:
        assert list(read_csv(path, required=["fname", "dialogue"])) == expected
    except YoyakError as error:
        assert expected is None, error
        one_message(error, path)
        if match := re.search(r"\.csv:(\d+)\b", str(error)):
            assert 1 <= int(match[1]) <= data.count(b"\n") + 1


@tries(1000)
@given(DAMAGE)
def test_a_damaged_csv_is_read_as_by_hand_or_refused(tmp_path: Path, damage: list[tuple[str, int, int, bytes]]) -> None:
    same_as_by_hand(tmp_path / "a.csv", damaged(GOOD, damage))


@tries(500)
@given(st.lists(st.sampled_from([*PIECES, b"a", b",b", b"1,2\n"]) | st.binary(max_size=3), max_size=10))
def test_random_bytes_are_read_as_by_hand_or_refused(tmp_path: Path, parts: list[bytes]) -> None:
    same_as_by_hand(tmp_path / "a.csv", b"fname,dialogue\n" + b"".join(parts))
    same_as_by_hand(tmp_path / "a.csv", b"".join(parts))


@tries(300)
@given(DAMAGE)
def test_damaged_json_is_read_or_refused(tmp_path: Path, damage: list[tuple[str, int, int, bytes]]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        damaged('{"fname": "t_0", "a": [1, 2.5, null, {"b": "가"}]}\n{"fname": "t_1", "a": 1e5}\n'.encode(), damage)
    )
    try:
        rows = list(read_jsonl(path))
    except YoyakError as error:
        one_message(error, path)
    else:
        assert rows == [json.loads(line) for line in path.read_bytes().split(b"\n") if line]
    try:
        read_json(path)
    except YoyakError as error:
        one_message(error, path)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "9" * 5000, "[1]", "null", '"\xff'])
def test_json_that_would_break_python_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(YoyakError, match=r":1: (not JSON|not a JSON object)"):
        list(read_jsonl(path))
    if text not in ("[1]", "null"):
        with pytest.raises(YoyakError, match="not JSON"):
            read_json(path)


# Dialogues.

WORDS = st.sampled_from(
    (
        *("#Person1#", "#Person2#:", "#Person1#: ", "Person1", "person2", "#사람1#", "P1", "화자2", "#Email#"),
        *("#", ":", "：", "1", " ", "\n", "\r\n", "\t", "\\", "n", "r", "\b", "\u200b", "\u3000", "\u2028", "\x85"),
        *(
            "＃Person1＃",
            "＃사람１＃：",
            "Ｐｅｒｓｏｎ２",
            "&lt;",
            "&",
            "amp;",
            "<br>",
            " | ",
            "|",
            "/",
            "\u3164",
            "\u200d",
            "ﾡ",
            "ￂ",
        ),
        *("ｶ", "ﾞ", "#@이름#", "#@시스템#사진#", "민수: ", "👨", "\U000e0041"),
        *("\u1100", "\u1161", "\u0301", "ㅋㅋ", "ㅠ", "ㅇ", "ㄷ", "음...", "음,", "저기…", "!!", "😀", "\ufe0f"),
        *("가", "a", ".", "웃음", "Person", "사람", "K", "ſ"),
        # an emoji, a line end or a backspace within what would be a tag, a turn or a line end
        *("#Person2#😀:", "#Person3#\n:", "#Person😀1#", "#사람 😀1#", "#Person1#화자2#"),
        *("#Person10#😀:", "\\\b", "Per\u200bson1"),
    )
)
TEXTS = st.lists(WORDS | st.text(max_size=3), max_size=14).map("".join)


def bare(text: str) -> str:
    """A text without what repairs may add, move or take away: hashes, colons, numbers, spaces, words of tags, separators."""
    text = unicodedata.normalize("NFKC", text)  # of letters of other widths
    return re.sub(r"(?i)person|사람|화자|인물|</?(br|p|div)>|&(amp;)*(lt;)?|[#:：﹕∶1-9\s|/<]|\u0301|\u3099|\u309a", "", text)


@tries(1000)
@given(TEXTS)
def test_nothing_that_was_said_is_lost(text: str) -> None:
    try:
        cleaned, _ = cleaning.clean_dialogue("#Person1#: " + text, "minimal")
    except BadDialogueError:
        return
    visible = FILLER.sub(" ", without_invisible(text.replace("\b", "")))
    composed = re.sub(r"(\\r)?\\n", "\n", unicodedata.normalize("NFC", visible))
    assert bare(cleaned) == bare(composed)


@tries(1500)
@given(TEXTS, st.sampled_from(NOISES))
def test_cleaning_a_clean_dialogue_changes_nothing(text: str, noise: Noise) -> None:
    try:
        cleaned, _ = cleaning.clean_dialogue("#Person1#: " + text, noise)
    except BadDialogueError:
        return
    again, changed = cleaning.clean_dialogue(cleaned, noise)
    assert again == cleaned
    assert not changed


@tries(700)
@given(TEXTS, st.sampled_from(NOISES))
def test_cleaning_a_clean_summary_changes_nothing(text: str, noise: Noise) -> None:
    try:
        cleaned, _ = cleaning.clean_summary(text, noise)
    except BadDialogueError:
        return
    assert cleaning.clean_summary(cleaned, noise) == (cleaned, {})
    assert "\n" not in cleaned


@tries(700)
@given(TEXTS | st.text(), st.booleans())
def test_finishing_ends_and_adds_one_character_at_most(text: str, hit_limit: bool) -> None:
    once = postprocessing.complete_ending(Output(text, hit_limit=hit_limit))
    assert len(once) <= len(text) + 1
    assert postprocessing.complete_ending(Output(once, hit_limit=hit_limit)) == once


# Submissions.

TEST = [f"t_{n}" for n in range(5)]
SUBMISSION = ("fname,summary\n" + "".join(f'{name},"#Person1#은 {name}에서 밥을, 먹습니다."\n' for name in TEST)).encode()
OF_ROWS = ("the columns are", "fname ", "the rows are in another order")


@tries(700)
@given(DAMAGE)
def test_a_damaged_submission_is_unfit(tmp_path: Path, damage: list[tuple[str, int, int, bytes]]) -> None:
    test, path = tmp_path / "test.csv", tmp_path / "submission.csv"
    test.write_text("fname,dialogue\n" + "".join(f"{name},#Person1#: 밥\n" for name in TEST), encoding="utf-8")
    path.write_bytes(damaged(SUBMISSION, damage))
    rows = rows_of(path.read_bytes(), ["fname", "summary"])
    try:
        unfit, look = submission.check_submission(path, test=test)
    except YoyakError as error:
        assert rows is None
        one_message(error, path)
        return
    assert rows is not None
    sound = [row.cells["fname"] for row in rows] == TEST and list(rows[0].cells) == ["fname", "summary"]
    assert any(line.startswith(OF_ROWS) or "rows; the test file has" in line for line in unfit) is not sound
    assert all(line.isprintable() and len(line) < 2000 for line in unfit + look)
    if sound:
        assert submission.read_predictions(path, fnames=TEST) == [row.cells["summary"] for row in rows]


# Params.


@functools.cache
def yaml() -> bytes:
    """params.yaml without its comments: YAML is slow to read."""
    from ruamel.yaml import YAML

    stream = io.BytesIO()
    YAML().dump(read_yaml(ROOT / "params.yaml"), stream)
    return stream.getvalue()


YAML_PIECES = [
    b"*a",
    b"&a ",
    b"[",
    b"{",
    b"!!set ",
    b"!!int ",
    b": ",
    b"- ",
    b"\n  ",
    b".nan",
    b"0x",
    b"1e999",
    b"<<: ",
    b"'",
    b"|",
]


def read_params(path: Path) -> Params | None:
    try:
        return params.parse_params(read_yaml(path), source=str(path))
    except YoyakError as error:
        assert str(error).startswith(f"{path}:")
        assert len(str(error)) < 20_000
        return None


@tries(80)
@given(DAMAGE, st.lists(st.tuples(st.integers(0, 5000), st.sampled_from(YAML_PIECES)), max_size=2))
def test_damaged_params_are_read_or_refused(
    tmp_path: Path, damage: list[tuple[str, int, int, bytes]], pieces: list[tuple[int, bytes]]
) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(damaged(yaml(), [*damage, *(("insert", offset, 0, piece) for offset, piece in pieces)]))
    if values := read_params(path):
        assert params.parse_params(values.model_dump(), source="again") == values


def test_the_params_to_be_damaged_are_sound(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(yaml())
    assert read_params(tmp_path / "params.yaml")


def laughs(levels: int, width: int, line: str) -> str:
    texts = ["a0: &a0 {x0: 1, y0: 2}\n"]
    texts += [line.format(level + 1, ", ".join([f"*a{level}"] * width)) for level in range(levels)]
    return "".join(texts)


BOMBS: dict[str, str | bytes] = {
    "billion laughs": laughs(9, 9, "a{0}: &a{0} [{1}]\n"),
    "billion merges": laughs(9, 9, "a{0}: &a{0} {{<<: [{1}]}}\n"),
    "few laughs": laughs(3, 3, "a{0}: &a{0} [{1}]\n"),
    "itself": "training: &a\n  seed: *a\n",
    "deep flow": "[" * 100_000,
    "deep flow, small": "[" * 10_000,
    "deep maps": "{a: " * 4000,
    "deep blocks": "- " * 9000,
    "deep keys": "? " * 9000,
    "object": "training: !!python/object/apply:os.system [exit]",
    "odd tags": "a: !!int ''",
    "odd bool": "a: !!bool maybe",
    "long": "a: " + "x" * 1_000_000,
    "long key": "k" * 19_000 + ": 1",
    "many keys": "".join(f"k{n}: 1\n" for n in range(2000)),
    "many faults": "tokenizer: {special_tokens: [" + "1, " * 5000 + "]}",
    "empty": "",
    "two documents": "a: 1\n--- \nb: 2\n",
    "duplicate": "data: {dir: a}\ndata: {dir: b}\n",
    "binary": b"\x80\x81\xff" * 100,
    "NUL": b"data: \0",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_yaml_bomb_is_one_error_at_once(tmp_path: Path, name: str) -> None:
    path, bomb = tmp_path / "params.yaml", BOMBS[name]
    path.write_bytes(bomb if isinstance(bomb, bytes) else bomb.encode())
    began = time.process_time()
    assert read_params(path) is None
    assert time.process_time() - began < 5  # under one second, on a machine that does nothing else


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", "0x" + "f" * 15_000),
        ("seed", "[0x" + "f" * 15_000 + "]"),
        ("seed", "2024-01-01"),
        ("seed", "9" * 5000),
        ("learning_rate", "0x" + "f" * 15_000),
        ("learning_rate", "'" + "1" * 15_000 + "'"),
        ("learning_rate", ".nan"),
        ("learning_rate", ".inf"),
        ("learning_rate", "1e999"),
        ("lr_scheduler_kwargs", "{num_cycles: .nan}"),
        ("lr_scheduler_kwargs", "{num_cycles: [1]}"),
        ("lr_scheduler_kwargs", "{num_cycles: 2024-01-01}"),
        ("lr_scheduler_kwargs", "{1: 2}"),
    ],
)
def test_a_value_that_is_none_is_refused(tmp_path: Path, key: str, value: str) -> None:
    text = re.sub(rf"(?m)^  {key}: .*", lambda _: f"  {key}: {value}", yaml().decode(), count=1)
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("lr_scheduler_type: linear", "lr_scheduler_type: cosine"), encoding="utf-8")
    assert read_params(path) is None
    with pytest.raises(YoyakError):
        params.load_params(ROOT / "params.yaml", changes=["training.lr_scheduler_type=cosine", f"training.{key}={value}"])


# The whole stage.


@functools.cache
def sample(split: str) -> bytes:
    """The header and first rows of a split."""
    path = ROOT / "data" / "sample" / f"{split}.csv"
    rows = list(itertools.islice(read_csv(path, required=[]), 5))
    lines = path.read_bytes().split(b"\n")
    return b"\n".join(lines[: rows[4].line - 1]) + b"\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    values = read_yaml(ROOT / "params.yaml")
    assert isinstance(values, dict)
    values["data"]["dir"] = "raw"
    values["preprocess"]["max_rejected"] = 2
    monkeypatch.setattr(stage, "load_params", lambda: params.parse_params(values, source="test"))
    monkeypatch.setattr(os, "fsync", lambda _: None)  # what is on the disk is another test's matter
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    return tmp_path


def written(names: list[str]) -> dict[str, bytes | None]:
    return {name: Path(name).read_bytes() if Path(name).exists() else None for name in names}


@tries(200)
@given(st.sampled_from(list(REQUIRED_COLUMNS)), DAMAGE)
def test_the_stage_on_damaged_data_adds_up_or_leaves_all_as_it_was(
    project: Path, split: str, damage: list[tuple[str, int, int, bytes]]
) -> None:
    outputs = [*(f"out/{name}.jsonl" for name in REQUIRED_COLUMNS), "metrics.json"]
    Path("metrics.json").unlink(missing_ok=True)
    data = {name: damaged(sample(name), damage if name == split else []) for name in REQUIRED_COLUMNS}
    for name, content in data.items():
        Path(f"raw/{name}.csv").write_bytes(content)
    before = written(outputs)
    try:
        stage.main(Path("out"), Path("rejects/rows.jsonl"), Path("metrics.json"))
    except YoyakError as error:
        assert len(str(error)) < 5000
        assert str(error).replace("\n", "").isprintable()
        assert written(outputs) == before
        return
    counts = json.loads(Path("metrics.json").read_bytes())
    for name, content in data.items():
        rows = rows_of(content, REQUIRED_COLUMNS[name])
        assert rows is not None
        kept = list(read_jsonl(Path(f"out/{name}.jsonl")))
        assert len(rows) == counts[name]["rows_in"] == counts[name]["rows_out"] + sum(counts[name]["rejected"].values())
        assert len(kept) == counts[name]["rows_out"]
        assert {row["fname"] for row in kept} <= {row.cells["fname"] for row in rows}
    rejects = Path("rejects/rows.jsonl").read_bytes().count(b"\n")
    assert rejects == sum(sum(count["rejected"].values()) for count in counts.values())


# Linear time.


def quietly(clean: Callable[[str], object]) -> Callable[[str], object]:
    def call(text: str) -> None:
        with contextlib.suppress(BadDialogueError):
            clean(text)

    return call


FUNCTIONS: dict[str, Callable[[str], object]] = {
    "repair": quietly(text_repair.repair),
    "parse": quietly(lambda text: dialogue.parse("#Person1#: " + text)),
    "clean": lambda text: noise.reduce_noise(text, "aggressive"),
    "clean moderately": lambda text: noise.reduce_noise(text, "moderate"),
    "tags": lambda text: [quietly(partial(replace_reversibly, strategy=strategy))(text) for strategy in STRATEGIES],
    "copies": lambda text: dialogue.copies(text[: len(text) // 2] + "x", text),
    "finish": lambda text: postprocessing.complete_ending(Output(text, hit_limit=False)),
    "finish what was cut": lambda text: postprocessing.complete_ending(Output(text, hit_limit=True)),
    "faults": lambda text: submission.summary_faults(text, text),
    "foreign": lambda text: foreign_letters.count_foreign_letters([text], [text]),
    "dialogue": quietly(lambda text: cleaning.clean_dialogue("#Person1#: " + text, "aggressive")),
    "summary": quietly(lambda text: cleaning.clean_summary(text, "aggressive")),
    "guard": lambda text: LeakGuard().add(split="train", row="a", dialogue=text),
    "number": number_from_text,
}
UNITS = (
    *("#", "#Person", "Person ", "person", "#Person1#:", "#Person1#", "#Person1 ", "Person1 #", "# ", " #", "#a", "#1"),
    *("#사람", "화자", "화자1", "P1", "A1", "a@", "음,", "음", "음, ", "음...", "ㅋ", "ㅋㅇ", "ㅇㅋ", "ㅠ", "웃음 "),
    *(" ", "\n", "\t", "\u3000", "\r", "\\n", "\\", "\b", "\u200b", "\u1161", "\u0301", "\u0301\u0323", "\ufe0f"),
    *(".", "!", '."', "!)", '"', "…", ". ", "😀", "a", "가", "1", "1.", ":", ": ", "a:", "a\n", "^", "漢", "漢 "),
)
MOST = 40_000  # characters; a quadratic search takes seconds for these


def seconds(function: Callable[[str], object], text: str, times: int) -> float:
    best = float("inf")
    for _ in range(times):
        began = time.process_time()
        function(text)
        best = min(best, time.process_time() - began)
    return best


def quadratic(function: Callable[[str], object], make: Callable[[int], str]) -> bool:
    """Whether four times the text takes over ten times as long, and over half a second: then it is no noise."""
    first = seconds(function, make(MOST), 1)
    if first < 0.5:
        return False
    most = min(first, seconds(function, make(MOST), 1))
    return most > 0.5 and most / max(seconds(function, make(MOST // 4), 3), 1e-6) > 10


def slow_combinations(
    functions: Iterable[str], befores: Iterable[str], afters: Iterable[str]
) -> list[tuple[str, str, str, str]]:
    slow = []
    for name, before, unit, after in itertools.product(functions, befores, UNITS, afters):

        def make(size: int, parts: tuple[str, str, str] = (before, unit, after)) -> str:
            start, repeated, end = parts
            return start + (repeated * size)[:size] + end

        if quadratic(FUNCTIONS[name], make):
            slow.append((name, before, unit, after))
    return slow


@pytest.mark.very_slow
def test_a_quadratic_search_is_found() -> None:
    """Else the two tests below would prove nothing."""
    slow = re.compile(r"\s*#$")
    assert quadratic(slow.search, lambda size: " " * size + "x")
    assert not quadratic(re.compile(r"#$").search, lambda size: " " * size + "x")


def test_long_texts_take_linear_time() -> None:
    assert slow_combinations(["dialogue", "finish what was cut", "faults", "guard"], [""], ["ㄷ"]) == []


@pytest.mark.very_slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_long_texts_take_linear_time_whatever_stands_around_them(name: str) -> None:
    assert slow_combinations([name], ["", "#Person1"], ["", "x", "!", " x", "#", "가", "ㄷ", "\n#", ' "']) == []


def test_marks_piled_on_a_letter_are_refused() -> None:
    """To put them in order takes quadratic time."""
    for text in ("a" + "\u0301" * 31, "가" + "\u0301" * 10_000 + "\u0323" * 10_000, "😀" * 40 + "\u0301\u0323" * 16):
        with pytest.raises(BadDialogueError, match="combining_marks"):
            text_repair.repair(text)
    for text in ("a" + "\u0301" * 30, "😀" * 100, ("\u0301" * 30 + "a") * 5):
        text_repair.repair(text)
