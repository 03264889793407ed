"""Answers that were paid for, each in a durable file under the hash of its request.

    .answers/ab/ab12….json      one answer: the SHA-256 of the rest, a space, and the answer as JSON
    data/answers.jsonl          a copy of many answers, a line for each, to share with DVC (`yoyak answers share`)

The folder lies outside DVC's outputs, so that no run, checkout or experiment deletes what was paid for.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from yoyak.inference.endpoint.request import Request, canonical
from yoyak.system.atomic import atomic_file
from yoyak.system.locks import exclusive_lock

SHARED = Path("data/answers.jsonl")


def store_folder() -> Path:
    """The folder of the answers: YOYAK_ANSWERS, or `.answers` in the main repository.

    A queued experiment runs in a copy of the repository. DVC_ROOT leads from there to the main one.
    """
    return Path(os.environ.get("YOYAK_ANSWERS") or Path(os.environ.get("DVC_ROOT", "."), ".answers"))


def shared_file() -> Path:
    return Path(os.environ.get("DVC_ROOT", "."), SHARED)


@dataclass(frozen=True)
class Answer:
    """What a server answered.

    Attributes:
        request: `Request.as_dict`.
        text: what the model wrote, before post-processing. Empty if it may not answer (a content filter).
        finish_reason: "stop", "length", "content_filter" …, as the server says.
        input_tokens: as the server counts them, or an estimate if it does not.
        output_tokens: the same.
        seconds: from sending the request to the complete answer.
        raw: the server's whole answer.
        fault: why the answer cannot be used and would not be better if the same is asked again; None if it can.
    """

    request: dict[str, Any]
    text: str
    finish_reason: str
    input_tokens: int
    output_tokens: int
    seconds: float
    raw: dict[str, Any]
    fault: str | None = None

    @property
    def hash(self) -> str:
        return Request(**self.request).hash

    def to_line(self) -> str:
        body = canonical(asdict(self))
        return f"{hashlib.sha256(body.encode()).hexdigest()} {body}\n"

    @classmethod
    def from_line(cls, line: str) -> "Answer | None":
        """The answer, or None if the line is damaged."""
        digest, _, body = line.rstrip("\n").partition(" ")
        if not line.endswith("\n") or hashlib.sha256(body.encode(errors="replace")).hexdigest() != digest:
            return None
        try:
            return cls(**json.loads(body))
        except (TypeError, ValueError):  # of another version of yoyak
            return None


def _answer_of(line: bytes) -> Answer | None:
    return Answer.from_line(line.decode("utf-8", "replace"))


class AnswerStore:
    """The stored answers by the hash of their request."""

    def __init__(self, folder: Path | None = None, shared: Path | None = None) -> None:
        """Open the store.

        Args:
            folder: by default `store_folder()`.
            shared: a file of answers that were paid for elsewhere, by default `shared_file()`. It is read only.
        """
        self.folder = folder or store_folder()
        self.shared = shared or shared_file()
        self._places: dict[str, int] | None = None  # where the line of each shared answer begins

    def path_of(self, request_hash: str) -> Path:
        return self.folder / request_hash[:2] / f"{request_hash}.json"

    def get(self, request_hash: str) -> Answer | None:
        """The answer to a request, or None. A damaged one is reported and not used."""
        path = self.path_of(request_hash)
        with suppress(FileNotFoundError):
            answer = Answer.from_line(path.read_text(encoding="utf-8", errors="replace"))
            if answer and answer.hash == request_hash:
                return answer
            print(f"WARNING: {path}: the stored answer is damaged and is not used", flush=True)
        return self._get_shared(request_hash)

    def _get_shared(self, request_hash: str) -> Answer | None:
        if self._places is None:
            self._places = {}
            place = 0
            for line in self._shared_lines():
                if answer := _answer_of(line):
                    self._places[answer.hash] = place
                place += len(line)
        if request_hash not in self._places:
            return None
        with open(self.shared, "rb") as file:
            file.seek(self._places[request_hash])
            return _answer_of(file.readline())

    def _shared_lines(self) -> Iterator[bytes]:
        if self.shared.is_file():
            with open(self.shared, "rb") as file:
                yield from file

    def put(self, answer: Answer) -> None:
        """Store an answer. It is on the disk when this returns."""
        with atomic_file(self.path_of(answer.hash)) as file:
            file.write(answer.to_line())

    def answers(self) -> Iterator[Answer]:
        """The answers of the folder that are not damaged, in the order of their hashes."""
        for path in sorted(self.folder.glob("??/*.json")):
            if answer := Answer.from_line(path.read_text(encoding="utf-8", errors="replace")):
                yield answer

    def prune(self, *, failed: bool, model: str | None) -> int:
        """Delete answers of the folder: those that failed, those of a model, or the failed ones of a model. How many."""
        count = 0
        for answer in self.answers():
            if (answer.fault or not failed) and model in (None, answer.request["body"]["model"]):
                self.path_of(answer.hash).unlink()
                count += 1
        return count

    def share(self) -> int:
        """Write the answers of the folder into the shared file, beside those that it has. How many it has then."""
        lines = {answer.hash: answer.to_line() for answer in map(_answer_of, self._shared_lines()) if answer}
        lines |= {answer.hash: answer.to_line() for answer in self.answers()}
        with atomic_file(self.shared) as file:
            file.writelines(lines[request_hash] for request_hash in sorted(lines))
        return len(lines)

    @contextmanager
    def asking(self, request_hash: str) -> Iterator[bool]:
        """Hold the right to ask a request, so that two processes never pay for the same answer.

        Yields:
            False if another process is asking it now. Its answer will be in the store.
        """
        lock = self.folder / "locks" / request_hash
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
        with ExitStack() as locks:
            try:
                descriptor = locks.enter_context(exclusive_lock(lock, wait=False))
                # Another process may have deleted the file before it was locked. Such a lock keeps nobody out.
                is_mine = os.path.samestat(os.fstat(descriptor), lock.stat())
            except (BlockingIOError, FileNotFoundError):
                is_mine = False
            try:
                yield is_mine
            finally:
                if is_mine:
                    lock.unlink(missing_ok=True)
