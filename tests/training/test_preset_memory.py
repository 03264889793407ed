from pathlib import Path

import pytest

from yoyak.training.preset_memory import preset_memory_table


@pytest.mark.slow
def test_the_table_compares_each_preset_with_a_gpu() -> None:
    root = Path(__file__).parents[2]
    large, small = (preset_memory_table(root / "presets", root / "params.yaml", gib=gib) for gib in (80, 10))
    names = [line.split()[0] for line in large[1:]]
    assert len(names) >= 8 and {"qwen3-4b", "llama-3.2-korean-3b", "solar-10.7b", "polyglot-ko-12.8b"} <= set(names)
    assert all(line.endswith("fits") for line in large[1:])
    assert not any(line.endswith("fits") for line in small[1:] if line.startswith(("solar", "polyglot")))
