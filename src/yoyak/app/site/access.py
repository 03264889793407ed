"""Who may use the app: this machine, or whoever signed in with the key. It stands before everything else."""

import hashlib
import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "yoyak-app"
OPEN_PATHS = ("/login",)
OPEN_FOLDERS = ("/static/",)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def cookie_value(key: str) -> str:
    """What the cookie of somebody who knows the key has. The key cannot be computed from it."""
    return hmac.new(key.encode(), b"yoyak app", hashlib.sha256).hexdigest()


class Door:
    """An ASGI application around another one: sign-in, requests of other sites, headers."""

    def __init__(self, app: ASGIApp, key: str | None) -> None:
        self.app, self.key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message.get("headers", [])}
                more = [(name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in names]
                message = {**message, "headers": [*message.get("headers", []), *more]}
            await send(message)

        headers = Headers(scope=scope)
        if scope["method"] not in ("GET", "HEAD") and not _is_own(headers):
            refused = JSONResponse({"error": "the request comes from another site"}, 403)
            await refused(scope, receive, with_headers)
        elif self._is_open(scope["path"]) or self._knows_key(headers):
            await self.app(scope, receive, with_headers)
        elif scope["path"].startswith("/api/"):
            await JSONResponse({"error": "sign in first: /login"}, 401)(scope, receive, with_headers)
        else:
            target = quote(scope["path"], safe="/")
            await RedirectResponse(f"/login?next={quote(target, safe='')}", 303)(scope, receive, with_headers)

    def _is_open(self, path: str) -> bool:
        return self.key is None or path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)

    def _knows_key(self, headers: Headers) -> bool:
        if self.key is None:
            return True
        scheme, _, sent = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), self.key.encode()):
            return True
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        found = cookies[COOKIE].value if COOKIE in cookies else ""
        return hmac.compare_digest(found.encode(), cookie_value(self.key).encode())


def _is_own(headers: Headers) -> bool:
    """Whether a page of the app sent the request, or a program that is no browser."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host")
