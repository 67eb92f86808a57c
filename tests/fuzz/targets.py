"""The targets by name: each accepts any bytes, and raises only if a promise is violated."""

from collections.abc import Callable, Mapping
from typing import Final

from .requests import request
from .responses import response, wire
from .values import arguments, model

TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    "response": response,
    "wire": wire,
    "request": request,
    "model": model,
    "arguments": arguments,
}
