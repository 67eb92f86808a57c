"""The control endpoint of the local service: faults and the clock over HTTP, for tests in other languages.

Only a request with the media type ``application/json`` or the method DELETE changes anything. A web page of
another site can have a browser send neither, unless the server allows it (CORS). This server never does.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from ._faults import Fault
from ._injection import InjectedFault
from ._wire import Response

if TYPE_CHECKING:
    from ._local import LocalCloudHsm

_FAULTS: Final = "/_faults"
_CLOCK: Final = "/_clock"
_JSON: Final = "application/json"
_UNITS: Final = ("days", "hours", "minutes", "seconds")
_MAX_TIMES: Final = 1_000_000
_MAX_DELAY: Final = 86_400.0  # A day. Python cannot wait for more than some 300 years.


class _InvalidError(Exception):
    """A control request is invalid."""


class Control:
    """The control endpoint of one service. ``injected`` returns the faults that are still to come."""

    def __init__(self, service: "LocalCloudHsm", injected: Callable[[], Iterable[InjectedFault]]) -> None:
        self._service = service
        self._injected = injected

    def respond(self, method: str, path: str, media_type: str, body: bytes) -> Response | None:
        """Carry out a request. None means that the path is not one of the control endpoint."""
        if path not in (_FAULTS, _CLOCK):
            return None
        if method == "POST" and media_type != _JSON:
            return _error(415, f"The Content-Type must be {_JSON}.")
        try:
            match method, path == _FAULTS:
                case "GET", _:
                    pass
                case "POST", True:
                    self._inject(_json_object(body))
                case "DELETE", True:
                    self._service.clear_faults()
                case "POST", False:
                    self._service.advance(_duration(_json_object(body)))
                case _:
                    return _error(405, f"{path} does not support {method}.")
        except (_InvalidError, ValueError, OverflowError) as error:
            return _error(400, str(error))
        if path == _FAULTS:
            return _response({"faults": [asdict(each) for each in self._injected()]})
        return _response({"now": self._service.now.isoformat(timespec="milliseconds")})

    def _inject(self, request: Mapping[str, Any]) -> None:
        # A misspelled member would silently inject another fault than the one that a test is about.
        unknown = sorted(set(request) - {"fault", "operation", "times", "seconds"})
        if unknown:
            raise _InvalidError(
                f"unknown member {unknown[0]!r}; expected fault, operation, times, and seconds"
            )
        fault, operation = request.get("fault"), request.get("operation")
        times, seconds = request.get("times", 1), request.get("seconds", 1.0)
        if not isinstance(fault, str) or not isinstance(operation, str | None):
            raise _InvalidError("fault must be a string, and operation a string or null")
        # Nothing could clear it: the control endpoint is on the same port.
        if fault == Fault.CONNECTION_REFUSED:
            raise _InvalidError(
                f"{fault} cannot be injected over HTTP, because the service would stop listening"
            )
        if type(times) is not int or not 1 <= times <= _MAX_TIMES:
            raise _InvalidError(f"times must be an integer from 1 to {_MAX_TIMES}")
        if not _is_number(seconds) or not 0 <= seconds <= _MAX_DELAY:
            raise _InvalidError(f"seconds must be a number from 0 to {_MAX_DELAY:g}")
        self._service.inject(fault, operation, times, seconds=seconds)


def _duration(request: Mapping[str, Any]) -> timedelta:
    if not request or not set(request) <= set(_UNITS) or not all(map(_is_number, request.values())):
        raise _InvalidError(f'expected numbers of {", ".join(_UNITS)}, such as {{"days": 8}}')
    return timedelta(**request)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # a bool is an int for isinstance


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        content: Any = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise _InvalidError("the body is not a JSON object")
    return cast("dict[str, Any]", content)


def _response(content: object, status: int = 200) -> Response:
    return Response(status, json.dumps(content).encode() + b"\n", _JSON)


def _error(status: int, message: str) -> Response:
    return _response({"__type": "InvalidControlRequest", "Message": message}, status)
