"""Errors as the OpenAI API writes them: {"error": {"message", "type", "param", "code"}}, never with what others wrote.

400  no JSON, or more tokens than the model's context (code context_length_exceeded)
404  unknown path or model            422  anything else that is wrong with a request
429  too much for now (Retry-After)   5xx  the server's fault
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from pluralign.errors import PluralignError
from pluralign.serving.neutral import Unsupported
from pluralign.serving.refusals import Refusal

log = logging.getLogger("pluralign.serve")

INVALID = "invalid_request_error"
LONGEST = 2000
"""Characters of a message: what was sent may be quoted in it."""
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {
    "missing": "missing_required_parameter",
    "extra_forbidden": "unknown_parameter",
    "greater_than_equal": "number_below_min_value",
    "less_than_equal": "number_above_max_value",
    "less_than": "number_above_max_value",
    "json_invalid": "invalid_json",
}


class Wrong(PluralignError, ValueError):
    """A request that cannot be answered as it stands: which `param` is wrong, the error's `code`, HTTP's `status`."""

    def __init__(self, message: str, param: str | None, code: str = "invalid_value", status: int = 422) -> None:
        super().__init__(message)
        self.param, self.code, self.status = param, code, status


def problem(
    message: str, status: int, code: str | None, param: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """An error as a response."""
    return Response(problem_json(message, status, code, param), status, dict(headers or {}), "application/json")


def problem_json(message: str, status: int, code: str | None, param: str | None = None) -> str:
    """An error's body, in ASCII: what was sent may hold what UTF-8 cannot write."""
    kind = _TYPES.get(status, INVALID if status < 500 else "server_error")
    return json.dumps({"error": {"message": message[:LONGEST], "type": kind, "param": param, "code": code}})


def of_error(error: Exception) -> tuple[str, int, str | None, str | None]:
    """(message, status, code, param) of whatever was raised; what was not raised on purpose is not told."""
    if isinstance(error, Wrong):
        return str(error), error.status, error.code, error.param
    if isinstance(error, Refusal):
        return str(error), error.status, error.code, None
    if isinstance(error, PluralignError):
        return str(error), 422, "invalid_value", None
    return "the server failed; its log has the reason", 500, "server_error", None


def install(app: FastAPI) -> None:
    """Answer every error in this form."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(PluralignError, _ours)
    app.add_exception_handler(Exception, _unexpected)


async def _ours(request: Request, error: Exception) -> Response:
    message, status, code, param = of_error(error)
    wait = getattr(error, "retry_after", None)
    return problem(message, status, code, param, {} if wait is None else {"Retry-After": str(wait)})


async def _unexpected(request: Request, error: Exception) -> Response:
    return problem(*of_error(error))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {
        400: ("the body cannot be read: it must be JSON in UTF-8, not nested too deep", "invalid_json"),
        404: (f"there is nothing at {request.url.path[:200]}; see /docs", "not_found"),
        405: (f"{request.url.path[:200]} does not answer {request.method[:20]}; see /docs", "method_not_allowed"),
    }
    message, code = told.get(error.status_code, (str(error.detail), None))
    return problem(message, error.status_code, code, None, error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if found[0]["type"] == "json_invalid":
        reason = found[0].get("ctx", {}).get("error", "")
        return problem(f"the body is no JSON: {reason} (byte {found[0]['loc'][-1]})", 400, "invalid_json")
    if found[0]["loc"] == ("body",) and found[0]["type"] in ("missing", "model_attributes_type"):
        return problem("the body must be a JSON object, sent as application/json", 422, "invalid_type")
    told = [_told(each) for each in found[:5]]
    more = f" (and {len(found) - 5} more)" if len(found) > 5 else ""
    message, code, param = "; ".join(each[0] for each in told) + more, told[0][1], told[0][2]
    return problem(message, 422, code, param)


def _told(found: Mapping[str, Any]) -> tuple[str, str, str | None]:
    """(message, code, param) of one of pydantic's errors."""
    param, reason = _place(found["loc"][1:]), found.get("ctx", {}).get("error")
    if isinstance(reason, Unsupported):
        inner = f"{param}.{reason.param}" if param else reason.param
        return f"{param}.{reason}" if param else str(reason), "unsupported_parameter", inner
    if isinstance(reason, ValueError):
        return f"{param} {reason}" if param else str(reason), "invalid_value", param or None
    kind = found["type"]
    code = _CODES.get(kind) or ("invalid_type" if kind.endswith("_type") else "invalid_value")
    if kind == "missing":
        return f"{param} is missing", code, param
    if kind == "extra_forbidden":
        return f"{param} is unknown; see /docs for the fields that there are", code, param
    said = found["msg"].replace("Input should", "should")
    return f"{param} {said}", code, param


def _place(loc: Sequence[str | int]) -> str:
    """messages[0].content"""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{str(part)[:80]}" for part in loc)
    return text.removeprefix(".")
