"""What masks credentials in all that this library shows, raises or logs."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, cast

_NAMES: Final = (
    "(?:security|session)[ _-]?token|secret(?:[ _-]?access)?[ _-]?key"
    "|password|authorization|signature|cookie"
)  # fmt: skip
# Flags, pattern, mask. They are compiled when the first is needed, which few processes come to.
_SECRETS: Final = (
    (re.NOFLAG, r"(?<=//)[^/\s'\"]+@", "***@"),
    # A password with a character in it that should have been escaped; but host:port/path is none.
    (re.NOFLAG, r"(?<=//)[^/\s:@'\"]*:(?!\d+(?:[/?#\s]|['\"](?![^\s@]*@)|$))[^@\n]*@", "***@"),
    (
        re.NOFLAG,
        r"(Failed to parse: |as integer value: |to integer value as )(?:'[^']*'|\S+)",
        r"\1***",
    ),
    (re.DOTALL, r"(['\"]).*\1(?= does not appear to be an IP)", "***"),  # what stands in brackets in a URL
    (re.DOTALL, r"(Invalid header value )(b?'.*'|b?\".*\")", r"\1***"),
    (
        re.IGNORECASE,
        rf"({_NAMES})(['\"]?\s*[:=>]\s*(?:b?['\"])?)(?:(?:basic|bearer|digest)\s+)?[^\s'\",;&<]+",
        r"\1\2***",
    ),
)
_HINTS: Final = (
    "//", "failed to parse", "integer value", "does not appear", "invalid header value",
    "token", "key", "password", "authorization", "signature", "cookie",
)  # fmt: skip
"""Where there is none of these there is nothing to mask, and looking for them is faster by far."""


@lru_cache(maxsize=256)
def _is_secret(key: str) -> bool:
    return re.search(_NAMES, key, re.IGNORECASE) is not None


def redacted(value: Any) -> Any:
    """The same value with the secrets in its strings masked.

    They get there when a URL carries a password, when a token that cannot be a header is quoted, and when
    AWS answers a bad signature with the request that it saw, security token included.
    """
    shown = (value if isinstance(value, str) else repr(value)).lower()
    return _masked(value) if any(map(shown.__contains__, _HINTS)) else value


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        for flags, pattern, mask in _SECRETS:
            value = re.sub(pattern, mask, value, flags=flags)
        return value
    if isinstance(value, bytes):
        return _masked(value.decode("latin-1")).encode("latin-1")
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {
            key: "***" if isinstance(item, str) and _is_secret(str(key)) else _masked(item)
            for key, item in items
        }
    if isinstance(value, list):
        return [_masked(item) for item in cast("list[object]", value)]
    return value
