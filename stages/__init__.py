"""One thin script a stage, run as `python -m stages.NAME` from the repository's root.

A queued experiment runs in a copy of the repository, while an editable install points to the workspace: so this package puts
the src folder that lies beside it first on the path, and with it the copy's own code.
"""

import importlib.util
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

if importlib.util.find_spec("pydantic") is None:
    raise SystemExit(f"error: {sys.executable} has not yoyak's packages; run `make setup`, then `source .venv/bin/activate`")
