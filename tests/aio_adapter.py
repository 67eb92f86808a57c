"""The blocking face of an `AsyncRestoreClient`, so that one source of tests runs against both clients."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator, Mapping
from functools import cache
from types import TracebackType
from typing import Any, Self, TypeVar

from aiobotocore.session import AioSession, get_session

from cloudhsm_restore import Backup, RestoreResult
from cloudhsm_restore.aio import AsyncPace, AsyncRestoreClient
from cloudhsm_restore.testing import LocalCloudHsm

from .campaign import OPTIONS, Clients, retry_without_sleep
from .clients import config

T = TypeVar("T")


class SimulatedAsyncPace(AsyncPace):
    """A pace whose clock goes forward only by sleeping."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        await super().sleep(0.0)
        self.time += seconds


class SimulatedAsyncClient(AsyncRestoreClient):
    """A client that does not sleep. ``paces`` are those of its calls."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.paces: list[SimulatedAsyncPace] = []

    def _pace(self) -> AsyncPace:
        self.paces.append(SimulatedAsyncPace())
        return self.paces[-1]


class BlockingClient:
    """An `AsyncRestoreClient` with an event loop of its own, in debug mode, to call like a `RestoreClient`.

    `close` fails if a task is left.
    """

    def __init__(self, client: SimulatedAsyncClient) -> None:
        self._async = client
        self._loop = asyncio.new_event_loop()
        self._loop.set_debug(True)
        self._loop.slow_callback_duration = 10  # botocore loads its models in the loop
        self._thread = threading.Thread(target=self._loop.run_forever, name="BlockingClient", daemon=True)
        self._thread.start()

    @property
    def _client(self) -> Any:
        return self._run(self._async._open())  # pyright: ignore[reportPrivateUsage]

    @property
    def paces(self) -> list[SimulatedAsyncPace]:
        """The paces of the calls so far."""
        return self._async.paces

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
        self._run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        assert not left

    def __enter__(self) -> Self:
        self._run(self._async.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
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
def _session() -> AioSession:
    session = get_session()
    session.set_credentials("AKIAIOSFODNN7EXAMPLE", "for-tests-only")
    return session


def make_async_client(endpoint_url: str, options: Mapping[str, Any]) -> BlockingClient:
    """A client of a session that has credentials and a region."""
    client = SimulatedAsyncClient(
        session=_session(), region_name="us-east-1", endpoint_url=endpoint_url, config=config(**options)
    )
    return BlockingClient(client)


class RecoveringAsync(SimulatedAsyncPace):
    """While it sleeps, the service comes back."""

    def __init__(self, service: LocalCloudHsm, recovers: bool) -> None:
        super().__init__()
        self._service, self._recovers = service, recovers

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        if self._recovers:
            self._service.listen()


class AsyncClients(Clients):
    """`Clients` of the campaign, with asynchronous ones as ours."""

    def _ours(self) -> dict[int, Any]:
        clients: dict[int, Any] = {}
        for attempts in self.boto3:
            client = make_async_client(self.service.endpoint_url, OPTIONS)
            client._client.meta.events.register_first(
                "needs-retry.cloudhsm-v2", retry_without_sleep(attempts)
            )
            clients[attempts] = client
        return clients

    def let_recover(self, client: Any, recovers: bool) -> None:
        client._async._pace = lambda: RecoveringAsync(self.service, recovers)

    def close(self) -> None:
        super().close()
        for client in self.ours.values():
            client.close()
