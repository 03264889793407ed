"""yoyak (요약): train, search, score and serve Korean dialogue summarizers as one DVC pipeline."""

import logging
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yoyak.inference.summarizer import Summarizer

__all__ = ["Summarizer", "__version__"]
__version__ = "0.1.0"

# OpenMP threads wait for each other in a busy loop, by default for 300,000 turns. With other busy processes on the machine this
# made training up to 20 times slower. With 1,000 turns a process that runs alone is as fast as before (docs/log/speed.md).
# libgomp reads the variable when torch is imported, so it is set here.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# The trainer of transformers imports bitsandbytes, which warns about optional CPU kernels from the hub. Nothing here uses them.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def __getattr__(name: str) -> Any:
    """Import `Summarizer` when it is first used, so that `import yoyak` stays fast.

    The module is imported by its name as text. Otherwise `yoyak deps` would count it as a dependency of every stage.
    """
    if name == "Summarizer":
        return import_module("yoyak.inference.summarizer").Summarizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
