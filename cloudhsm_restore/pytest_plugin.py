"""pytest fixtures for code that uses this library. pytest finds them by itself.

pytest loads this module in every project that has the library installed. So it imports nothing but pytest
until a test uses a fixture. ``pytest -p no:cloudhsm_restore`` switches it off.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .testing import AsyncRestoreStubber, LocalCloudHsm, RestoreStubber


class _TestFailedError(Exception):
    """The test has failed. Responses that it did not use would only distract from the reason."""


@pytest.fixture
def restore_stubber(request: pytest.FixtureRequest) -> "Iterator[RestoreStubber]":
    """A `RestoreStubber`. The test fails at its end if a queued response was not used."""
    from .testing import RestoreStubber

    failures = request.session.testsfailed
    with suppress(_TestFailedError), RestoreStubber() as stub:
        yield stub
        if request.session.testsfailed > failures:
            raise _TestFailedError


@pytest.fixture
def async_restore_stubber(request: pytest.FixtureRequest) -> "Iterator[AsyncRestoreStubber]":
    """An `AsyncRestoreStubber`. The test fails at its end if a queued response was not used.

    This is not an asynchronous fixture, so that it works with pytest-asyncio, with anyio, and without either.
    """
    import asyncio

    from .testing import AsyncRestoreStubber

    failures = request.session.testsfailed
    stub = AsyncRestoreStubber()
    yield stub
    failed = request.session.testsfailed > failures
    # The loop of the test may be closed, and asyncio.run would replace the current one of pytest-asyncio.
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(stub.__aexit__(_TestFailedError if failed else None))
    finally:
        loop.close()


@pytest.fixture
def local_cloudhsm(monkeypatch: pytest.MonkeyPatch) -> "Iterator[LocalCloudHsm]":
    """A `LocalCloudHsm`. The environment points clients to it that the code under test creates itself."""
    from .testing import LocalCloudHsm

    with LocalCloudHsm() as service:
        for name, value in service.environ.items():
            monkeypatch.setenv(name, value)
        yield service
