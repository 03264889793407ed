from pathlib import Path

import pytest

from yoyak.training.preset_memory import preset_table


@pytest.mark.slow
def test_the_table_compares_each_preset_with_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    large, small = (preset_table(root / "presets", root / "params.yaml", gib=gib) for gib in (80, 10))
    names = [line.split()[0] for line in large[1:]]
    assert len(names) >= 8 and {"qwen3-4b", "llama-3.2-korean-3b", "solar-10.7b", "polyglot-ko-12.8b"} <= set(names)
    lines = {line.split()[0]: line for line in large[1:]}
    assert set(lines) == {path.stem for path in (root / "presets").glob("*.yaml")}, "all presets are listed"
    assert "CANNOT RUN: no revision" in lines["kobart"]
    assert "checkpoint in a folder: models/base/kobart-tiny" in lines["kobart-tiny"] and lines["kobart-tiny"].endswith("fits")
    assert "revision pinned" in lines["qwen3-4b"] and lines["qwen3-4b"].endswith("fits")
    assert not any(line.endswith("fits") for line in small[1:] if line.startswith(("solar", "polyglot")))
