"""Mask credentials in everything that this library raises or logs.

The secrets of a call are known, so they are masked by value: the session token, the secret key, the
signature, and the passwords in the endpoint and proxy URLs. Each of them is searched in the text as it is and
in the text without escapes and line breaks, and in base64. Patterns remain only for secrets of other calls,
for example those of STS, whose values are not known here.

The work is linear in the length of the text, and at most `KEPT` characters of a text are kept. A server can
return an error page of a megabyte or a hostile one, and an error must not cost more than boto3's own parsing.
"""

import os
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from configparser import Error as ConfigParserError
from contextlib import suppress
from functools import lru_cache
from json import JSONDecodeError
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final, cast
from urllib.parse import unquote

from pydantic import ValidationError

KEPT: Final = 4096
"""How many characters of a text an error keeps."""
_MASK: Final = "***"
_MAX_DEPTH: Final = 8
_MAX_ITEMS: Final = 1000  # A page of DescribeBackups with 50 backups has about 800.
_MIN_USER: Final = 12  # A shorter user info without a password is only a name.
_MIN_PART: Final = 8  # A shorter secret is not masked inside of a word.
_MAX_ESCAPES: Final = 3  # such as a URL in JSON in HTML
_MAX_SIZE: Final = 32 * KEPT  # Such a page has about 60,000 characters.
_ITEM_SIZE: Final = _MAX_SIZE // _MAX_ITEMS
_HOLDS_INPUT: Final = (BaseExceptionGroup, ConfigParserError, JSONDecodeError, UnicodeError, ValidationError)
_PLAIN_TYPES: Final = frozenset({str, int, float, bool, type(None)})
_MAX_CONTAINERS: Final = 32  # More could be too deep to pickle. An error response has about 5.
_MIN_LENGTH: Final = 4  # A shorter secret would also mask parts of ordinary words.

# Header names whose values are secrets. They occur in the headers of a response that repeats the request.
_SECRET_HEADERS: Final = frozenset(
    {"authorization", "cookie", "proxy-authorization", "set-cookie", "x-amz-security-token"}
)

# White space, and the escapes of URLs, JSON, Python, and HTML.
_ESCAPES: Final = re.compile(
    r"\s++|%[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\.|&#?\w{1,8};", re.DOTALL
)

# Each pattern is linear: what it repeats cannot also match what follows. Group 1 stays.
_PATTERNS: Final = (
    # The user info of a URL that is not this call's, for example of a proxy that a credential process names.
    re.compile(r"((?<=//))[^\s/?#@]*+(?=@)"),
    # botocore quotes the whole URL if it is malformed, and it may come from a profile, which is not read.
    re.compile(r"(Invalid endpoint: )\S*(?=@)"),
    # Credentials of another call by the name of their field: AWS's response to an invalid signature repeats
    # the request, and a credential process prints JSON. Only identifiers count. In prose a space separates
    # the words ("Error loading login session token: Unable to ...").
    re.compile(
        r"((?:secret[_-]?access[_-]?key|(?:session|security)[_-]?token|password|authorization|signature)"
        r"['\"]?\s*+[:=>]\s*+(?:b?['\"])?(?:(?:basic|bearer|digest)\s++)?)"
        r"(?![A-Za-z]++ [A-Za-z])[^\s'\",;&<]++",  # Two words are prose.
        re.IGNORECASE,
    ),
)

# Without one of these, no pattern matches, and no header name is in the text.
_TRIGGERS: Final = ("//", "endpoint", "token", "key", "password", "authorization", "signature", "cookie")

# botocore keeps a client's credentials in private attributes, checked with 1.35.16 to 1.44.8. Reading the
# public ones could refresh the credentials, which sends a request. A missing name only means that this secret
# is not known; the request that was sent still shows the session token and the signature.
_SIGNER, _CREDENTIALS = "_request_signer", "_credentials"
_CREDENTIAL_VALUES: Final = ("secret_key", "_secret_key", "token", "_token")


# Variables of the environment from which boto3 takes the URLs of endpoint and proxies.
_URLS: Final = (
    "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_CLOUDHSM_V2", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
    "http_proxy", "https_proxy", "all_proxy",
)  # fmt: skip


def printable(text: str) -> str:
    """Return the text as one line without control characters, bidirectional marks, or lone surrogates."""
    line = " ".join(text.split())
    if line.isprintable():
        return line
    return "".join(character if character.isprintable() else "?" for character in line)


class Masker:
    """Masks the secrets of one call, in text and in data."""

    def __init__(self, secrets: Iterable[str] = (), signature: str = "") -> None:
        """Take the secrets of a call; the signature of its request is one that no other request has."""
        forms = _all_forms(frozenset(secrets))
        self._forms: Final = (signature, *forms) if signature else forms
        self._margin: Final = 6 * max(map(len, self._forms), default=0)  # "\u002b" is six characters.

    def text(self, text: str) -> str:
        """Return at most `KEPT` characters of the text, with each secret replaced."""
        # A secret that the cut would split is searched as a whole.
        text = text[: KEPT + self._margin]
        if not self._may_have_secrets(text):
            return text[:KEPT]
        spans = [*self._spans(text)]
        pieces: list[str] = []
        end = 0
        for start, stop in sorted(spans):
            if start >= KEPT:
                break
            if start >= end:
                pieces += text[end:start], _MASK
            end = max(end, stop)
        masked = "".join([*pieces, text[end:KEPT]])
        return _MASK if self._is_escaped_in(masked) else masked  # escaped more than once

    def data(self, value: Any, exceptions: list[BaseException] | None = None) -> Any:
        """Return the JSON-like value with each secret replaced, bounded in depth and size.

        The type name stands in for other objects, so that what an error carries can be pickled; but not for
        exceptions if there is a list to add them to, which are masked later.
        """
        if not self._needs_masking(value):
            return value
        return self._data(value, exceptions, _MAX_DEPTH, [_MAX_SIZE])

    def _needs_masking(self, value: object) -> bool:
        # In most responses and exceptions there is nothing to mask. This is the fast way to know.
        text = _strings_in(value)
        return text is None or len(text) > KEPT or self._may_have_secrets(text)

    def _data(self, value: Any, exceptions: list[BaseException] | None, depth: int, budget: list[int]) -> Any:
        if isinstance(value, str | bytes):
            budget[0] -= min(len(value), KEPT)
            if budget[0] < 0:
                return "..."
            if isinstance(value, str):
                return self.text(value)
            return self.text(value[: KEPT + self._margin].decode("latin-1")).encode("latin-1")
        if value is None or isinstance(value, int | float):
            return value
        if isinstance(value, Mapping | list | tuple):
            budget[0] -= _ITEM_SIZE * len(cast("list[object]", value))
            if depth == 0 or budget[0] < 0:
                return "..."
            if not isinstance(value, Mapping):
                items = [self._data(item, exceptions, depth - 1, budget) for item in cast("list[Any]", value)]
                return tuple(items) if isinstance(value, tuple) else items
            return {
                self._data(key, None, 0, budget): _MASK
                if isinstance(key, str) and key.lower() in _SECRET_HEADERS
                else self._data(item, exceptions, depth - 1, budget)
                for key, item in cast("Mapping[Any, Any]", value).items()  # type: ignore[redundant-cast]
            }
        if isinstance(value, BaseException) and exceptions is not None:
            exceptions.append(_stand_in(value))
            return exceptions[-1]
        return value if type(value).__module__ == "datetime" else f"<{type(value).__name__}>"

    def exception(self, error: BaseException, handled: BaseException | None) -> BaseException:
        """Mask what the exception, and those that it came from, carry; return it, or a stand-in for it.

        Args:
            error: the exception, which is changed in place.
            handled: what the caller was handling when it called this library, which stays as it is.
        """
        waiting, seen = [_stand_in(error)], {id(handled)}
        first = waiting[0]
        while waiting:
            link = waiting.pop()
            if id(link) in seen:
                continue
            seen.add(id(link))
            # An OSError whose `filename` is set to None has another text than one that never had it.
            kind: Any = type(link)
            slots = {name: value for name in _slots(kind) if (value := getattr(link, name, None)) is not None}
            fields = {"args": link.args} | vars(link) | slots
            links = {
                name: source
                for name in ("__cause__", "__context__")
                if (source := getattr(link, name)) is not None and source is not handled
            }
            if not self._needs_masking([fields, links]):
                continue
            suppress_context = link.__suppress_context__
            for name, item in (fields | links).items():
                with suppress(AttributeError, TypeError):  # read-only
                    setattr(link, name, self.data(item, waiting))
            link.__suppress_context__ = suppress_context
        return first

    def _may_have_secrets(self, text: str) -> bool:
        lower = text.lower()
        if any(map(lower.__contains__, _TRIGGERS)):
            return True
        return self._is_in(text) or self._is_escaped_in(text)

    def _is_escaped_in(self, text: str) -> bool:
        for _ in range(_MAX_ESCAPES):
            if not _has_escapes(text):
                return False
            text = _plain(text)
            if self._is_in(text):
                return True
        return False

    def _is_in(self, text: str) -> bool:
        return any(True for _ in self._occurrences(text))

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        for pattern in _PATTERNS:
            for match in pattern.finditer(text):
                yield match.end(1), match.end()
        yield from self._occurrences(text)
        if _has_escapes(text) and self._is_in(_plain(text)):
            # Only now are the positions in the original text worth their cost.
            places = [*_places(text)]
            for start, stop in self._occurrences(_plain(text)):
                yield places[start][1], places[stop - 1][2]

    def _occurrences(self, text: str) -> Iterator[tuple[int, int]]:
        for form in self._forms:
            start = text.find(form)
            while start >= 0:
                stop = start + len(form)
                # A short one, such as the key "test" of a local service, only as a word of its own.
                around = text[max(start - 1, 0) : start] + text[stop : stop + 1]
                if len(form) >= _MIN_PART or not any(map(str.isalnum, around)):
                    yield start, stop
                start = text.find(form, stop)


def masker_of(client: object, request: object, secrets: Iterable[str]) -> Masker:
    """Return a masker for the secrets of a call.

    Args:
        client: boto3's client; None while one is being created.
        request: botocore's request of the last attempt; None if none was sent.
        secrets: more secrets, from `url_secrets`.
    """
    credentials = getattr(getattr(client, _SIGNER, None), _CREDENTIALS, None)
    values: Mapping[str, object] = getattr(credentials, "__dict__", {})
    known = {value for name in _CREDENTIAL_VALUES if isinstance(value := values.get(name), str)}
    headers: Mapping[str, object] = getattr(request, "headers", None) or {}
    if "token" not in values:  # Only static credentials still have the token that was sent.
        known.add(_header(headers, "X-Amz-Security-Token"))
    # Of this header, the signature or the bearer token.
    signature = _header(headers, "Authorization").rpartition(" ")[2].removeprefix("Signature=")
    return Masker(known.union(secrets), signature)


def _header(headers: Mapping[str, object], name: str) -> str:
    value = headers.get(name)
    value = value.decode("latin-1") if isinstance(value, bytes) else value
    return value if isinstance(value, str) else ""


def _strings_in(value: object) -> str | None:
    """Return the strings in plain data, joined; None if there is another object, or too much of it."""
    items: list[Any] = [value]
    containers = 0
    for item in items:  # It grows meanwhile.
        kind = cast("type[object]", type(item))
        if kind is dict:
            items += item
            items += item.values()
        elif kind is list or kind is tuple:
            items += item
        elif kind in _PLAIN_TYPES:
            continue
        else:
            return None
        containers += 1
        if containers > _MAX_CONTAINERS or len(items) > _MAX_ITEMS:
            return None
    return "\0".join([item for item in items if type(item) is str])


def url_secrets(client: object, endpoint_url: object = None) -> Iterator[str]:
    """Find the passwords in the URLs of the endpoint and the proxies that a client uses.

    Args:
        client: boto3's client; None while one is being created.
        endpoint_url: the endpoint that was passed to create one.
    """
    meta = getattr(client, "meta", None)
    proxies = getattr(getattr(meta, "config", None), "proxies", None)
    urls: list[object] = [endpoint_url, getattr(meta, "endpoint_url", None), *map(os.environ.get, _URLS)]
    urls += cast("Mapping[str, object]", proxies).values() if isinstance(proxies, Mapping) else []
    for url in urls:
        if isinstance(url, str) and "@" in url:
            yield from _url_secrets(url)


def _url_secrets(url: str) -> Iterator[str]:
    # The scheme may be missing or mistyped, and the password may contain what should have been escaped.
    rest = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*+:/+", "", url)
    user_info = rest.rpartition("@")[0]
    user, separator, password = user_info.partition(":")
    if not separator and len(user) < _MIN_USER:
        return  # the name of a user, such as "user", and not a token
    yield from (user_info, password, unquote(user_info), unquote(password))
    # An error may quote the part of a malformed password that was taken for a host, a port, or a path.
    yield from re.split(r"[/?#@:\[\]\\'\"\s]+", password)


@lru_cache(maxsize=64)
def _all_forms(secrets: frozenset[str]) -> tuple[str, ...]:
    """Return the secrets as they are, and in base64; escapes are removed from the text instead."""
    forms: set[str] = set()
    for secret in {"".join(secret.split()) for secret in secrets}:
        if len(secret) < _MIN_LENGTH:
            continue
        raw = secret.encode(errors="replace")
        forms |= {secret, raw.decode("latin-1")}  # The escapes of URLs and of Python's bytes are of UTF-8.
        # In base64, what precedes the secret shifts it by 0, 8, or 16 bits. Drop the characters that also
        # depend on its neighbors.
        for shift, first in ((0, 0), (1, 2), (2, 3)):
            form = b64encode(bytes(shift) + raw).decode()[first : 8 * (shift + len(raw)) // 6]
            if len(form) >= 2 * _MIN_LENGTH:
                forms |= {form, form.replace("+", "-").replace("/", "_")}
    return tuple(forms)


def _plain(text: str) -> str:
    """Return the text without escapes and white space."""
    return _ESCAPES.sub(_unescaped, text)


def _has_escapes(text: str) -> bool:
    return "\\" in text or "%" in text or "&" in text or "\n" in text


def _unescaped(escape: re.Match[str]) -> str:
    text = escape[0]
    if text.isspace():
        return ""
    if text[0] == "&":
        from html import unescape  # Its table of names is large, and few texts need it.

        return unescape(text)
    digits = text.lstrip("\\%ux")
    if len(text) > 2:  # noqa: PLR2004 (with a backslash and one character, there are no digits)
        return chr(int(digits, base=16))
    return "" if text[1] in "nrt" else text[1]


def _places(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield each character of the text without escapes, and where it starts and ends in the text."""
    end = 0
    for match in _ESCAPES.finditer(text):
        yield from ((text[place], place, place + 1) for place in range(end, match.start()))
        yield from ((character, *match.span()) for character in _unescaped(match))
        end = match.end()
    yield from ((text[place], place, place + 1) for place in range(end, len(text)))


@lru_cache(maxsize=256)
def _slots(cls: type[BaseException]) -> tuple[str, ...]:
    """Return the attributes of an exception beside its ``__dict__``, such as ``OSError.filename``."""
    names = [
        name for base in cls.__mro__ for name, attribute in vars(base).items()
        if isinstance(attribute, GetSetDescriptorType | MemberDescriptorType) and not name.startswith("__")
    ]  # fmt: skip
    return tuple(name for name in names if name != "args")


def _stand_in(error: BaseException) -> BaseException:
    """Return the exception, or a plain one for a class that keeps data where it cannot be masked."""
    # Or data that is a secret as a whole: the file or the output that could not be parsed.
    if isinstance(error, _HOLDS_INPUT):
        reason = str(getattr(cast("Any", error), "reason", None) or "invalid value")
        return ValueError(f"{type(cast('object', error)).__name__}: {reason}")
    return error


PATTERNS_ONLY: Final = Masker()
"""Masks only what the patterns find, for texts that do not belong to a call."""
