"""Write the sample data: data/sample/{train,dev,test}.csv from the hand-written situations/*.yaml.

    python data/sample/build.py                    # writes the three files again, byte for byte
    python data/sample/build.py --check FILE.yaml  # checks one file of situations and prints a dozen dialogues

A situation holds alternative wordings for each turn, slots (cities, prices, names) and several endings, each with its
summaries. A dialogue is one draw of all of these. A part of the dialogues then gets the dirt that the real competition
files hold (see `soil`), so that cleaning has something to do in the default run.

Notation: "{slot}" or "{slot.field}" is replaced by the drawn value; "{slot:은}" also adds the particle that fits its
last sound. "{A}" in a summary is the tag of speaker A. A turn marked "A?" is left out half of the time.
"""

import argparse
import csv
import itertools
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

HERE = Path(__file__).parent
SEED = 20261120
ROWS = {"train": 3600, "dev": 300, "test": 300}

# particle after a consonant -> after a vowel
PARTICLES = {
    "은": "는",
    "이": "가",
    "을": "를",
    "과": "와",
    "으로": "로",
    "이랑": "랑",
    "아": "야",
    "이라": "라",
    "이라서": "라서",
    "이라고": "라고",
    "이에요": "예요",
    "이나": "나",
    "이든": "든",
    "이라도": "라도",
    "이었": "였",
}
DIGIT_FINALS = dict(zip("0123456789", "ㅇㄹ ㅁ  ㄱㄹㄹ ", strict=True))  # 영 일 이 삼 사 오 육 칠 팔 구
LETTER_FINALS = {"l": "ㄹ", "r": "ㄹ", "m": "ㅁ", "n": "ㄴ"}
TAG_FINALS = {"#DateOfBirth#": "ㄹ", "#Email#": "ㄹ"}  # read as 생년월일, 이메일; the others end in a vowel
PLACEHOLDER = re.compile(r"\{(\w+)(?:\.(\w+))?(?::(\w+))?\}")


def final_sound(text: str) -> str:
    """The final consonant of the last sound of `text`: " " for none, "ㄹ", or any other character for another one."""
    if person := re.search(r"#Person(\d)#$", text):
        return DIGIT_FINALS[person[1]]
    if tag := re.search(r"#\w+#$", text):
        return TAG_FINALS.get(tag[0], " ")
    last = text[-1].lower()
    if "가" <= last <= "힣":
        final = (ord(last) - ord("가")) % 28
        return " " if final == 0 else "ㄹ" if final == 8 else "x"
    return DIGIT_FINALS.get(last) or LETTER_FINALS.get(last) or " "


def with_particle(text: str, particle: str) -> str:
    """`text` followed by `particle` (given in its form after a consonant) in the form that fits."""
    final = final_sound(text)
    after_vowel = final == " " or (particle == "으로" and final == "ㄹ")
    vowel_form = PARTICLES[particle]  # a particle that is not listed fails here, whatever the value's sound
    return text + (vowel_form if after_vowel else particle)


def fill(template: str, values: dict[str, Any]) -> str:
    """`template` with its placeholders replaced. KeyError for an unknown slot or particle."""

    def replace(match: re.Match[str]) -> str:
        name, field, particle = match.groups()
        value = values[name][field] if field else values[name]
        if not isinstance(value, str):
            raise KeyError(f"{match[0]}: is not text; quote it or name a field")
        return with_particle(value, particle) if particle else value

    text = PLACEHOLDER.sub(replace, template)
    if "{" in text or "}" in text:
        raise KeyError(f"a brace is left in: {text}")
    return text


def draw_turns(turns: list[dict[str, list[str]]], rng: random.Random) -> Iterator[tuple[str, str]]:
    """(speaker letter, template) for each turn that is said in this draw."""
    for turn in turns:
        ((key, wordings),) = turn.items()
        said = not key.endswith("?") or rng.random() < 0.5
        template = rng.choice(wordings)
        if said:
            yield key.rstrip("?"), template


def draw(situation: dict[str, Any], rng: random.Random) -> tuple[list[tuple[str, str]], str, str]:
    """One dialogue of a situation: ([(tag, utterance), …], summary, topic)."""
    values: dict[str, Any] = {name: rng.choice(choices) for name, choices in situation["slots"].items()}
    ending = rng.choice(situation["endings"])
    tags: dict[str, str] = {}
    turns = []
    for letter, template in itertools.chain(draw_turns(situation["turns"], rng), draw_turns(ending["turns"], rng)):
        tag = tags.setdefault(letter, f"#Person{len(tags) + 1}#")
        turns.append((tag, fill(template, values)))
    summary = fill(rng.choice(ending["summaries"]), values | tags)
    return turns, summary, rng.choice(situation["topics"])


def soil(turns: list[tuple[str, str]], summary: str, rng: random.Random) -> tuple[str, str]:
    """The dialogue and summary as cells of a CSV, some with the dirt of the real files (shares chosen for the sample)."""
    lines = [f"{tag}: {utterance}" for tag, utterance in turns]
    at = rng.randrange(1, len(lines))
    kind = rng.random()
    if kind < 0.010:  # two speakers on one line
        lines[at - 1 : at + 1] = [f"{lines[at - 1]} {lines[at]}"]
    elif kind < 0.020:  # a tag without its hashes
        lines[at] = lines[at].replace("#", "", 2)
    elif kind < 0.027:  # a translated tag
        lines[at] = lines[at].replace("#Person", "#사람", 1)
    elif kind < 0.035:  # a tag used inside an utterance
        lines[at] = f"{turns[at][0]}: {turns[at - 1][0]}, {turns[at][1]}"
    elif kind < 0.042:  # a backspace control character
        lines[at] = lines[at][:-2] + "\b" + lines[at][-2:]
    elif kind < 0.052:  # a line without a speaker
        lines[at] = re.sub(r"(?<=[.?!]) ", "\n", lines[at], count=1)
    elif kind < 0.060:  # a newline inside the summary
        summary = re.sub(r"(?<=\.) |(?<=,) ", "\n", summary, count=1)
    newline = rng.choices(["\n", " \n", "\\n", "\r\n"], weights=[74, 24, 1, 1])[0]
    return newline.join(lines), summary


def load_situations(path: Path) -> dict[str, Any]:
    """The situations of one file, checked. SystemExit with every fault found."""
    situations: dict[str, Any] = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    faults = []
    for name, situation in situations.items():
        try:
            check(situation)
        except (KeyError, TypeError, ValueError) as error:
            faults.append(f"{path.name}: {name}: {error}")
    if faults:
        raise SystemExit("\n".join(faults))
    return situations


def check(situation: dict[str, Any]) -> None:
    """Every wording fills with every kind of value, and every summary names only speakers who must have spoken."""
    values = {name: choices[0] for name, choices in situation["slots"].items()}
    for name, choices in situation["slots"].items():
        for choice in choices:
            if type(choice) is not type(values[name]):
                raise ValueError(f"slot {name}: values of different kinds: {choice!r}")
            for text in choice.values() if isinstance(choice, dict) else [choice]:
                if not isinstance(text, str):
                    raise ValueError(f"slot {name}: {text!r} is not text, quote it")
    for ending in situation["endings"]:
        turns = situation["turns"] + ending["turns"]
        for turn in turns:
            ((key, wordings),) = turn.items()
            if not re.fullmatch(r"[A-G]\??", key):
                raise ValueError(f"turn key {key!r}")
            if isinstance(wordings, str):
                raise ValueError(f"turn {key}: a list of wordings, not a text")
            for wording in wordings:
                fill(wording, values)
        speakers = {key: f"#Person{i}#" for i, turn in enumerate(turns, 1) for key in turn if not key.endswith("?")}
        for summary in ending["summaries"]:
            fill(summary, values | speakers)
        if not situation["topics"]:
            raise ValueError("no topics")


def generate(situations: list[dict[str, Any]], rows: dict[str, int], seed: int) -> dict[str, list[dict[str, str]]]:
    """Rows for each split; no dialogue occurs twice over all splits."""
    rng = random.Random(seed)
    seen: set[str] = set()
    splits: dict[str, list[dict[str, str]]] = {}
    for split, count in rows.items():
        splits[split] = []
        while len(splits[split]) < count:
            turns, summary, topic = draw(rng.choice(situations), rng)
            key = "".join(utterance for _, utterance in turns)
            if key in seen:
                continue
            seen.add(key)
            dialogue, summary = soil(turns, summary, rng)
            row = {"fname": f"{split}_{len(splits[split])}", "dialogue": dialogue}
            splits[split].append(row if split == "test" else row | {"summary": summary, "topic": topic})
    return splits


def write(splits: dict[str, list[dict[str, str]]], folder: Path) -> None:
    """One CSV a split."""
    for split, rows in splits.items():
        with open(folder / f"{split}.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", type=Path, metavar="FILE", help="check one file and print dialogues from it")
    parser.add_argument("--out", type=Path, default=HERE, help="where the CSVs go")
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args()
    if args.check:
        rng = random.Random(args.seed)
        situations = load_situations(args.check)
        for name, situation in rng.sample(sorted(situations.items()), min(12, len(situations))):
            turns, summary, topic = draw(situation, rng)
            sys.stdout.write(f"--- {name} ({topic})\n")
            sys.stdout.writelines(f"{tag}: {utterance}\n" for tag, utterance in turns)
            sys.stdout.write(f"=> {summary}\n\n")
        return
    files = sorted((HERE / "situations").glob("*.yaml"))
    situations = {f"{path.stem}.{k}": v for path in files for k, v in load_situations(path).items()}
    write(generate(list(situations.values()), ROWS, args.seed), args.out)
    print(f"{sum(ROWS.values())} dialogues from {len(situations)} situations")


if __name__ == "__main__":
    main()
