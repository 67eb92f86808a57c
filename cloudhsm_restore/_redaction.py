"""Mask credentials in everything that this library raises or logs.

The secrets of a call are known, so they are masked by value: the session token, the secret key, the
signature, and the passwords in the endpoint and proxy URLs. Each of them is searched in the text as it is and
in base64, and in the text without escapes and line breaks. Patterns remain only for secrets of other calls,
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
from html import unescape
from json import JSONDecodeError, JSONEncoder
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final, cast
from urllib.parse import unquote

from pydantic import ValidationError

KEPT: Final = 4096
"""How many characters of a text an error keeps."""
_MASK: Final = "***"
_MAX_DEPTH: Final = 8
_MAX_SIZE: Final = 32 * KEPT  # A page of DescribeBackups with 50 backups has about 60,000 characters,
_ITEM_SIZE: Final = _MAX_SIZE // 1000  # and about 800 items.
_MAX_CONTAINERS: Final = 32  # More could be too deep to pickle. An error response has about 5.
_MAX_ESCAPES: Final = 4  # such as a URL in JSON in HTML, which `_is_clean` puts into JSON
_MIN_USER: Final = 12  # A shorter user info without a password is only a name.
_MIN_PART: Final = 8  # A shorter secret is not masked inside of a word.
_MIN_LENGTH: Final = 4  # A shorter secret would also mask parts of ordinary words.
_HOLDS_INPUT: Final = (BaseExceptionGroup, ConfigParserError, JSONDecodeError, UnicodeError, ValidationError)

# The escapes of URLs, JSON, Python, and HTML.
_ESCAPES: Final = re.compile(
    r"%[0-9A-Fa-f]{2}|\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\U00(?:0[0-9A-Fa-f]|10)[0-9A-Fa-f]{4}"
    r"|\\.|&#?\w{1,8};",
    re.DOTALL,
)

# The names of fields and headers whose values are secrets.
_NAMES: Final = (
    r"(?:secret[_-]?access[_-]?key|(?:session|security)[_-]?token|password|authorization|cookie|signature)"
)
_SECRET_KEY: Final = re.compile(_NAMES + "$", re.IGNORECASE)

# Each pattern is linear: what it repeats cannot also match what follows. Group 1 stays.
_PATTERNS: Final = (
    # The user info of a URL that is not this call's, for example of a proxy that a credential process names.
    re.compile(r"(//)[^\s/?#@]*+(?=@)"),
    # botocore quotes the whole URL if it is malformed, and it may come from a profile, which is not read.
    re.compile(r"(Invalid endpoint: )\S*(?=@)"),
    # Credentials of another call by the name of their field: AWS's response to an invalid signature repeats
    # the request, and a credential process prints JSON. Only identifiers count. In prose a space separates
    # the words ("Error loading login session token: Unable to ...").
    re.compile(
        rf"({_NAMES}\\*+['\"]? *+[:=>]\s*+(?:b?\\*+['\"])?(?:(?:basic|bearer|digest)\s++)?)"
        r"(?![A-Za-z]++ [A-Za-z])[^\s'\",;&<]++",  # Two words are prose.
        re.IGNORECASE,
    ),
)

# Without one of these, no pattern matches. To search them is faster.
_TRIGGERS: Final = ("@", "secret", "token", "password", "authorization", "cookie", "signature")

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

_to_json: Final = JSONEncoder(ensure_ascii=False, check_circular=False).encode


def printable(text: str) -> str:
    """Return the text as one line without control characters, bidirectional marks, or lone surrogates."""
    line = " ".join(text.split())
    if line.isprintable():
        return line
    return "".join(character if character.isprintable() else "?" for character in line)


class Masker:
    """Masks the secrets of one call, in text, in data, and in exceptions."""

    def __init__(self, secrets: Iterable[str] = (), signature: str = "") -> None:
        """Take the secrets of a call; the signature of its request is one that no other request has."""
        forms = _all_forms(frozenset(secrets))
        self._forms: Final = (signature, *forms) if signature else forms
        # "\u002b" is six characters, and the backslash may be escaped again.
        self._margin: Final = 12 * max(map(len, self._forms), default=0)

    def text(self, text: str) -> str:
        """Return at most `KEPT` characters of the text, with each secret replaced."""
        # A secret that the cut would split is searched as a whole.
        masked = self._known(text[: KEPT + self._margin])
        if any(map(masked.lower().__contains__, _TRIGGERS)):
            for pattern in _PATTERNS:
                masked = pattern.sub(rf"\1{_MASK}", masked)
        if self._hides_secret(masked):
            masked = " ".join(_MASK if self._hides_secret(word) else word for word in masked.split(" "))
            if self._hides_secret(masked):  # in several words, for example wrapped
                return _MASK
        # At the end there may be a part of a secret, which is shorter than the margin.
        is_cut = len(text) > KEPT + self._margin
        return masked[: max(0, min(KEPT, len(masked) - self._margin)) if is_cut else KEPT]

    def data(self, value: Any) -> Any:
        """Return the JSON-like value with each secret replaced, bounded in depth and size.

        The type name stands in for other objects, so that what an error carries can be pickled.
        """
        return self._data(value, None, _MAX_DEPTH, [_MAX_SIZE])

    def exception(self, error: BaseException, handled: BaseException | None) -> BaseException:
        """Mask what the exception, and those that it came from, carry; return it, or a stand-in for it.

        Args:
            error: the exception, which is changed in place.
            handled: what the caller was handling when it called this library, which stays as it is.
        """
        chain, seen = [_stand_in(error)], {id(handled)}
        for link in chain:  # It grows meanwhile.
            if id(link) in seen:
                continue
            seen.add(id(link))
            kind: Any = type(link)
            fields = {name: getattr(link, name, None) for name in _slots(kind)} | vars(link)
            # An OSError whose `filename` is set to None has another text than one that never had it.
            fields = {name: item for name, item in fields.items() if item is not None and item is not handled}
            if self._is_clean(fields):
                continue
            for name, item in fields.items():
                with suppress(AttributeError, TypeError):  # read-only
                    setattr(link, name, self._data(item, chain, _MAX_DEPTH, [_MAX_SIZE]))
        return chain[0]

    def _is_clean(self, value: object) -> bool:
        """Return whether the value is plain and small, and has no secret: a fast way out, for most errors."""
        try:
            text = _to_json(value)
        except (TypeError, ValueError, RecursionError):  # another object, a huge number, a cycle, too deep
            return False
        return text.count("[") + text.count("{") <= _MAX_CONTAINERS and self.text(text) == text

    def _data(self, value: Any, chain: list[BaseException] | None, depth: int, budget: list[int]) -> Any:
        """Return the masked value; add exceptions in it to the chain, if there is one, to be masked later."""
        if value is None or isinstance(value, int | float):
            return value
        if isinstance(value, BaseException) and chain is not None:
            chain.append(_stand_in(value))
            return chain[-1]
        is_text = isinstance(value, str | bytes)
        if not is_text and not isinstance(value, Mapping | list | tuple):
            return value if type(value).__module__ == "datetime" else f"<{type(value).__name__}>"
        size = len(cast("list[object]", value))
        budget[0] -= min(size, KEPT) if is_text else _ITEM_SIZE * size
        if depth == 0 or budget[0] < 0:
            return "..."
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bytes):
            return self.text(value.decode("latin-1")).encode("latin-1")
        if isinstance(value, Mapping):
            return {
                self._data(key, None, 1, budget): _MASK
                if isinstance(key, str) and _SECRET_KEY.search(key)
                else self._data(item, chain, depth - 1, budget)
                for key, item in cast("Mapping[Any, Any]", value).items()  # type: ignore[redundant-cast]
            }
        items = [self._data(item, chain, depth - 1, budget) for item in cast("list[Any]", value)]
        return tuple(items) if isinstance(value, tuple) else items

    def _known(self, text: str) -> str:
        """Return the text with each secret replaced that is in it as it is, or in base64."""
        for form in self._forms:
            if form in text:
                # A short one, such as the key "test" of a local service, only as a word of its own.
                edges = ("", "") if len(form) >= _MIN_PART else (r"(?<![^\W_])", r"(?![^\W_])")
                text = re.sub(re.escape(form).join(edges), _MASK, text)
        return text

    def _hides_secret(self, text: str) -> bool:
        """Return whether there is a secret in the text without its escapes, or without its line breaks."""
        for _ in range(_MAX_ESCAPES):
            if not any(map(text.__contains__, "\\%&\n")):
                return False
            text = _ESCAPES.sub(_unescaped, text)
            # JSON escapes a character beyond the first 65,536 as a pair.
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            joined = "".join(map(str.strip, text.splitlines()))
            if self._known(text) != text or self._known(joined) != joined:
                return True
        return False


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
    """Return the secrets as they are, and in base64, the longest first."""
    forms: set[str] = set()
    for secret in secrets:
        raw = secret.encode(errors="replace")
        # The escapes of URLs and of Python's bytes are of UTF-8, and forms in URLs have "+" for a space. A
        # secret may look as if it had escapes.
        for spelled in (secret, secret.replace(" ", "+"), raw.decode("latin-1")):
            forms |= {spelled, _ESCAPES.sub(_unescaped, spelled)}
        # In base64, what precedes the secret shifts it by 0, 8, or 16 bits. Drop the characters that also
        # depend on its neighbors.
        for shift, first in ((0, 0), (1, 2), (2, 3)):
            form = b64encode(bytes(shift) + raw).decode()[first : 8 * (shift + len(raw)) // 6]
            if len(form) >= _MIN_PART:
                forms |= {form, form.replace("+", "-").replace("/", "_")}
    return tuple(sorted((form for form in forms if len(form) >= _MIN_LENGTH), key=len, reverse=True))


def _unescaped(escape: re.Match[str]) -> str:
    text = escape[0]
    if text[0] == "&":
        return unescape(text)
    if len(text) > 2:  # noqa: PLR2004 (with a backslash and one character, there are no digits)
        return chr(int(text.lstrip("\\%uxU"), base=16))
    return "\n" if text[1] in "nrt" else text[1]


@lru_cache(maxsize=256)
def _slots(cls: type[BaseException]) -> list[str]:
    """Return the attributes of an exception beside its ``__dict__``, such as ``OSError.filename``."""
    slots = (GetSetDescriptorType, MemberDescriptorType)
    names = [name for name in dir(cls) if isinstance(getattr(cls, name, None), slots)]
    return [name for name in names if not name.startswith("__") or name in ("__cause__", "__context__")]


def _stand_in(error: BaseException) -> BaseException:
    """Return the exception, or a plain one for a class that keeps data where it cannot be masked."""
    # Or data that is a secret as a whole: the file or the output that could not be parsed.
    if isinstance(error, _HOLDS_INPUT):
        reason = str(getattr(cast("Any", error), "reason", None) or "invalid value")
        return ValueError(f"{type(cast('object', error)).__name__}: {reason}")
    return error


PATTERNS_ONLY: Final = Masker()
"""Masks only what the patterns find, for texts that do not belong to a call."""
