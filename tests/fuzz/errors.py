"""Errors of any shape: whatever is raised below this library, its report is short, and shows no secret.

An input is two characters, as in `responses`, and then a line for each exception: its kind, its links to
others, and its text::

    r1
    h c1 could not send
    v a1 n2 @TOKEN@
    g a1 several

The first one is raised while boto3 sends a request. A link is ``c`` for the cause, ``x`` for the context, ``a``
for an argument or a member of a group, ``n`` for a value in an attribute. Its number counts the lines from
this one on, and starts again after the last, so that there are cycles.
"""

# pyright: basic

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import botocore.exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3.exceptions import NewConnectionError, ProtocolError

from .responses import Attempt, Rig, Script, Service, clients, run

MAX_ERRORS: Final = 600
"""A text of so many nested exceptions exceeds Python's limit of recursion: there are two calls for each."""
_SIZE: Final = 16_000
"""Bytes for which an exception counts: botocore's texts repeat those inside, so that each can be long."""
_URL: Final = "http://127.0.0.1:1"
_LINE: Final = re.compile(r"(.?)((?: [cxan]\d+)*) ?(.*)", re.DOTALL)


class _SlottedError(Exception):
    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def _client_error(text: str, inner: Exception) -> Exception:
    response: Any = {"Error": {"Code": text, "Message": text}, "Errors": [{"__type": inner}]}
    return boto.ClientError(response, text)


Make = Callable[[str, Exception], Exception]
"""Creates an exception from its text, and another one inside of it."""

KINDS: Final[Mapping[str, Make]] = {
    "h": lambda text, inner: boto.HTTPClientError(error=inner, request=text),
    "c": lambda text, inner: boto.ConnectionClosedError(endpoint_url=_URL, error=inner),
    "e": lambda text, inner: boto.EndpointConnectionError(endpoint_url=text, error=inner),
    "p": lambda text, inner: boto.ProxyConnectionError(proxy_url=text, error=inner),
    "s": lambda text, inner: boto.SSLError(endpoint_url=_URL, error=inner),
    "t": lambda text, inner: boto.ReadTimeoutError(endpoint_url=text, error=inner),
    "b": lambda text, inner: boto.ConfigParseError(path=text, error=inner),
    "l": _client_error,
    "r": lambda text, inner: ResponseParserError(text),
    "w": lambda text, inner: NewConnectionError(None, text),  # type: ignore[arg-type]
    "y": ProtocolError,
    "o": lambda text, inner: OSError(104, text, text),
    "k": lambda text, inner: KeyError(text),
    "u": lambda text, inner: UnicodeDecodeError("utf-8", text.encode("utf-8", "replace"), 0, 1, text),
    "j": lambda text, inner: json.JSONDecodeError(text, text, 0),
    "g": lambda text, inner: ExceptionGroup(text, [inner]),
    "z": lambda text, inner: _SlottedError(text),
    "v": lambda text, inner: ValueError(text),
}


def build(data: bytes) -> Exception:
    """Return the first exception of the lines, with all its links."""
    lines = data.decode("utf-8", "replace").split("\n")[:MAX_ERRORS]
    parsed = [found.groups() for line in lines if (found := _LINE.fullmatch(line))]
    links = [{link[0]: int(link[1:]) for link in found[1].split()} for found in parsed]
    built: list[Exception] = [ValueError("the last")] * len(parsed)
    # From the last on, because some exceptions need the one inside of them when they are created.
    for at in reversed(range(len(parsed))):
        kind, _, text = parsed[at]
        inner = built[(at + links[at].get("a", 0)) % len(built)]
        built[at] = KINDS.get(kind, KINDS["v"])(text, inner)
    for at, error in enumerate(built):
        for name, offset in links[at].items():
            other = built[(at + offset) % len(built)]
            if name == "c":
                error.__cause__ = other
            elif name == "x":
                error.__context__ = other
            elif name == "n":
                error.__dict__["detail"] = {"errors": [other, parsed[at][2]]}
            elif parsed[at][0] in "vk":
                error.args = (*error.args, other)
    return built[0]


class _Failing(Service):
    """Raises an exception instead of responding."""

    def start(self, responses: list[bytes]) -> None:
        super().start(responses)
        self.raised: list[Exception] = []

    def send(self, request: Any, event_name: str, **_: Any) -> Any:
        content = self.next(request)
        self.received += _SIZE * min(content.count(b"\n") + 1, MAX_ERRORS)
        self.attempts.append(Attempt(event_name.rpartition(".")[2], 0, was_sent=False))
        self.raised.append(build(content))
        raise self.raised[-1]


@cache
def _rig() -> tuple[Rig, _Failing]:
    service = _Failing()
    register = "before-send.cloudhsm-v2", service.send
    return Rig(service, clients(lambda client: client.meta.events.register(*register))), service


def error(data: bytes) -> None:
    """Raise the exceptions below the library, which reports them, or lets the same exception propagate."""
    rig, service = _rig()
    script = Script.read(data)
    try:
        run(rig, script)
    except Exception as propagated:
        if not any(propagated is raised for raised in service.raised):
            raise
        rig.check_work(script)
