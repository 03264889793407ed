"""The one exception that a user is meant to read, and how a program ends with it."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

# What libraries say where memory is full: CTranslate2, C++, and oneDNN, which has no word for it.
NO_MEMORY = (os.strerror(errno.ENOMEM), "failed to allocate memory", "std::bad_alloc", "could not create a primitive")


class YoyakError(Exception):
    """Input, parameters or surroundings that a user can mend. The message names the file, line and id, or the param."""


@contextmanager
def told() -> Iterator[None]:
    """End the program with one clear message, and exit status 1, for what a user can mend. Bugs keep their traceback."""
    try:
        yield
    except Exception as error:
        known = next(filter(None, map(_used_up, _causes(error))), None)  # also behind "the model cannot be loaded"
        if known is None and getattr(error, "errno", None) in (errno.EACCES, errno.EROFS, errno.EPERM):
            known = f"not allowed: {error}"
        if known is None and not isinstance(error, YoyakError):
            raise
        raise SystemExit(f"error: {known or error}") from None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _used_up(error: BaseException) -> str | None:
    """What to tell where disk or memory is full. Libraries raise exceptions of their own for it, known by their words."""
    number, text = getattr(error, "errno", None), " ".join(str(error).split())
    if number in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in text:  # safetensors, Arrow
        return f"the disk is full; nothing was left half-written ({text})"
    if "CUDA" in text and ("out of memory" in text or "ALLOC_FAILED" in text):  # torch, CTranslate2, cuBLAS
        return (
            "out of GPU memory; halve training.per_device_train_batch_size and double "
            "training.gradient_accumulation_steps, or lower generation.batch_size; "
            f"`python -m yoyak doctor` estimates what fits ({text})"
        )
    if isinstance(error, MemoryError) or any(words in text for words in NO_MEMORY):
        return (
            "out of memory; for training halve training.per_device_train_batch_size and double "
            "training.gradient_accumulation_steps, for predict lower generation.batch_size. What was finished is kept: "
            f"the same command goes on ({text[:200]})"
        )
    if "can't start new thread" in text or os.strerror(errno.EAGAIN) in text:
        return f"memory, or the number of processes (ulimit -u), is at its limit ({text})"
    if (
        type(error).__name__ == "BrokenProcessPool" or "subprocesses has abruptly died" in text
    ):  # by name: slow to import; datasets
        return "one of this program's processes was killed, most often for want of memory; the same command goes on"
    return None
