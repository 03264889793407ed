"""Several processes that write: the batches of one process, each once, in the order of the rows."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import DIALOGUES, ROOT
from tests.models.test_lora import model_with_lora
from tests.models.test_lora import settings as settings_of_base
from yoyak.config.params import parse_params
from yoyak.config.sections import Params
from yoyak.inference import model_processes
from yoyak.inference.decoding import generate
from yoyak.inference.member_choice import MembersWriter
from yoyak.inference.model_processes import ModelProcesses, SharedWriter, WriterPlan
from yoyak.inference.outputs import Output
from yoyak.inference.summarizer import Summarizer
from yoyak.models import adapters
from yoyak.models.families.base import LoadedModel
from yoyak.models.families.ensemble import MemberSummaries, StoredSummaries
from yoyak.system.resumable import BatchStore

ENCODED = [[1] * length for length in (3, 9, 1, 5, 7, 2, 8)]
TEXTS = [str(number) for number in range(len(ENCODED))]


class Noting:
    """Writes what it reads."""

    def __init__(self) -> None:
        self.batches: list[tuple[tuple[str, ...], int]] = []

    def write(self, encoded: Sequence[Any], dialogues: Sequence[str], *, seed: int) -> list[Output]:
        self.batches.append((tuple(dialogues), seed))
        return [
            Output(f"{text} of {len(ids)} with {seed}", hit_limit=False) for ids, text in zip(encoded, dialogues, strict=True)
        ]


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch, params: Params, tmp_path: Path) -> SharedWriter:
    """A writer whose processes are threads of this one."""
    plan = WriterPlan(tmp_path, "noting")
    monkeypatch.setitem(model_processes._writers, plan, Noting())
    return SharedWriter(ThreadPoolExecutor(3), plan, params)  # type: ignore[arg-type]


def test_the_batches_are_those_of_one_process(shared: SharedWriter, params: Params) -> None:
    settings, alone = params.generation.model_copy(update={"batch_size": 2}), Noting()
    outputs = generate(shared, ENCODED, TEXTS, settings=settings, progress="test", offset=10)
    assert outputs == generate(alone, ENCODED, TEXTS, settings=settings, progress="test", offset=10)
    together = model_processes._writers[shared.plan]
    assert isinstance(together, Noting)
    assert sorted(together.batches) == sorted(alone.batches)
    assert [output.text[0] for output in outputs] == TEXTS


def test_kept_batches_are_not_written_again(shared: SharedWriter, params: Params, tmp_path: Path) -> None:
    settings = params.generation.model_copy(update={"batch_size": 2})
    expected = generate(shared, ENCODED, TEXTS, settings=settings, progress="test", kept=BatchStore(tmp_path / "kept"))
    lines = (tmp_path / "kept").read_bytes().splitlines(keepends=True)
    (tmp_path / "kept").write_bytes(b"".join(lines[1:3]))  # a kill lost the others
    writer = model_processes._writers[shared.plan]
    assert isinstance(writer, Noting)
    writer.batches.clear()
    store = BatchStore(tmp_path / "kept")
    again = generate(shared, ENCODED, TEXTS, settings=settings, progress="test", kept=store)
    assert [output.text for output in again] == [output.text for output in expected]
    assert len(writer.batches) == len(lines) - 2 == 2


def test_a_backend_with_requests_of_its_own_is_not_divided(params: Params, tmp_path: Path) -> None:
    own: Any = Noting()
    backend: Any = SimpleNamespace(name="endpoint", open=lambda *_, **__: own)
    model = object()
    processes = ModelProcesses(None, tmp_path, params, LoadedModel("endpoint", model, None))  # type: ignore[arg-type]
    assert processes.open(backend) is own
    assert processes.loaded.model is model
    backend.name = "transformers"
    assert isinstance(processes.open(backend), SharedWriter)
    assert processes.loaded.model is None, "its memory is needed by the processes"


def test_the_choice_among_members_is_divided_too(monkeypatch: pytest.MonkeyPatch, params: Params, tmp_path: Path) -> None:
    texts = [(f"버스가 {number}분 늦다.", "비가 온다.", f"버스가 {number}분 늦는다.") for number in range(9)]
    rows = {str(number): MemberSummaries(three) for number, three in enumerate(texts)}
    stored = StoredSummaries(("a", "b", "c"), "rouge", 0, "keep_original", rows, tmp_path)
    monkeypatch.setattr(model_processes, "_writers", {})
    monkeypatch.setitem(model_processes._loaded, tmp_path, LoadedModel("ensemble", stored, None))
    pool: Any = ThreadPoolExecutor(1)
    processes = ModelProcesses(pool, tmp_path, params, LoadedModel("ensemble", stored, None))
    members = MembersWriter(stored)
    shared: Any = processes.around(members)
    written = [
        generate(writer, list(rows.values()), list(rows), settings=params.generation, progress="test")
        for writer in (members, shared)
    ]
    assert written[0] == written[1] and "비가" not in written[0][0].text
    assert shared.report() == members.report()


def written_by(processes: int, values: dict[str, Any], folder: Path) -> list[Output]:
    values["hardware"] |= {"processes": processes, "cpu_threads": 2}
    summarizer = Summarizer.load(folder, params=parse_params(values, source="test"))
    rows = [{"dialogue": dialogue, "topic": "", "fname": ""} for dialogue in DIALOGUES * 3]
    with summarizer.in_processes(folder):
        outputs = summarizer.write(summarizer.encode(rows), rows, progress="test")
    assert isinstance(summarizer.choose_backend().writer, SharedWriter) == (processes > 1)
    return outputs


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        pytest.param({"num_beams": 3, "consensus": {"candidates": 3, "source": "beams"}}, marks=pytest.mark.very_slow),
        pytest.param({"long_dialogues": "windows", "window_merge": "summaries"}, marks=pytest.mark.very_slow),
    ],
    ids=lambda changes: "-".join(changes) or "default",
)
def test_two_processes_write_the_texts_of_one(values: dict[str, Any], tiny: Path, changes: dict[str, Any]) -> None:
    values["model"]["kobart"] |= {"checkpoint": str(tiny), "revision": None}
    values["tokenizer"]["max_input_length"] = 40
    consensus = values["generation"]["consensus"] | changes.get("consensus", {})
    values["generation"] |= changes | {"batch_size": 2, "consensus": consensus}
    alone = written_by(1, values, tiny)
    assert written_by(2, values, tiny) == alone
    assert len(set(alone)) > 1


@pytest.mark.very_slow
def test_two_processes_write_the_texts_of_an_adapter(values: dict[str, Any], params: Params, tmp_path: Path) -> None:
    base, folder = ROOT / "models/base/llama-tiny", tmp_path / "qlora"
    folder.mkdir()
    model, tokenizer = model_with_lora(base, params)
    adapters.save(model, tokenizer, folder, settings=settings_of_base(base), precision="float32")
    values["model"] |= {"family": "qlora", "qlora": settings_of_base(base).model_dump()}
    values["generation"]["batch_size"] = 2
    alone = written_by(1, values, folder)
    assert written_by(2, values, folder) == alone
    assert len(set(alone)) > 1
