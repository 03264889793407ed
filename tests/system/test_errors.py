"""How a program ends: one message for a problem that the user can fix, a traceback for a bug."""

import errno
import os

import pytest

from yoyak.system.errors import YoyakError, exit_with_message


def test_a_problem_that_the_user_can_fix_ends_with_one_message() -> None:
    with pytest.raises(SystemExit) as end, exit_with_message():
        raise YoyakError("train.csv:3: 망가졌음")
    assert end.value.code == "error: train.csv:3: 망가졌음"  # text as code: Python prints it and exits with 1
    assert end.value.__suppress_context__


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "disk is full"),
        (errno.EACCES, "not allowed"),
        (errno.EROFS, "not allowed"),
    ],
)
def test_the_file_of_a_full_or_forbidden_disk_is_named(number: int, said: str) -> None:
    with pytest.raises(SystemExit) as end, exit_with_message():
        raise OSError(number, "as the system says it", "data/processed/train.jsonl")
    assert said in str(end.value.code)
    assert "data/processed/train.jsonl" in str(end.value.code)


@pytest.mark.parametrize(
    "bug",
    [
        ValueError("bug"),
        KeyError("bug"),
        RuntimeError("could not create a primitive descriptor for a matmul"),
        OSError(errno.EIO, "bad disk"),
        KeyboardInterrupt(),
    ],
)
def test_a_bug_keeps_its_exception(bug: BaseException) -> None:
    with pytest.raises(type(bug)), exit_with_message():
        raise bug


def test_nothing_happens_without_an_error() -> None:
    with exit_with_message():
        pass


def test_a_full_disk_is_recognized_in_the_exception_of_a_library() -> None:
    """safetensors and Arrow raise no OSError with a number."""
    with pytest.raises(SystemExit, match="disk is full"), exit_with_message():
        raise RuntimeError(f"Io: {os.strerror(errno.ENOSPC)} (os error {errno.ENOSPC})")


def test_the_message_for_a_full_gpu_says_what_to_lower() -> None:
    import torch

    for error in (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA failed with error out of memory"),  # CTranslate2
        torch.OutOfMemoryError("HIP out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ):
        with (
            pytest.raises(SystemExit, match=r"out of GPU memory; halve training\.per_device_train_batch_size"),
            exit_with_message(),
        ):
            raise error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes. (Cannot allocate memory)"),
        RuntimeError("mkl_malloc: failed to allocate memory"),
        RuntimeError("could not create a primitive"),
        RuntimeError("std::bad_alloc"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_message_for_full_memory_says_what_to_lower(error: Exception, wrapped: bool) -> None:
    """Also if the loader of a model reports it. Its own message would suggest a damaged file."""
    with (
        pytest.raises(SystemExit, match=r"^error: out of memory; for training halve training\.per_device"),
        exit_with_message(),
    ):
        if wrapped:
            raise YoyakError("models/base: the model cannot be loaded") from error
        raise error


def test_a_message_for_the_user_is_kept_whatever_caused_it() -> None:
    with pytest.raises(SystemExit, match=r"error: train\.csv: cannot be read"), exit_with_message():
        raise YoyakError("train.csv: cannot be read") from PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize("words", ["can't start new thread", os.strerror(errno.EAGAIN)])
def test_a_limit_on_threads_is_named(words: str) -> None:
    with pytest.raises(SystemExit, match="ulimit -u"), exit_with_message():
        raise RuntimeError(words)


def test_a_limit_on_threads_is_recognized_in_a_rust_panic() -> None:
    """PanicException of pyo3 does not derive from Exception."""

    class PanicException(BaseException): ...

    with pytest.raises(SystemExit, match="ulimit -u"), exit_with_message():
        raise PanicException(f'ThreadPoolBuildError {{ Os {{ code: 11, message: "{os.strerror(errno.EAGAIN)}" }} }}')
    with pytest.raises(PanicException), exit_with_message():
        raise PanicException("index out of bounds")
