"""The one exception that a user is meant to read, and how a program ends with it."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

# What libraries say where memory is full: CTranslate2, C++, and oneDNN ("… a primitive descriptor" is another fault of its).
NO_MEMORY = re.compile(
    re.escape(os.strerror(errno.ENOMEM)) + r"|failed to allocate memory|std::bad_alloc|could not create a primitive(?! desc)"
)
SMALLER_BATCHES = (
    "halve training.per_device_train_batch_size and double training.gradient_accumulation_steps"  # the same training
)


class YoyakError(Exception):
    """Input, parameters or surroundings that a user can mend. The message names the file, line and id, or the param."""


@contextmanager
def exit_with_message() -> Iterator[None]:
    """End the program with one clear message, and exit status 1, for what a user can mend. Bugs keep their traceback."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a panic of the tokenizers library is no Exception
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
    if (
        type(error).__name__ == "OutOfMemoryError"  # torch's, by name: it is slow to import
        or ("CUDA" in text and "out of memory" in text)  # CTranslate2
        or "STATUS_ALLOC_FAILED" in text  # cuBLAS, cuDNN
    ):
        return (
            f"out of GPU memory; {SMALLER_BATCHES}, or lower generation.batch_size; "
            f"`python -m yoyak doctor` estimates what fits ({text})"
        )
    if isinstance(error, MemoryError) or NO_MEMORY.search(text):
        return (
            f"out of memory; for training {SMALLER_BATCHES}, for predict lower generation.batch_size. "
            f"What was finished is kept: the same command goes on ({text[:200] or type(error).__name__})"
        )
    if "can't start new thread" in text or os.strerror(errno.EAGAIN) in text:
        return f"memory, or the number of processes (ulimit -u), is at its limit ({text})"
    # By name, which is slow to import; and as datasets says it.
    if type(error).__name__ == "BrokenProcessPool" or "subprocesses has abruptly died" in text:
        return "one of this program's processes was killed, most often for want of memory; the same command goes on"
    return None
