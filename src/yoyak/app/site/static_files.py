"""The files that a browser loads. They are read once; a request only chooses one of these names."""

from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple

TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "woff2": "font/woff2",
}
OWN = ("app.css", "board.js", "plots.js", "try.js", "logs.js", "icon.svg")
FONT = "yoyak-hangul.woff2"


class StaticFile(NamedTuple):
    """A file, its media type and its ETag."""

    body: bytes
    kind: str
    etag: str


@cache
def static_files() -> dict[str, StaticFile]:
    """All files by name."""
    own, shared = files("yoyak.app.site").joinpath("static"), files("yoyak.reports.page").joinpath("static")
    dark = shared.joinpath("page-dark.css").read_text(encoding="utf-8")
    style = shared.joinpath("page.css").read_text(encoding="utf-8")
    bodies = {name: own.joinpath(name).read_bytes() for name in OWN}
    bodies["page.css"] = style.replace("DARK_COLORS", dark).replace("FONT_URL", FONT).encode()
    bodies |= {name: shared.joinpath(name).read_bytes() for name in ("theme.js", FONT)}
    return {
        name: StaticFile(body, TYPES[name.rpartition(".")[2]], f'"{sha256(body).hexdigest()[:24]}"')
        for name, body in bodies.items()
    }
