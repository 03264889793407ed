"""Benchmarks: yoyak beside other tools, and the cost of its own parts. Run `python -m bench.NAME` in the root folder.

Each writes a JSON file into bench/results.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))  # the environment of `make bench` has yoyak's requirements, but not yoyak
