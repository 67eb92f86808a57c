"""Clients for tests: short timeouts, one try unless a test asks for more, and waits that take no time."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import boto3
from botocore.config import Config

from cloudhsm_restore import RestoreClient
from cloudhsm_restore.client import Pace

OPTIONS: Mapping[str, Any] = {
    "proxies": {},
    "connect_timeout": 2,
    "read_timeout": 2,
    "retries": {"total_max_attempts": 1},
}


def config(**options: Any) -> Config:
    """botocore's config for tests, with a test's own options before the usual ones."""
    return Config(**(dict(OPTIONS) | options))


class SimulatedPace(Pace):
    """A pace whose clock goes forward only by sleeping."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        super().sleep(0.0)
        self.time += seconds


class SimulatedClient(RestoreClient):
    """A client that does not sleep. ``paces`` are those of its calls."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.paces: list[SimulatedPace] = []

    def _pace(self) -> Pace:
        self.paces.append(SimulatedPace())
        return self.paces[-1]


@cache
def _session() -> boto3.Session:
    # One for all: the first client of a session takes fifteen times as long as the next.
    return boto3.Session("AKIAIOSFODNN7EXAMPLE", "for-tests-only", region_name="us-east-1")


def make_sync_client(endpoint_url: str, options: Mapping[str, Any]) -> SimulatedClient:
    """A client of a session that has credentials and a region."""
    return SimulatedClient(session=_session(), endpoint_url=endpoint_url, config=config(**options))
