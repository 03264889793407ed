"""Summaries of dialogues that are not part of the pipeline, made as the pipeline makes them."""

import itertools
import statistics
import time
from pathlib import Path

from yoyak.config.sections import Params
from yoyak.data import tokenization
from yoyak.data.cleaning import clean_dialogue
from yoyak.data.dialogue import BadDialogueError
from yoyak.data.person_tags import replace_reversibly, restore_person_tags
from yoyak.inference import decoding, postprocessing
from yoyak.models import trained
from yoyak.system import hardware
from yoyak.system.errors import YoyakError
from yoyak.system.text_files import FORMULA_STARTS, printable, read_csv, read_jsonl, write_csv


def prepare(text: str, params: Params) -> str:
    """One dialogue as the model was trained on. BadDialogueError for a text that is none."""
    cleaned, _ = clean_dialogue(text, params.preprocess.noise)
    return replace_reversibly(cleaned, params.preprocess.person_tags)


def seconds_per_dialogue(*, model: Path, params: Params, rows: int, backend: str | None = None) -> float:
    """Wall time of writing the first dev dialogues' summaries, for each: the median of three passes, after one that warms up.
    Loading and converting the model do not count. `backend` is what predict chose, if it did."""
    hardware.configure_cpu(params.hardware.cpu_threads)
    loaded, tokenizer = trained.load(model, base=params.model.qlora)
    threads = params.hardware.cpu_threads
    writer, _ = decoding.choose_writer(loaded, tokenizer, settings=params.generation, threads=threads, earlier=backend)
    table = list(itertools.islice(read_jsonl(Path("data/processed/dev.jsonl")), rows))
    ids = tokenization.encode_rows(
        table, tokenizer, family=params.model.family, lengths=params.tokenizer, ask=params.prompt, test_rows=table
    )
    passes = []
    for _ in range(4):
        began = time.perf_counter()
        decoding.generate(
            writer, tokenizer, ids, [row["dialogue"] for row in table], settings=params.generation, progress="time"
        )
        passes.append((time.perf_counter() - began) / len(table))
    return statistics.median(passes[1:])


def summarize(rows: list[dict[str, str]], *, model: Path, params: Params, mend: bool, backend: str | None = None) -> list[str]:
    """A summary for each row with a prepared dialogue (and topic); `mend` is post-processing, `backend` what predict chose."""
    hardware.configure_cpu(params.hardware.cpu_threads)
    loaded, tokenizer = trained.load(model)
    family = "kobart" if loaded.config.is_encoder_decoder else "qlora"
    ids = tokenization.encode_rows(rows, tokenizer, family=family, lengths=params.tokenizer, ask=params.prompt, test_rows=rows)
    dialogues = [row["dialogue"] for row in rows]
    threads = params.hardware.cpu_threads
    writer, _ = decoding.choose_writer(loaded, tokenizer, settings=params.generation, threads=threads, earlier=backend)
    outputs = decoding.generate(writer, tokenizer, ids, dialogues, settings=params.generation, progress="summarize")
    texts = [postprocessing.finish(item) if mend else item.text for item in outputs]
    return [restore_person_tags(text, params.preprocess.person_tags) for text in texts]


def summarize_text(text: str, *, source: str, model: Path, params: Params, mend: bool, backend: str | None = None) -> str:
    """The summary of one dialogue. YoyakError if the text is no dialogue."""
    try:
        dialogue = prepare(text, params)
    except BadDialogueError as error:
        raise YoyakError(f"{source}: {error}; a dialogue has one turn a line: #Person1#: 안녕하세요.") from None
    return summarize([{"dialogue": dialogue}], model=model, params=params, mend=mend, backend=backend)[0]


def summarize_csv(source: Path, target: Path, *, model: Path, params: Params, mend: bool, backend: str | None = None) -> int:
    """Write fname,summary for every row of a CSV with fname and dialogue, in its order. Returns the number of rows.

    Raises:
        YoyakError: naming file, line and fname of a row that is no dialogue, before anything is written.
    """
    rows = []
    for line, cells in read_csv(source, required=["fname", "dialogue"]):
        try:
            if cells["fname"].startswith(FORMULA_STARTS):
                raise BadDialogueError("formula_in_fname")
            dialogue = prepare(cells["dialogue"], params)
        except BadDialogueError as error:
            raise YoyakError(f"{source}: line {line}: {printable(cells['fname'])}: {error}") from None
        rows.append({"fname": cells["fname"], "dialogue": dialogue, "topic": " ".join(cells.get("topic", "").split())})
    summaries = summarize(rows, model=model, params=params, mend=mend, backend=backend)
    table = [{"fname": row["fname"], "summary": text} for row, text in zip(rows, summaries, strict=True)]
    write_csv(target, table, columns=["fname", "summary"])
    return len(rows)
