"""data/sample: the committed CSVs are what the generator writes, share no dialogue, and have every kind of defect."""

import csv
import random
import re
from collections import Counter, deque
from pathlib import Path
from typing import Any

import pytest

from data.sample import build
from yoyak.config.data_section import Data
from yoyak.config.sections import Preprocess
from yoyak.data.dialogue import LISTED_TAGS, parse, without_tags
from yoyak.data.splits import SplitCleaner
from yoyak.data.text_repair import repair
from yoyak.system.csv_files import read_csv

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
SPLITS = ("train", "dev", "test")


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict[str, str]]]:
    return {split: [row.cells for row in read_csv(SAMPLE / f"{split}.csv", required=["fname", "dialogue"])] for split in SPLITS}


def test_the_generator_writes_the_committed_files_byte_for_byte(tmp_path: Path) -> None:
    files = sorted((SAMPLE / "situations").glob("*.yaml"))
    situations = [situation for path in files for situation in build.load_situations(path).values()]
    build.write(build.generate(situations, build.ROWS, build.SEED), tmp_path)
    for split in SPLITS:
        assert (tmp_path / f"{split}.csv").read_bytes() == (SAMPLE / f"{split}.csv").read_bytes()


def test_sizes_and_columns(rows: dict[str, list[dict[str, str]]]) -> None:
    assert len(rows["train"]) >= 2000
    assert min(len(rows["dev"]), len(rows["test"])) >= 200
    for split in SPLITS:
        columns = ["fname", "dialogue"] if split == "test" else ["fname", "dialogue", "summary", "topic"]
        assert all(list(row) == columns for row in rows[split])
        assert [row["fname"] for row in rows[split]] == [f"{split}_{n}" for n in range(len(rows[split]))]


def test_every_row_is_usable_and_no_split_shares_a_dialogue() -> None:
    cleaner = SplitCleaner(
        Data(dir=str(SAMPLE), folds=0, fold=1), Preprocess(noise="aggressive", person_tags="simplify", max_rejected=0)
    )
    changed: Counter[str] = Counter()
    for split, report in cleaner.reports.items():
        deque(cleaner.clean(split), maxlen=0)
        changed.update(report.changed)
    cleaner.check()
    assert {  # what preprocess counts is there for the default run to count
        "spaces",
        "literal_newline",
        "two_speakers_on_a_line",
        "tag_without_hashes",
        "line_without_speaker",
        "line_break",
        "backspace",
        "translated_tag",
        "summary_newline",
        "noise",
    } <= set(changed)


@pytest.mark.parametrize(
    ("kind", "column", "pattern"),
    [
        ("trailing spaces", "dialogue", r" \n"),
        ("literal backslash-n", "dialogue", r"\\n"),
        ("two speakers on a line", "dialogue", r"(?m)^#Person\d#: [^\n\\]*[^\n\\ ] #Person\d#: "),
        ("a tag without its hashes", "dialogue", r"(?<!#)Person\d(?!#)"),
        ("a tag inside an utterance", "dialogue", r"#Person\d#: #Person\d#, "),
        ("a line without a speaker", "dialogue", r"\n(?!#|Person)\S"),
        ("CRLF", "dialogue", r"\r\n"),
        ("a backspace", "dialogue", "\b"),
        ("a translated tag", "dialogue", r"#사람\d#"),
        ("a newline in a summary", "summary", r"\n"),
        ("a tag outside the list", "dialogue", r"#FlightNumber#"),
        ("another one", "dialogue", r"#PersonName#|#Name#"),
        ("laughter", "dialogue", r"ㅋㅋ|ㅎㅎ"),
        ("tears", "dialogue", r"ㅠㅠ|ㅜㅜ"),
        ("three speakers", "dialogue", r"#Person3#: "),
    ],
)
def test_every_kind_of_defect_is_in_some_rows_of_train(
    rows: dict[str, list[dict[str, str]]], kind: str, column: str, pattern: str
) -> None:
    share = sum(bool(re.search(pattern, row[column])) for row in rows["train"]) / len(rows["train"])
    assert 0.001 < share < 0.5, kind


def test_every_listed_tag_occurs_in_dialogues_and_summaries_name_only_who_spoke(rows: dict[str, list[dict[str, str]]]) -> None:
    every = "".join(row["dialogue"] for row in rows["train"])
    assert [tag for tag in LISTED_TAGS if tag not in every] == []
    for row in rows["dev"] + rows["train"][:500]:
        speakers = {turn.speaker for turn in parse(repair(row["dialogue"])[0])[0]}
        assert set(re.findall(r"#Person\d#", repair(row["summary"])[0])) <= speakers, row["fname"]


def test_text_is_varied_and_finished(rows: dict[str, list[dict[str, str]]]) -> None:
    summaries = [row["summary"] for row in rows["train"]]
    assert len(set(summaries)) > 0.8 * len(summaries)
    for row in rows["train"] + rows["dev"]:
        assert without_tags(row["summary"]).strip().endswith("."), row["fname"]
        assert "{" not in row["dialogue"] + row["summary"]


@pytest.mark.parametrize(
    ("word", "final"),
    [
        ("수박", "x"),
        ("사과", " "),
        ("연필", "ㄹ"),
        ("#Person1#", "ㄹ"),  # 일
        ("#Person2#", " "),
        ("#Person3#", "ㅁ"),
        ("#Person6#", "ㄱ"),
        ("#Person7#", "ㄹ"),
        ("#PhoneNumber#", " "),
        ("#DateOfBirth#", "ㄹ"),
        ("버스 10", "ㅇ"),
        ("34", " "),
        ("USB", " "),
        ("KTX", " "),
        ("PDF", " "),
        ("ATM", "ㅁ"),
        ("URL", "ㄹ"),
    ],
)
def test_final_sound(word: str, final: str) -> None:
    assert build.final_sound(word) == final


@pytest.mark.parametrize(
    ("word", "particle", "text"),
    [
        ("수박", "은", "수박은"),
        ("사과", "은", "사과는"),
        ("수박", "을", "수박을"),
        ("사과", "을", "사과를"),
        ("연필", "이", "연필이"),
        ("지우개", "이", "지우개가"),
        ("수박", "과", "수박과"),
        ("사과", "과", "사과와"),
        ("집", "으로", "집으로"),
        ("학교", "으로", "학교로"),
        ("서울", "으로", "서울로"),  # ㄹ takes 로
        ("서울", "을", "서울을"),
        ("#Person1#", "은", "#Person1#은"),
        ("#Person2#", "은", "#Person2#는"),
        ("#Person1#", "으로", "#Person1#로"),
        ("#Person3#", "으로", "#Person3#으로"),
        ("#Email#", "으로", "#Email#로"),
        ("#Email#", "을", "#Email#을"),
        ("#Address#", "으로", "#Address#로"),
        ("수박", "이에요", "수박이에요"),
        ("사과", "이에요", "사과예요"),
        ("3시", "이었", "3시였"),
        ("형", "이랑", "형이랑"),
        ("누나", "이랑", "누나랑"),
        ("민준", "아", "민준아"),
        ("민서", "아", "민서야"),
        ("2호선", "이나", "2호선이나"),
        ("8", "이라서", "8이라서"),
        ("9", "이라서", "9라서"),
    ],
)
def test_with_particle(word: str, particle: str, text: str) -> None:
    assert build.with_particle(word, particle) == text


@pytest.mark.parametrize("particle", ["는", "에서", ""])
def test_an_unknown_particle_fails_after_every_sound(particle: str) -> None:
    for word in ("수박", "사과"):
        with pytest.raises(KeyError):
            build.with_particle(word, particle)


def test_fill() -> None:
    values = {"food": {"name": "김밥", "price": "3천 원"}, "day": "토요일", "A": "#Person1#"}
    text = build.fill("{A:은} {day}에 {food.name:을} {food.price:이라고} 합니다.", values)
    assert text == "#Person1#은 토요일에 김밥을 3천 원이라고 합니다."


@pytest.mark.parametrize("template", ["{food}", "{none}", "{food.none}", "{day:에서}", "{day", "day}", "{}"])
def test_fill_refuses_what_it_cannot_fill(template: str) -> None:
    with pytest.raises(KeyError):
        build.fill(template, {"food": {"name": "김밥"}, "day": "토요일"})


def situation(**changed: Any) -> dict[str, Any]:
    return {
        "topics": ["약속"],
        "slots": {"day": ["토요일", "일요일", "월요일"], "place": ["학교", "공원", "역"]},
        "turns": [{"A": ["{day}에 시간 돼? 궁금해."]}, {"B?": ["글쎄."]}, {"C": ["나도 갈래."]}],
        "endings": [{"turns": [{"B": ["{place}에서 봐."]}], "summaries": ["{A:은} {B}, {C:과} {day}에 {place}에서 봅니다."]}],
    } | changed


def test_speakers_are_numbered_as_they_first_speak() -> None:
    build.check_situation(situation())
    seen = set()
    for seed in range(20):
        turns, summary, topic = build.draw_dialogue(situation(), random.Random(seed))
        tags = [tag for tag, _ in turns]
        assert list(dict.fromkeys(tags)) == ["#Person1#", "#Person2#", "#Person3#"]
        assert topic == "약속"
        b, c = ("#Person2#", "#Person3#") if turns[1][1] == "글쎄." else ("#Person3#", "#Person2#")
        assert summary.startswith(f"#Person1#은 {b}, {build.with_particle(c, '과')} ")
        seen.add(len(turns))
    assert seen == {3, 4}  # a turn with "?" is sometimes left out


@pytest.mark.parametrize(
    "changed",
    [
        {"slots": {"day": ["토요일", {"name": "일요일"}], "place": ["역"]}},
        {"slots": {"day": ["토요일", 3], "place": ["역"]}},
        {"slots": {"place": ["역"]}},
        {"turns": [{"H": ["안녕"]}]},
        {"turns": [{"A": "안녕"}]},
        {"turns": [{"A": ["안녕"]}, {"C?": ["안녕"]}]},  # the summary names C, who may be left out
        {"topics": []},
    ],
)
def test_check_refuses_a_faulty_situation(changed: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        build.check_situation(situation(**changed))


def test_load_situations_names_all_errors(tmp_path: Path) -> None:
    text = "one: {topics: [], slots: {}, turns: [], endings: [{turns: [{A: [안녕]}], summaries: [x]}]}\n"
    (tmp_path / "bad.yaml").write_text(text + text.replace("one", "two"), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"bad\.yaml: one: the list topics is empty\nbad\.yaml: two: the list topics is empty"):
        build.load_situations(tmp_path / "bad.yaml")


def test_generate_repeats_no_dialogue_and_follows_the_seed() -> None:
    sizes = {"train": 6, "dev": 3, "test": 2}
    first = build.generate([situation()], sizes, 1)
    assert first == build.generate([situation()], sizes, 1)
    assert first != build.generate([situation()], sizes, 2)
    bare = ["".join(re.findall(r"\w+", row["dialogue"].replace("\\n", "\n"))) for split in SPLITS for row in first[split]]
    assert len(set(bare)) == sum(sizes.values())
    assert all("summary" not in row for row in first["test"])


def test_write_is_read_back_the_same(tmp_path: Path) -> None:
    splits = {"dev": [{"fname": "dev_0", "dialogue": '#Person1#: "가"\r\n#Person2#: 나, 다\b', "summary": "요약\n둘째 줄"}]}
    build.write(splits, tmp_path)
    with open(tmp_path / "dev.csv", encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == splits["dev"]
