"""yoyak (요약): train, predict and score Korean dialogue summarizers as one DVC pipeline."""

import logging
import os

__version__ = "0.1.0"

# OpenMP's threads wait for each other by spinning, 300,000 turns of it by default. Beside other busy processes that made
# training up to 20 times slower; 1,000 turns cost nothing alone (docs/log.md). libgomp reads this when torch is imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# transformers' trainer imports bitsandbytes, which complains of optional kernels from a hub that nothing here uses.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
