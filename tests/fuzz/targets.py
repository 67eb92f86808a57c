"""The targets by name: each takes any bytes, and raises only where something is wrong."""

from collections.abc import Callable, Mapping
from typing import Final

from .answers import answer, wire
from .requests import request
from .values import arguments, model

TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    "answer": answer,
    "wire": wire,
    "request": request,
    "model": model,
    "arguments": arguments,
}
