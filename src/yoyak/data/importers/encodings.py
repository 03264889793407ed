"""Text files in any encoding that Korean programs write: recognized, decoded, and read as UTF-8 where a library wants bytes."""

import codecs
from pathlib import Path
from typing import IO

from yoyak.system.errors import YoyakError

SAMPLE_BYTES = 2**20
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# What charset-normalizer chooses from, if a file is not UTF-8. CP949 contains EUC-KR.
_CANDIDATES = ["cp949", "utf_16_le", "utf_16_be"]


def detect_encoding(path: Path, name: str) -> str:
    """The encoding of a text file, as Python names it.

    Raises:
        YoyakError: if it is none of UTF-8, UTF-16, UTF-32 and CP949.
    """
    with open(path, "rb") as file:
        sample = file.read(SAMPLE_BYTES)
        rest = bool(file.read(1))
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if sample.startswith(mark):
            return encoding
    if _is_utf8(sample, final=not rest):
        return "utf-8"
    from charset_normalizer import from_bytes

    # An odd byte at the end would rule out UTF-16, and half a character would rule out CP949.
    best = from_bytes(_whole(sample, rest), cp_isolation=_CANDIDATES).best()
    if best is None:
        raise YoyakError(
            f"{name}: not a text file that is in UTF-8, UTF-16 or CP949 from its start to its end; save it as UTF-8, then "
            "import it"
        )
    return str(best.encoding)


def _is_utf8(sample: bytes, *, final: bool) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample, final)
    except UnicodeDecodeError:
        return False
    return True


def _whole(sample: bytes, rest: bool) -> bytes:
    """`sample` up to its last line end, if it is only the start of a file."""
    return sample[: sample.rfind(b"\n") + 1] or sample if rest else sample


def open_text(path: Path, encoding: str) -> IO[str]:
    """A text file for reading, with its line ends unchanged. Bytes that are not in `encoding` raise UnicodeDecodeError."""
    return open(path, encoding=encoding, newline="")


def undecodable(name: str, encoding: str, error: UnicodeDecodeError) -> YoyakError:
    """The error for a file that is not in its encoding to the end."""
    start = error.object[max(0, error.start - 20) : error.start].decode(encoding, "replace")
    return YoyakError(
        f"{name}: not {encoding.upper()} to the end (after {start!r}); a part of the file has another encoding, or the file is "
        "damaged; save the whole file as UTF-8, then import it"
    )


class Utf8Bytes:
    """The bytes of a text file as UTF-8 without a byte order mark, for libraries that read such bytes."""

    def __init__(self, path: Path, encoding: str) -> None:
        self._file = open_text(path, encoding)

    def read(self, size: int = -1) -> bytes:
        """About `size` bytes, or all."""
        return self._file.read(size).encode("utf-8", "surrogatepass")

    def __enter__(self) -> "Utf8Bytes":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
