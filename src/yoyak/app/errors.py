"""Errors that a client sees: in the form of OpenAI's API, with the id of the request and without internals."""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

# OpenAI's names for kinds of errors, by status.
KINDS = {401: "authentication_error", 429: "rate_limit_error", 500: "server_error", 503: "server_error", 504: "timeout"}
MAX_REPORTED = 10  # faults of one request
_LONGEST_NAME = 60
_VARIANTS = ("str", "constrained-str", "bool", "int", "float")  # pydantic's names for parts of a union


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str = Field(description="What is wrong and what to do.")
    type: str = Field(description="Kind of error, with OpenAI's names.")
    param: str | None = Field(description="The field of the request that is at fault, such as dialogues[2].")
    code: str = Field(description="Name of the error for programs.")
    request_id: str = Field(description="Id of the request; the server's log has it too.")


class ErrorBody(BaseModel):
    """The body of every answer with a status from 400 on."""

    error: ErrorDetail


class ApiError(Exception):
    """An error with its status. The message goes to the client."""

    def __init__(
        self, status: int, code: str, message: str, *, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.headers = dict(headers or {})


def error_response(error: ApiError, request_id: str) -> JSONResponse:
    """The answer to a client."""
    kind = KINDS.get(error.status, "invalid_request_error")
    detail = {"message": _clean(error.message), "type": kind, "param": error.param and _clean(error.param), "code": error.code}
    return JSONResponse({"error": {**detail, "request_id": request_id}}, error.status, error.headers)


def invalid_request(errors: Iterable[Mapping[str, Any]], *, status: int) -> ApiError:
    """What pydantic found, by field. The values of the request are not repeated."""
    faults = []
    for error in errors:
        if error["type"] == "json_invalid":
            return ApiError(400, "invalid_json", "the body is not JSON")
        faults.append((_field(error["loc"]), _words(error)))
    shown = [f"{field}: {words}" if field else words for field, words in faults[:MAX_REPORTED]]
    if len(faults) > MAX_REPORTED:
        shown.append(f"and {len(faults) - MAX_REPORTED} more")
    return ApiError(status, "invalid_value", "; ".join(shown), param=faults[0][0] or None)


def _field(place: Iterable[Any]) -> str:
    """The name of a field: body, dialogues, 2 is dialogues[2]. Names of the variants of a union are left out."""
    name = ""
    for part in list(place)[1:]:
        if isinstance(part, int):
            name += f"[{part}]"
        elif not any(sign in part for sign in "[]()|") and part not in _VARIANTS:
            name += f".{part[:_LONGEST_NAME]}" if name else part[:_LONGEST_NAME]
    return name


def _words(error: Mapping[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown field"
    if error["type"] == "string_unicode":
        return "the text has half of a surrogate pair (\\ud800 to \\udfff), which is no character"
    words = str(error["msg"]).removeprefix("Value error, ")
    return words[0].lower() + words[1:]


def _clean(text: str) -> str:
    """Half surrogates cannot be sent."""
    return text.encode("utf-8", "replace").decode("utf-8")
