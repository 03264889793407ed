"""The error class with a message for the user, and the context manager that ends a program with that message."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

# Messages of libraries when RAM is full: the operating system, CTranslate2, C++ and oneDNN.
# oneDNN's "could not create a primitive descriptor" means something else (an unsupported operation), so it is excluded.
_OUT_OF_MEMORY = re.compile(
    re.escape(os.strerror(errno.ENOMEM)) + r"|failed to allocate memory|std::bad_alloc|could not create a primitive(?! desc)"
)
# This change keeps the number of rows per optimizer step, and so the training itself.
SMALLER_BATCHES = "halve training.per_device_train_batch_size and double training.gradient_accumulation_steps"


class YoyakError(Exception):
    """A problem with input, params or environment that the user can fix.

    The message says what is wrong, where (file, line and fname, or the dotted name of a param), and what to do.
    """


@contextmanager
def exit_with_message() -> Iterator[None]:
    """Turn an error that the user can fix into one line on stderr and exit status 1.

    This covers YoyakError, a full disk, full memory, missing permissions and limits on processes. Every other exception is a
    bug and keeps its traceback.

    Raises:
        SystemExit: with the message "error: …" as its code.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # a Rust panic in the tokenizers library does not derive from Exception
        # A full disk or memory can hide behind another error, such as "the model cannot be loaded".
        message = next(filter(None, map(_exhausted_resource, _error_chain(error))), None)
        if message is None and getattr(error, "errno", None) in (errno.EACCES, errno.EROFS, errno.EPERM):
            message = f"not allowed: {error}"
        if message is None and not isinstance(error, YoyakError):
            raise
        raise SystemExit(f"error: {message or error}") from None


def _error_chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, then the error that caused it, and so on."""
    while error is not None:
        yield error
        error = error.__cause__


def _exhausted_resource(error: BaseException) -> str | None:
    """The message for a full disk, full memory or a limit on processes, or None for any other error.

    Libraries raise their own exception classes for these cases, so the text of the exception is compared too.
    """
    number, text = getattr(error, "errno", None), " ".join(str(error).split())
    name = type(error).__name__  # classes are compared by name, because importing their libraries is slow
    if number in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in text:  # the text is for safetensors and Arrow
        return f"the disk is full; no half-written file is left; free some space and run the same command again ({text})"
    if (
        name == "OutOfMemoryError"  # torch
        or ("CUDA" in text and "out of memory" in text)  # CTranslate2
        or "STATUS_ALLOC_FAILED" in text  # cuBLAS, cuDNN
    ):
        return (
            f"out of GPU memory; {SMALLER_BATCHES}, or lower generation.batch_size; `yoyak doctor` estimates what fits ({text})"
        )
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(text):
        return (
            f"out of memory; for training {SMALLER_BATCHES}, for predict lower generation.batch_size. "
            f"Finished work is kept: the same command continues from there ({text[:200] or name})"
        )
    if "can't start new thread" in text or os.strerror(errno.EAGAIN) in text:
        return (
            f"the system cannot start another thread: memory is full, or `ulimit -u` (processes per user) is reached ({text})"
        )
    if name == "BrokenProcessPool" or "subprocesses has abruptly died" in text:  # the text is from the datasets library
        return (
            "a subprocess of this program was killed, most often because memory was full; "
            "free some memory and run the same command: it continues from finished work"
        )
    return None
