"""What every test stands on: an environment without AWS in it, a local service, and clients for it."""

import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from cloudhsm_restore import RestoreClient
from cloudhsm_restore.testing import LocalCloudHsm

from .clients import make_async_client, make_sync_client
from .raw_server import RawServer

settings.register_profile("any machine", deadline=None)  # how long an example takes decides nothing
settings.load_profile("any machine")

# In the background of a shell SIGINT is ignored, and so it would be in what tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--update-docs`` writes what the blocks of the pages print into the pages."""
    parser.addoption("--update-docs", action="store_true", help="write what the pages' blocks print")


@pytest.fixture(autouse=True)
def _no_aws_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") or name.upper() in _PROXIES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    # The command line in the process of a test adds a handler.
    monkeypatch.setattr(logging.getLogger("cloudhsm_restore"), "handlers", [logging.NullHandler()])
    monkeypatch.setattr(logging.getLogger("cloudhsm_restore"), "level", logging.NOTSET)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials and a region, as a user's environment has them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "for-tests-only")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def service() -> Iterator[LocalCloudHsm]:
    """A local service."""
    with LocalCloudHsm() as service:
        yield service


@pytest.fixture
def raw_server() -> Iterator[RawServer]:
    """A server that answers with the very bytes that a test gives it."""
    with RawServer() as server:
        yield server


def connections(service: LocalCloudHsm) -> int:
    """How many connections the service has open."""
    assert service._server is not None
    return len(service._server.connections)


MakeClient = Callable[..., RestoreClient]


@pytest.fixture(params=["sync", "async"])
def make_client(request: pytest.FixtureRequest) -> Iterator[MakeClient]:
    """Makes clients of both kinds in turn: ``make_client(endpoint_url, **options_of_botocores_config)``.

    The asynchronous one can be called like a `RestoreClient`, so that one source tests both.
    """
    yield from _maker(make_async_client if request.param == "async" else make_sync_client)


@pytest.fixture
def make_blocking_client() -> Iterator[MakeClient]:
    """Makes `RestoreClient`s only, for what an event loop does not have."""
    yield from _maker(make_sync_client)


def _maker(make_one: Callable[[str, Mapping[str, Any]], Any]) -> Iterator[MakeClient]:
    made: list[Any] = []

    def make(endpoint_url: str, **options: object) -> Any:
        client = make_one(endpoint_url, options)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()
