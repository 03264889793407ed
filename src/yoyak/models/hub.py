"""The model hub: which checkpoints need it, whether it answers, and what to do without it. Nothing here is slow to import."""

import functools
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

from yoyak.system.errors import YoyakError


def can_be_hub_name(checkpoint: str) -> bool:
    """Whether a checkpoint can be a name on the hub: NAME or OWNER/NAME. A path such as models/base/mine cannot."""
    return re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", checkpoint) is not None


def pin_advice(checkpoint: str) -> str:
    """How to find a commit of a hub checkpoint and where to write it."""
    return (
        f"`git ls-remote https://huggingface.co/{checkpoint} HEAD` prints its newest commit (it needs a network); "
        "write these 40 characters into `revision` beside `checkpoint` in params.yaml. A branch such as main is refused, "
        "because it changes"
    )


def is_cached(checkpoint: str, revision: str | None) -> bool:
    """Whether huggingface_hub's cache has the config of this checkpoint at this commit or tag."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(checkpoint, "config.json", revision=revision), str)


def place_of(checkpoint: str, revision: str | None) -> str:
    """Where a checkpoint would be loaded from: "folder", "cache", "hub", or "no revision" if it cannot be loaded."""
    if Path(checkpoint).is_dir():
        return "folder"
    if revision is None:
        return "no revision"
    return "cache" if is_cached(checkpoint, revision) else "hub"


def check_hub(checkpoint: str, revision: str | None) -> None:
    """For a checkpoint that must be downloaded, ask the hub once whether it answers, and say what is waited for.

    Without this, huggingface_hub waits and tries again for each of several files: half a minute or more. This waits once, for
    HF_HUB_ETAG_TIMEOUT seconds (10 by default).

    Raises:
        YoyakError: if the hub does not answer. The message names the alternatives.
    """
    from huggingface_hub import constants

    if not constants.HF_HUB_OFFLINE and place_of(checkpoint, revision) == "hub":
        _ask_hub(checkpoint, str(revision))


@functools.cache
def _ask_hub(checkpoint: str, revision: str) -> None:
    from huggingface_hub import constants

    endpoint, seconds = constants.ENDPOINT, float(constants.HF_HUB_ETAG_TIMEOUT)
    print(f"{checkpoint} at {revision}: not in the cache; waiting for {endpoint} (at most {seconds:g} s)", file=sys.stderr)
    request = urllib.request.Request(f"{endpoint}/{checkpoint}/resolve/{revision}/config.json", method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=seconds).close()
    except urllib.error.HTTPError:
        return  # it answers; what it refuses, the loader reports
    except (OSError, ValueError) as error:  # URLError and TimeoutError are OSErrors
        reason = getattr(error, "reason", error)
        if "CERTIFICATE" in str(reason):
            return  # huggingface_hub has certificates of its own
        raise YoyakError(
            f"{checkpoint} at {revision}: the hub {endpoint} does not answer ({reason}). Without a network: elsewhere run "
            f"`hf download {checkpoint} --revision {revision} --local-dir models/{checkpoint.rpartition('/')[2]}`, copy that "
            "folder here, and write its path into `checkpoint` in params.yaml; or set HF_ENDPOINT to a mirror; or "
            "`yoyak use kobart-tiny`. On a slow network set HF_HUB_ETAG_TIMEOUT (seconds)"
        ) from error
