"""The targets by name: each accepts any bytes, and raises only if a promise is violated."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Final, NamedTuple

from . import mutation
from .errors import error
from .mutation import Plain
from .requests import request
from .responses import response, wire
from .values import arguments, model


class Target(NamedTuple):
    """What is fuzzed, and how."""

    title: str
    """What the page about the tests calls it."""
    share: int
    """Its part of the time: more where a finding is more likely, and where the state is larger."""
    run: Callable[[bytes], None]
    mutate: Callable[[bytes, Random, Plain], bytes]


TARGETS: Final[Mapping[str, Target]] = {
    "response": Target("responses as boto3 returns them, several in a row", 7, response, mutation.script),
    "error": Target("exceptions in any shape, nested", 4, error, mutation.error),
    "wire": Target("bytes on the connection", 4, wire, mutation.wire_script),
    "request": Target("requests to `LocalCloudHsm`", 3, request, mutation.request),
    "arguments": Target("endpoints, regions, IDs, and filters", 1, arguments, mutation.arguments),
    "model": Target("JSON as a `Backup`", 1, model, mutation.model),
}
