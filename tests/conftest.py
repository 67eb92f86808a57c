"""Fixtures for all tests: an environment without AWS, a local service, and clients for it."""

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

# Without a deadline, because a busy machine does not make an example wrong.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# A shell ignores SIGINT for its background jobs, and the processes that tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--update-docs``, which writes the output of the pages' blocks into the pages."""
    parser.addoption("--update-docs", action="store_true", help="write the output of the pages' blocks")


@pytest.fixture(autouse=True)
def _without_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") or name.upper() in _PROXIES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    # The command line adds a handler when a test runs it in this process.
    monkeypatch.setattr(logging.getLogger("cloudhsm_restore"), "handlers", [logging.NullHandler()])
    monkeypatch.setattr(logging.getLogger("cloudhsm_restore"), "level", logging.NOTSET)


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set credentials and a region in the environment, as a user has them."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "for-tests-only")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def service() -> Iterator[LocalCloudHsm]:
    """Start a local service."""
    with LocalCloudHsm() as service:
        yield service


@pytest.fixture
def raw_server() -> Iterator[RawServer]:
    """Start a server that responds with the bytes that a test gives it."""
    with RawServer() as server:
        yield server


def connections(service: LocalCloudHsm) -> int:
    """Return the number of connections that the service has open."""
    assert service._server is not None
    return len(service._server.connections)


MakeClient = Callable[..., RestoreClient]


@pytest.fixture(params=["sync", "async"])
def make_client(request: pytest.FixtureRequest) -> Iterator[MakeClient]:
    """Create a client of each kind in turn: ``make_client(endpoint_url, **options_of_botocores_config)``.

    The asynchronous one can be called like a `RestoreClient`, so that one test covers both.
    """
    yield from _maker(make_async_client if request.param == "async" else make_sync_client)


@pytest.fixture
def make_blocking_client() -> Iterator[MakeClient]:
    """Create `RestoreClient`s only, for tests that do not apply to an event loop."""
    yield from _maker(make_sync_client)


def _maker(make_one: Callable[[str, Mapping[str, Any]], Any]) -> Iterator[MakeClient]:
    clients: list[Any] = []

    def make(endpoint_url: str, **options: object) -> Any:
        client = make_one(endpoint_url, options)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()
