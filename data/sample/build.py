"""Write the sample data: data/sample/{train,dev,test}.csv from the hand-written situations/*.yaml.

    python data/sample/build.py                    # writes the three files; the bytes are always the same
    python data/sample/build.py --check FILE.yaml  # checks one file of situations and prints up to 12 dialogues

A situation has several wordings for each turn, slots (cities, prices, names) and several endings with their summaries. A
dialogue is one random choice of all of these. Some dialogues then get the defects that real competition files have
(`add_defects`), so that the default run has something to clean.

Notation: "{slot}" or "{slot.field}" is replaced by the chosen value. "{slot:은}" also adds the particle that fits its last
sound. "{A}" in a summary is the tag of speaker A. A turn with the key "A?" is left out half of the time.
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

# The form of a particle after a consonant, and its form after a vowel.
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
TAG_FINALS = {"#DateOfBirth#": "ㄹ", "#Email#": "ㄹ"}  # read as 생년월일 and 이메일; all other tags end in a vowel
PLACEHOLDER = re.compile(r"\{(\w+)(?:\.(\w+))?(?::(\w+))?\}")


def final_sound(text: str) -> str:
    """Return the final consonant of the last syllable: " " if there is none, "ㄹ", or any other character for another one."""
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
    """Return `text` with a particle in the form that fits.

    Args:
        text: the word before the particle.
        particle: its form after a consonant, a key of PARTICLES.

    Raises:
        KeyError: for another particle.
    """
    final = final_sound(text)
    after_vowel = final == " " or (particle == "으로" and final == "ㄹ")
    vowel_form = PARTICLES[particle]  # raises for an unknown particle, also where this form is not needed
    return text + (vowel_form if after_vowel else particle)


def fill(template: str, values: dict[str, Any]) -> str:
    """Return `template` with its placeholders replaced. KeyError for an unknown slot, field or particle."""

    def replace(match: re.Match[str]) -> str:
        name, field, particle = match.groups()
        value = values[name][field] if field else values[name]
        if not isinstance(value, str):
            raise KeyError(f"{match[0]}: the value is not text; put it in quotes, or name a field")
        return with_particle(value, particle) if particle else value

    text = PLACEHOLDER.sub(replace, template)
    if "{" in text or "}" in text:
        raise KeyError(f"unmatched brace in: {text}")
    return text


def draw_turns(turns: list[dict[str, list[str]]], rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield (speaker letter, template) for each turn that is not left out."""
    for turn in turns:
        ((key, wordings),) = turn.items()
        included = not key.endswith("?") or rng.random() < 0.5
        template = rng.choice(wordings)
        if included:
            yield key.rstrip("?"), template


def draw_dialogue(situation: dict[str, Any], rng: random.Random) -> tuple[list[tuple[str, str]], str, str]:
    """Return one random dialogue of a situation: ([(tag, utterance), …], summary, topic)."""
    values: dict[str, Any] = {name: rng.choice(choices) for name, choices in situation["slots"].items()}
    ending = rng.choice(situation["endings"])
    tags: dict[str, str] = {}
    turns = []
    for letter, template in itertools.chain(draw_turns(situation["turns"], rng), draw_turns(ending["turns"], rng)):
        tag = tags.setdefault(letter, f"#Person{len(tags) + 1}#")
        turns.append((tag, fill(template, values)))
    summary = fill(rng.choice(ending["summaries"]), values | tags)
    return turns, summary, rng.choice(situation["topics"])


def add_defects(turns: list[tuple[str, str]], summary: str, rng: random.Random) -> tuple[str, str]:
    """Return the dialogue and the summary as cells of a CSV file. Some have a defect of real files.

    The shares are our choice for the sample: large enough for each defect to occur, too small to dominate.
    """
    lines = [f"{tag}: {utterance}" for tag, utterance in turns]
    index = rng.randrange(1, len(lines))
    kind = rng.random()
    if kind < 0.010:  # two speakers on one line
        lines[index - 1 : index + 1] = [f"{lines[index - 1]} {lines[index]}"]
    elif kind < 0.020:  # a tag without its hashes
        lines[index] = lines[index].replace("#", "", 2)
    elif kind < 0.027:  # a translated tag
        lines[index] = lines[index].replace("#Person", "#사람", 1)
    elif kind < 0.035:  # a tag used inside an utterance
        lines[index] = f"{turns[index][0]}: {turns[index - 1][0]}, {turns[index][1]}"
    elif kind < 0.042:  # a backspace control character
        lines[index] = lines[index][:-2] + "\b" + lines[index][-2:]
    elif kind < 0.052:  # a line without a speaker
        lines[index] = re.sub(r"(?<=[.?!]) ", "\n", lines[index], count=1)
    elif kind < 0.060:  # a newline inside the summary
        summary = re.sub(r"(?<=\.) |(?<=,) ", "\n", summary, count=1)
    newline = rng.choices(["\n", " \n", "\\n", "\r\n"], weights=[74, 24, 1, 1])[0]
    return newline.join(lines), summary


def load_situations(path: Path) -> dict[str, Any]:
    """Read the situations of one file and check them. SystemExit with all errors, if there are any."""
    situations: dict[str, Any] = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    errors = []
    for name, situation in situations.items():
        try:
            check_situation(situation)
        except (KeyError, TypeError, ValueError) as error:
            errors.append(f"{path.name}: {name}: {error}")
    if errors:
        raise SystemExit("\n".join(errors))
    return situations


def check_situation(situation: dict[str, Any]) -> None:
    """Check that every wording can be filled and that summaries name only speakers who always speak.

    Raises:
        KeyError: for an unknown slot, field, particle or speaker.
        ValueError: for values of a slot that are not text or differ in type, a wrong key of a turn, or no topics.
    """
    values = {name: choices[0] for name, choices in situation["slots"].items()}
    for name, choices in situation["slots"].items():
        for choice in choices:
            if type(choice) is not type(values[name]):
                raise ValueError(f"slot {name}: all values must have the same type; {choice!r} differs from the first one")
            for text in choice.values() if isinstance(choice, dict) else [choice]:
                if not isinstance(text, str):
                    raise ValueError(f"slot {name}: {text!r} is not text; put it in quotes")
    for ending in situation["endings"]:
        turns = situation["turns"] + ending["turns"]
        for turn in turns:
            ((key, wordings),) = turn.items()
            if not re.fullmatch(r"[A-G]\??", key):
                raise ValueError(f"turn {key!r}: expected a letter from A to G, with ? if the turn may be left out")
            if isinstance(wordings, str):
                raise ValueError(f"turn {key}: expected a list of wordings, not a text")
            for wording in wordings:
                fill(wording, values)
        speakers = {key: f"#Person{i}#" for i, turn in enumerate(turns, 1) for key in turn if not key.endswith("?")}
        for summary in ending["summaries"]:
            fill(summary, values | speakers)
        if not situation["topics"]:
            raise ValueError("the list topics is empty")


def generate(situations: list[dict[str, Any]], rows: dict[str, int], seed: int) -> dict[str, list[dict[str, str]]]:
    """Return the rows of each split. No dialogue occurs twice, not even in different splits."""
    rng = random.Random(seed)
    seen: set[str] = set()
    splits: dict[str, list[dict[str, str]]] = {}
    for split, count in rows.items():
        splits[split] = []
        while len(splits[split]) < count:
            turns, summary, topic = draw_dialogue(rng.choice(situations), rng)
            key = "".join(utterance for _, utterance in turns)
            if key in seen:
                continue
            seen.add(key)
            dialogue, summary = add_defects(turns, summary, rng)
            row = {"fname": f"{split}_{len(splits[split])}", "dialogue": dialogue}
            splits[split].append(row if split == "test" else row | {"summary": summary, "topic": topic})
    return splits


def write(splits: dict[str, list[dict[str, str]]], folder: Path) -> None:
    """Write one CSV file for each split."""
    for split, rows in splits.items():
        with open(folder / f"{split}.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--check", type=Path, metavar="FILE", help="check one file of situations and print some of its dialogues"
    )
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the CSV files")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the random choices")
    args = parser.parse_args()
    if args.check:
        rng = random.Random(args.seed)
        situations = load_situations(args.check)
        for name, situation in rng.sample(sorted(situations.items()), min(12, len(situations))):
            turns, summary, topic = draw_dialogue(situation, rng)
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
