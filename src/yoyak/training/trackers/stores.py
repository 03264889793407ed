"""Where trackers keep their files: the local stores of their services, and what they know about each run."""

import os
from pathlib import Path

FOLDER_VARIABLE = "YOYAK_TRACKER_FOLDER"


def stores_folder() -> Path:
    """YOYAK_TRACKER_FOLDER, or `.trackers` in the main repository. An absolute path.

    A queued experiment or a trial of a search runs in a copy of the repository. DVC_ROOT leads from there to the main one.
    """
    return Path(os.environ.get(FOLDER_VARIABLE) or Path(os.environ.get("DVC_ROOT", "."), ".trackers")).absolute()
