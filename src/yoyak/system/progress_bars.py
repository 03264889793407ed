"""Whether progress bars are shown."""

import os
from typing import TypeVar

Otherwise = TypeVar("Otherwise", bool, bool | None)


def bars_hidden(otherwise: Otherwise) -> bool | Otherwise:
    """tqdm's argument `disable`: true if TQDM_DISABLE switches bars off, or else `otherwise`.

    tqdm reads the variable only where the argument is not given.
    """
    return os.environ.get("TQDM_DISABLE", "0").lower() not in ("", "0", "false") or otherwise
