"""One pass over a corpus: exact counts, rows as examples, repeats within and between splits."""

from pathlib import Path

import pytest

from tests.conftest import DIALOGUES, SUMMARIES, save_csv
from yoyak.config.sections import Preprocess
from yoyak.data.exploration import scan as scan_module
from yoyak.data.exploration.corpus import find_corpora, find_corpus
from yoyak.data.exploration.scan import CorpusScan, ScanSettings, scan_corpus
from yoyak.system.errors import YoyakError

SETTINGS = ScanSettings(Preprocess(noise="moderate", person_tags="keep_original", max_rejected=0), sample=5)
LONG = DIALOGUES[3]


def row(name: str, dialogue: str, summary: str, topic: str = "일상") -> dict[str, str]:
    return {"fname": name, "dialogue": dialogue, "summary": summary, "topic": topic}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    train = [row(f"train_{number}", *pair) for number, pair in enumerate(zip(DIALOGUES, SUMMARIES, strict=True))]
    train += [
        row("again", DIALOGUES[0].replace("#Person1#", "#Person7#"), SUMMARIES[0]),  # the same words, the same summary
        row("near", LONG.replace("이틀", "사흘"), "책"),  # almost the same as a row of dev, no tag
        row("dirty", "Person1: 안녕&lt;3\\n#Person2#: #@이름#  님 ㅋㅋ", "#Person5#는 웃습니다.", ""),
        row("bad", "아무도 말하지 않는다", SUMMARIES[1]),
        row("empty", DIALOGUES[1] + "!", ""),
        row("longer", "#Person1#: 네.", "#Person1#은 " + "아주 " * 10 + "짧게 대답합니다."),
    ]
    dev = [row("dev_0", LONG, SUMMARIES[3]), row("dev_1", DIALOGUES[6] + "?", SUMMARIES[6])]
    dev.append(
        row("dev_2", LONG.replace("이틀", "나흘"), "책을 나흘 늦게 냈다.")
    )  # almost the same as dev_0, but in the same split
    save_csv(tmp_path / "data" / "train.csv", train)
    save_csv(tmp_path / "data" / "dev.csv", dev)
    save_csv(tmp_path / "data" / "test.csv", [{"fname": "test_0", "dialogue": "#Person1#: 새 대화예요.\n#Person2#: 그러네요."}])
    return tmp_path / "data"


@pytest.fixture
def found(folder: Path) -> CorpusScan:
    return scan_corpus(find_corpus(folder), SETTINGS)


def test_every_row_is_counted(found: CorpusScan) -> None:
    train = found.splits["train"]
    assert list(found.splits) == ["train", "dev", "test"]
    assert (train.rows, train.usable, train.with_summary) == (14, 12, 12)
    assert train.rejected.counts == {"no_speaker": 1, "empty_summary": 1}
    assert train.signs.counts == {"empty": 1, "no_tag": 1, "tag_not_in_dialogue": 2, "longer_than_dialogue": 1}
    assert train.masks.counts == {"#@이름#": 1}
    assert train.topics.counts == {"일상": 11}
    assert train.dirt.counts["noise"] == train.dirt.counts["html_entity"] == train.dirt.counts["tag_without_hashes"] == 1
    assert train.numbers["turns"][1] == 1 and train.numbers["turns"].total() == 12
    assert train.numbers["speakers"] == {1: 1, 2: 10, 3: 1}
    assert "summary_characters" not in found.splits["test"].numbers
    whole = found.whole()
    assert (whole.rows, whole.usable) == (18, 16)


def test_examples_of_dirt_are_raw_and_others_are_cleaned(found: CorpusScan) -> None:
    train = found.splits["train"]
    (dirty,) = train.dirt.examples["html_entity"]
    assert "&lt;" in dirty.dialogue and dirty.fname == "dirty" and dirty.place.endswith("train.csv:30")
    (masked,) = train.masks.examples["#@이름#"]
    assert masked.dialogue == "#Person1#: 안녕<3\n#Person2#: #@이름# 님 웃음"
    (longest,) = list(train.longest["turns"])[:1]
    assert longest.dialogue.count("\n") == 4


def test_repeats_are_found_within_and_between_splits(found: CorpusScan) -> None:
    assert found.repeats.counts["same_split"] == 1
    (again,) = found.repeats.examples["same_split"]
    assert again.fname == "again" and again.note.endswith("train.csv:2")
    assert found.repeats.counts["other_split"] == 2, "two dialogues of dev are those of train but for punctuation"
    (near,) = found.repeats.examples["near_other_split"]
    assert near.fname == "near" and "dev.csv:" in near.note and near.note.endswith("%)")
    assert found.repeated_summaries == (3, 6)
    assert found.summaries.counts == {SUMMARIES[0]: 1, SUMMARIES[3]: 1, SUMMARIES[6]: 1}
    assert found.near_compared == 4


def test_several_processes_find_the_same(folder: Path, found: CorpusScan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_module, "PARALLEL_BYTES", 1)
    monkeypatch.setattr(scan_module, "CHUNK_ROWS", 3)
    monkeypatch.setattr(scan_module, "usable_cores", lambda: 2)
    other = scan_corpus(find_corpus(folder), SETTINGS)
    assert [(scan.dirt.counts, scan.numbers, list(scan.sample)) for scan in other.splits.values()] == [
        (scan.dirt.counts, scan.numbers, list(scan.sample)) for scan in found.splits.values()
    ]
    assert len(list(found.splits["train"].sample)) == 5
    assert other.repeats.counts == found.repeats.counts


def test_what_is_not_a_corpus_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(YoyakError, match="no such file or folder"):
        find_corpus(tmp_path / "missing")
    with pytest.raises(YoyakError, match="`yoyak import`"):
        find_corpus(tmp_path)
    assert find_corpus(folder / "dev.csv").files == {"dev": folder / "dev.csv"}
    assert list(find_corpus(folder, ["dev"]).files) == ["dev"]
    (folder / "test.csv").unlink()
    with pytest.raises(YoyakError, match="no test\\.csv; the folder has train\\.csv, dev\\.csv"):
        find_corpus(folder, ["test"])
    assert [each.name for each in find_corpora([folder, folder])] == [str(folder)] * 2
