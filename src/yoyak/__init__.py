"""yoyak (요약): train, predict and score Korean dialogue summarizers as one DVC pipeline."""

import logging

__version__ = "0.1.0"

# transformers' trainer imports bitsandbytes, which complains of optional kernels from a hub that nothing here uses.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
