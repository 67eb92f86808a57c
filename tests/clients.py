"""Clients for tests: short timeouts, one attempt unless a test asks for more, and waits in virtual time."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Self, TypeVar

import boto3
from botocore.config import Config

from cloudhsm_restore import AsyncRestoreClient, Backup, RestoreClient, RestoreResult

T = TypeVar("T")

OPTIONS: Mapping[str, Any] = {
    "proxies": {},
    "connect_timeout": 2,
    "read_timeout": 2,
    "retries": {"total_max_attempts": 1},
}


def config(**options: Any) -> Config:
    """Return botocore's config for tests; a test's own options override the usual ones."""
    return Config(**(dict(OPTIONS) | options))


class VirtualTimeClient(RestoreClient):
    """A client whose waits end at once."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waits: list[float] = []
        """Seconds of each wait so far."""
        self.on_wait: Callable[[], object] = lambda: None
        """Called in each wait; for a service that comes back meanwhile."""

    def _sleep(self, seconds: float, cancelled: threading.Event) -> None:
        self.waits.append(seconds)
        self.on_wait()


class VirtualTimeAsyncClient(AsyncRestoreClient):
    """The same for asyncio."""

    _client_class = VirtualTimeClient


class BlockingClient:
    """An `AsyncRestoreClient` with an event loop of its own, in debug mode, to call like a `RestoreClient`.

    With it, one source of tests runs against both clients. `close` fails if a task is left.
    """

    def __init__(self, client: AsyncRestoreClient) -> None:
        self._async = client
        self._loop = asyncio.new_event_loop()
        self._loop.set_debug(True)
        self._thread = threading.Thread(target=self._loop.run_forever, name="BlockingClient", daemon=True)
        self._thread.start()

    @property
    def _client(self) -> Any:
        return self._async._sync._client

    @property
    def waits(self) -> list[float]:
        """Seconds of each wait so far."""
        client: Any = self._async._sync
        waits: list[float] = client.waits
        return waits

    def restore_backup(self, backup_id: str) -> Backup:
        return self._run(self._async.restore_backup(backup_id))

    def get_backup(self, backup_id: str) -> Backup:
        return self._run(self._async.get_backup(backup_id))

    def describe_backups(self, **filters: Any) -> Iterator[Backup]:
        return self._iterated(self._async.describe_backups(**filters))

    def ensure_restored(self, backup_id: str, **options: Any) -> Backup:
        return self._run(self._async.ensure_restored(backup_id, **options))

    def restore_backups(self, backup_ids: Iterable[str], **options: Any) -> Iterator[RestoreResult]:
        return self._iterated(self._async.restore_backups(backup_ids, **options))

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self._run(self._async.close())
        left = self._run(self._others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        assert not left

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _others(self) -> set[asyncio.Task[Any]]:
        return asyncio.all_tasks() - {asyncio.current_task()}

    def _iterated(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        async def following() -> T | None:
            return await anext(items, None)

        async def close() -> None:
            await items.aclose()

        try:
            while (item := self._run(following())) is not None:
                yield item
        finally:
            self._run(close())


@cache
def session() -> boto3.Session:
    """Return one session for all: its first client takes fifteen times as long as the next."""
    return boto3.Session("AKIAIOSFODNN7EXAMPLE", "for-tests-only", region_name="us-east-1")


def make_sync_client(endpoint_url: str, options: Mapping[str, Any]) -> VirtualTimeClient:
    """Create a client of a session that has credentials and a region."""
    return VirtualTimeClient(session=session(), endpoint_url=endpoint_url, config=config(**options))


def make_async_client(endpoint_url: str, options: Mapping[str, Any]) -> BlockingClient:
    """Create an asynchronous client of the same session, to call like a `RestoreClient`."""
    client = VirtualTimeAsyncClient(session=session(), endpoint_url=endpoint_url, config=config(**options))
    return BlockingClient(client)
