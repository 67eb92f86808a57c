"""The asynchronous client: `RestoreClient` for an event loop, with its calls in threads.

It has no transport of its own, so that its reports are those of `RestoreClient`. What it adds is
cancellation: a coroutine ends at once, and a thread sends nothing more, but it cannot leave an HTTP request
that it has sent.
"""
# pyright: reportPrivateUsage=false
# This module is the other half of client.py, and uses what the two share.

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from concurrent.futures import Future
from functools import partial
from typing import Any, ClassVar, Self, TypeVar

from ._backoff import Throttle
from ._threads import CallThreads
from ._validation import (
    DEFAULT_MAX_WORKERS,
    DEFAULT_TIMEOUT,
    check_batch,
    check_options,
    connection_limit,
    describe_requests,
)
from .client import ClientBase, RestoreClient, log_abandoned, result_of
from .exceptions import ClosedClientError
from .models import Backup, BackupState, RestoreResult

__all__ = ["AsyncRestoreClient"]

T = TypeVar("T")


class AsyncRestoreClient(ClientBase):
    """`RestoreClient` for asyncio: the same arguments, results, and exceptions.

    Calls run in threads of this client, at most as many as its connection pool holds. Tasks can share it,
    also in several event loops.

    A cancelled call, also by ``asyncio.timeout`` or `close`, raises ``CancelledError`` at once. Nothing is
    sent for it any more. An HTTP request in flight ends in its thread, and a warning in the log has its
    outcome.
    """

    _client_class: ClassVar[type[RestoreClient]] = RestoreClient  # Tests set one that waits in virtual time.

    def _set_up(self) -> None:
        self._sync = self._client_class(self._client)
        self._threads = CallThreads(connection_limit(self._client))
        self._calls: dict[asyncio.Future[Any], tuple[Future[Any], threading.Event, str | None]] = {}
        self._is_closed = False

    async def restore_backup(self, backup_id: str) -> Backup:
        """Call RestoreBackup once, with boto3's retries, as `RestoreClient.restore_backup` does.

        Permission: ``cloudhsm:RestoreBackup``.

        Args:
            backup_id: the ID of the backup, not its ARN.

        Returns:
            The backup as the service describes it.

        Raises:
            RestoreError: as for `RestoreClient.restore_backup`. Check ``outcome_unknown``.
        """
        return (await self._run(partial(self._sync._restore_backup, backup_id), backup_id)).backup

    async def get_backup(self, backup_id: str) -> Backup:
        """Describe one backup, in whatever state it is: DescribeBackups with its ID.

        Permission: ``cloudhsm:DescribeBackups``.

        Args:
            backup_id: the ID of the backup, not its ARN.

        Raises:
            ResourceNotFoundError: this account and region do not have the backup.
            RestoreError: as for `restore_backup`.
        """
        return await self._run(partial(self._sync.get_backup, backup_id))

    def describe_backups(
        self,
        *,
        states: Iterable[BackupState | str] = (),
        cluster_ids: Iterable[str] = (),
        backup_ids: Iterable[str] = (),
        source_backup_ids: Iterable[str] = (),
        never_expires: bool | None = None,
    ) -> AsyncGenerator[Backup, None]:
        """List backups with ``async for``, as `RestoreClient.describe_backups` does.

        Permission: ``cloudhsm:DescribeBackups``.

        Args:
            states: only backups in these states, as for `RestoreClient.describe_backups`.
            cluster_ids: only backups of these clusters.
            backup_ids: only these backups. One that does not exist is left out.
            source_backup_ids: only copies of these backups.
            never_expires: only backups that are exempt from the retention policy, or only those that are not.

        Raises:
            ParameterError: an argument is invalid; raised immediately.
            RestoreError: as for `restore_backup`, while iterating.
        """
        return self._iter_backups(
            describe_requests(states, cluster_ids, backup_ids, source_backup_ids, never_expires)
        )

    async def ensure_restored(
        self, backup_id: str, *, never_expires: bool | None = None, timeout: float = DEFAULT_TIMEOUT
    ) -> Backup:
        """Restore a backup and return it once it is READY, as `RestoreClient.ensure_restored` does.
        Idempotent.

        After a cancellation, call it again to find out the outcome.

        Permissions: ``cloudhsm:RestoreBackup``, ``cloudhsm:DescribeBackups``, and, for ``never_expires``,
        ``cloudhsm:ModifyBackupAttributes``.

        Args:
            backup_id: the ID of the backup, not its ARN.
            never_expires: True exempts the backup from its cluster's retention policy after the restore,
                False removes the exemption, and None leaves it unchanged.
            timeout: how long to keep retrying, in seconds, from when a thread is free. ``asyncio.timeout``
                bounds the call as well, but reports nothing.

        Returns:
            The backup, which is READY.

        Raises:
            RestoreError: as for `RestoreClient.ensure_restored`.
        """
        check_options(never_expires, timeout)
        restore = partial(self._sync._ensure_restored, backup_id, never_expires, timeout, Throttle())
        return (await self._run(restore, backup_id)).unwrap()

    def restore_backups(
        self,
        backup_ids: Iterable[str] | AsyncIterable[str],
        *,
        never_expires: bool | None = None,
        max_workers: int = DEFAULT_MAX_WORKERS,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> AsyncGenerator[RestoreResult, None]:
        """Call `ensure_restored` for many backups concurrently, as `RestoreClient.restore_backups` does.

        A ``break`` closes the iterator only when the event loop gets to it. To close it at once::

            async with contextlib.aclosing(client.restore_backups(backup_ids)) as results:
                async for result in results: ...

        Permissions: as for `ensure_restored`.

        Args:
            backup_ids: IDs of backups, from an iterable or an asynchronous one. It is read in one task, and
                no further ahead than ``max_workers``.
            never_expires: as for `ensure_restored`.
            max_workers: how many restores run at the same time, at most as many as the client's connection
                pool holds: 10 unless ``Config(max_pool_connections=...)`` says otherwise.
            timeout: seconds for each backup, from when its restore starts.

        Raises:
            ParameterError: an argument other than a single ID is invalid; raised immediately.
        """
        check_options(never_expires, timeout)
        check_batch(backup_ids, max_workers, Iterable, AsyncIterable)
        workers = min(max_workers, connection_limit(self._client))
        source = aiter(backup_ids) if isinstance(backup_ids, AsyncIterable) else _iterate(backup_ids)
        restore = partial(self._sync._ensure_restored, never_expires=never_expires, timeout=timeout)
        return self._iter_results(source, restore, workers)

    async def close(self) -> None:
        """Cancel the calls of this client, and close the connections unless its boto3 client was passed.

        Requests in flight end in their threads. A call of a closed client raises an error.
        """
        self._is_closed = True
        for call, (_, cancelled, _) in [*self._calls.items()]:
            if (loop := call.get_loop()).is_closed():
                cancelled.set()
            else:
                loop.call_soon_threadsafe(_cancel, call, cancelled)
        self._close_client()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _start(self, function: Callable[[], T], restores: str | None) -> "asyncio.Future[T]":
        """Run the function in a thread. ``restores`` is the ID of the backup that it restores, if it does."""
        work, cancelled = Future[Any](), threading.Event()
        call: asyncio.Future[T] = asyncio.wrap_future(work)
        self._calls[call] = work, cancelled, restores
        # After the call is known to `close`, which may run in another event loop.
        if self._is_closed:
            del self._calls[call]
            raise ClosedClientError("this AsyncRestoreClient is closed", backup_id=restores)
        self._threads.submit(work, function, cancelled)
        return call

    def _abandon(self, call: "asyncio.Future[Any]") -> None:
        """Let a call send nothing more. The log gets the outcome of a restore that has started."""
        work, cancelled, restores = self._calls.pop(call)
        cancelled.set()
        if not work.cancel() and restores is not None:
            work.add_done_callback(partial(log_abandoned, restores))

    async def _run(self, function: Callable[[], T], restores: str | None = None) -> T:
        call = self._start(function, restores)
        try:
            return await call
        except (asyncio.CancelledError, GeneratorExit):
            self._abandon(call)
            raise
        finally:
            self._calls.pop(call, None)

    async def _iter_backups(self, requests: list[dict[str, Any]]) -> AsyncGenerator[Backup, None]:
        pages = self._sync._iter_pages(requests)
        while (page := await self._run(partial(next, pages, None))) is not None:
            for response in page:
                yield response.backup

    async def _iter_results(
        self, source: AsyncIterator[str], restore: Callable[..., RestoreResult], workers: int
    ) -> AsyncGenerator[RestoreResult, None]:
        slots, throttle = asyncio.Semaphore(workers), Throttle()
        finished: asyncio.Queue[asyncio.Future[Any]] = asyncio.Queue()
        pending: dict[asyncio.Future[Any], str] = {}
        is_closing = False

        async def feed() -> None:
            # All of it in one task: the source may enter a context, such as a timeout, that belongs to its
            # task.
            await slots.acquire()
            async for backup_id in source:
                if is_closing:  # The source has swallowed its cancellation.
                    return
                call = self._start(partial(restore, backup_id, throttle=throttle), backup_id)
                pending[call] = backup_id
                call.add_done_callback(finished.put_nowait)
                await slots.acquire()

        feeding = asyncio.create_task(feed())
        feeding.add_done_callback(finished.put_nowait)
        try:
            while pending or not is_closing:
                call = await finished.get()
                if call is feeding:
                    is_closing = True
                    feeding.result()  # An exception of the source, or a closed client, is the caller's.
                    continue
                result = result_of(pending[call], call)
                del pending[call], self._calls[call]
                slots.release()
                yield result
        finally:
            is_closing = True
            for call in pending:
                call.cancel()
                self._abandon(call)
            feeding.cancel()
            # Waits even if it is cancelled meanwhile, unlike `asyncio.wait`.
            await asyncio.gather(feeding, return_exceptions=True)


def _cancel(call: "asyncio.Future[Any]", cancelled: threading.Event) -> None:
    # In this order, or the thread could report first that it was cancelled.
    call.cancel()
    cancelled.set()


async def _iterate(backup_ids: Iterable[str]) -> AsyncGenerator[str, None]:
    for backup_id in backup_ids:
        yield backup_id
