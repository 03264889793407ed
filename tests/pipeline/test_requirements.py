"""requirements.lock, which is all that `make setup` installs beside torch."""

import re

from tests.conftest import ROOT


def pins(name: str) -> dict[str, str]:
    """What a file pins, and the text behind each version: its hashes, in a lock."""
    parts = re.split(r"^(\S+==\S+)", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_lock_is_of_these_requirements() -> None:
    """Else a changed requirements.txt would change nothing: make lock."""
    due = {re.sub(r"\[.*\]", "", pin).replace("ruamel.yaml", "ruamel-yaml") for pin in pins("requirements.txt")}
    assert [pin.partition("==")[0] for pin in due - set(pins("requirements.lock"))] == ["torch"]


def test_all_but_torch_has_hashes() -> None:
    for pin, behind in {**pins("requirements.lock"), **pins("bench/requirements.txt")}.items():
        assert re.fullmatch(r"( \\\n    --hash=sha256:[0-9a-f]{64})+\n", behind), pin
        assert not re.match(r"torch|triton|cuda-|nvidia-(?!ml-py)", pin), pin
