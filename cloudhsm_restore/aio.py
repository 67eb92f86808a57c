"""`AsyncRestoreClient`: the way from a backup ID through aiobotocore to a `Backup` (extra ``async``)."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterable, Collection, Coroutine, Iterable
from contextlib import AsyncExitStack, aclosing
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

from ._arguments import (
    UntypedClient,
    check_backup_id,
    check_client,
    check_endpoint,
    check_many,
    check_options,
    check_session,
    describe_requests,
    pool_size,
)
from ._boundary import Call, absent, identify, watch
from ._procedure import Ask, Exempt, Restore, RestoreResult, Restoring, Step, Throttle, Wait, log_settled
from .exceptions import RestoreError
from .models import Backup, BackupState

try:
    from aiobotocore.session import get_session
except ImportError as _error:
    raise ImportError(
        "AsyncRestoreClient needs aiobotocore and the botocore that it fits: "
        "pip install 'cloudhsm-restore[async]'",
        name=_error.name,
    ) from _error

if TYPE_CHECKING:
    from aiobotocore.session import AioSession
    from botocore.config import Config
    from types_aiobotocore_cloudhsmv2 import CloudHSMV2Client

__all__ = ["AsyncRestoreClient"]


class AsyncRestoreClient:
    """`RestoreClient` for asyncio: the same names, results and exceptions, through aiobotocore.

    ``async with AsyncRestoreClient() as client`` finds everything as `RestoreClient` does, and tasks may
    share it. It belongs to the event loop in which it is first used, until it is closed.

    A call can be cancelled at any moment, by ``asyncio.timeout`` too, and leaves no task and no connection
    behind. If RestoreBackup was under way, the log says so in a warning, for its outcome is unknown then.
    """

    @overload
    def __init__(self, client: "CloudHSMV2Client | UntypedClient") -> None: ...

    @overload
    def __init__(
        self,
        client: None = None,
        *,
        session: "AioSession | None" = None,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        config: "Config | None" = None,
    ) -> None: ...

    def __init__(
        self,
        client: "CloudHSMV2Client | UntypedClient | None" = None,
        *,
        session: "AioSession | None" = None,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        config: "Config | None" = None,
    ) -> None:
        """Wrap an aiobotocore client, or make one: on entering ``async with``, or else at the first call.

        Args:
            client: an open aiobotocore ``cloudhsmv2`` client; it stays yours to close. Nothing else may be
                given with it.
            session: the aiobotocore session to make a client from; a new one without it.
            region_name: the AWS Region; without it, the session's.
            endpoint_url: another endpoint; without it, what the environment or the profile says, or AWS's.
            config: botocore's ``Config`` or aiobotocore's ``AioConfig``.

        Raises:
            TypeError: ``client`` was given together with something else, or is no aiobotocore client;
                ``session`` is no session.
        """
        check_session(session, "create_client")
        self._is_ours = client is None
        self._client: CloudHSMV2Client | None = None
        self._opening = asyncio.Lock()
        self._make = partial(_make_client, session, region_name, endpoint_url, config)
        if client is not None:
            self._client = checked = check_client(
                client, session, region_name, endpoint_url, config, asynchronous=True
            )
            if hasattr(checked, "meta"):  # a fake may do without
                watch(checked.meta.events)

    async def restore_backup(self, backup_id: str) -> Backup:
        """Ask once for the backup to be restored, as `RestoreClient.restore_backup` does.

        Args:
            backup_id: the ID of the backup, not its ARN.

        Returns:
            The backup as the service describes it now.

        Raises:
            RestoreError: as for `RestoreClient.restore_backup`, and `ConfigurationError` where no client can
                be made. Look at ``outcome_unknown``.
        """
        check_backup_id(backup_id, "RestoreBackup")
        client = await self._open()
        with Call("RestoreBackup", backup_id) as call:
            return call.backup(await client.restore_backup(BackupId=backup_id))

    async def get_backup(self, backup_id: str) -> Backup:
        """Look at one backup, in whatever state it is: DescribeBackups with its ID.

        Args:
            backup_id: the ID of the backup, not its ARN.

        Raises:
            ResourceNotFoundError: there is no such backup in this account and region.
            RestoreError: as for `restore_backup`.
        """
        check_backup_id(backup_id, "DescribeBackups")
        others = 0
        async with aclosing(self._described(describe_requests(backup_ids=[backup_id]), backup_id)) as backups:
            async for backup in backups:
                if backup.backup_id == backup_id:
                    return backup
                others += 1
        raise absent(backup_id, others)

    def describe_backups(
        self,
        *,
        states: Iterable[BackupState | str] = (),
        cluster_ids: Iterable[str] = (),
        backup_ids: Iterable[str] = (),
        source_backup_ids: Iterable[str] = (),
        never_expires: bool | None = None,
    ) -> AsyncGenerator[Backup, None]:
        """List backups with ``async for``, page by page, as `RestoreClient.describe_backups` does.

        Args:
            states: only backups in these states; as for `RestoreClient.describe_backups`.
            cluster_ids: only backups of these clusters.
            backup_ids: only these backups; one that does not exist is left out.
            source_backup_ids: only copies of these backups.
            never_expires: only backups that are exempt from the retention policy, or only those that are not.

        Raises:
            ParameterError: an argument cannot be used; raised at once.
            RestoreError: as for `restore_backup`, while iterating.
        """
        requests = describe_requests(
            states=states,
            cluster_ids=cluster_ids,
            backup_ids=backup_ids,
            source_backup_ids=source_backup_ids,
            never_expires=never_expires,
        )
        return self._described(requests, None)

    async def ensure_restored(
        self, backup_id: str, *, never_expires: bool | None = None, timeout: float = 300.0
    ) -> Backup:
        """Bring the backup to READY, by the same procedure as `RestoreClient.ensure_restored`.

        After a cancellation or an ``asyncio.timeout``, calling it again finds out what became of the backup.

        Args:
            backup_id: the ID of the backup, not its ARN.
            never_expires: True exempts the backup from its cluster's retention policy afterwards, False takes
                that back, None leaves it.
            timeout: seconds after which nothing is tried again or waited for. What it takes to know the
                outcome of the last try still follows, and the exemption; aiobotocore's timeouts end each
                call. ``asyncio.timeout`` ends that too, but without an answer.

        Returns:
            The backup, which is READY.

        Raises:
            RestoreError: as for `RestoreClient.ensure_restored`.
        """
        check_options(never_expires, timeout)
        return await self._ensure_restored(backup_id, never_expires, timeout, self._pace())

    def restore_backups(
        self,
        backup_ids: Iterable[str] | AsyncIterable[str],
        *,
        never_expires: bool | None = None,
        max_workers: int = 8,
        timeout: float = 300.0,
    ) -> AsyncGenerator[RestoreResult, None]:
        """`ensure_restored` for many, as `RestoreClient.restore_backups`, with ``async for``.

        Unlike there, closing the iterator, a cancellation, or an exception in ``backup_ids`` cancels what is
        in flight. A ``break`` alone closes it only once the event loop gets to it; at once with::

            async with contextlib.aclosing(client.restore_backups(backup_ids)) as results:
                async for result in results: ...

        Args:
            backup_ids: IDs of backups, from an iterable or an asynchronous one. They are taken in one task
                of their own, and no further ahead than ``max_workers``.
            never_expires: as for `ensure_restored`.
            max_workers: how many at a time; never more than the client's connection pool holds, which is 10
                unless ``Config(max_pool_connections=...)`` says otherwise.
            timeout: seconds for each backup, from when its turn comes.

        Raises:
            ParameterError: an argument other than a single ID cannot be used; raised at once.
            ConfigurationError: no client can be made; raised while iterating.
        """
        check_options(never_expires, timeout)
        check_many(backup_ids, max_workers, Iterable, AsyncIterable)
        source = backup_ids if isinstance(backup_ids, AsyncIterable) else iter(backup_ids)
        return self._restored(source, never_expires, max_workers, timeout)

    async def close(self) -> None:
        """Close the connections of a client that was made here; a client that was given stays as it is.

        If it is used again, also in another event loop, a new client is made.
        """
        if self._is_ours:
            client, self._client, self._opening = self._client, None, asyncio.Lock()
            if client is not None:
                await client.close()

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _open(self) -> "CloudHSMV2Client":
        if self._client is None:
            async with self._opening:
                if self._client is None:
                    self._client = await self._make()
        return self._client

    def _pace(self) -> "AsyncPace":
        return AsyncPace()  # a seam: tests put another clock here

    async def _described(
        self, requests: list[dict[str, Any]], backup_id: str | None
    ) -> AsyncGenerator[Backup, None]:
        client = await self._open()
        for request in requests:
            tokens: set[str] = set()
            while True:
                with Call("DescribeBackups", backup_id) as call:
                    page, token = call.page(await client.describe_backups(**request), tokens)
                for backup in page:
                    yield backup
                if token is None:
                    break
                request["NextToken"] = token

    async def _ensure_restored(
        self, backup_id: str, never_expires: bool | None, timeout: float, pace: "AsyncPace"
    ) -> Backup:
        check_backup_id(backup_id, "RestoreBackup")
        run = Restoring(
            backup_id, never_expires=never_expires, timeout=timeout, now=pace.now(), random=random.random
        )
        step = run.first
        while True:
            outcome: Backup | RestoreError | None = None
            await pace.before(step, run.deadline)
            try:
                match step:
                    case Wait():
                        pass
                    case Restore():
                        outcome = await self.restore_backup(backup_id)
                    case Ask():
                        outcome = await self.get_backup(backup_id)
                        log_settled(outcome, step.because)
                    case Exempt():
                        outcome = await self._modify_backup_attributes(backup_id, step.never_expires)
            except RestoreError as error:
                outcome = error
            following = run.after(step, outcome, pace.now())
            if isinstance(following, Backup):
                return following
            step = following

    async def _modify_backup_attributes(self, backup_id: str, never_expires: bool) -> Backup:
        client = await self._open()
        with Call("ModifyBackupAttributes", backup_id) as call:
            return call.backup(
                await client.modify_backup_attributes(BackupId=backup_id, NeverExpires=never_expires)
            )

    async def _restored(
        self,
        backup_ids: Iterable[str] | AsyncIterable[str],
        never_expires: bool | None,
        max_workers: int,
        timeout: float,
    ) -> AsyncGenerator[RestoreResult, None]:
        pace = self._pace()
        room = asyncio.Semaphore(min(max_workers, pool_size(await self._open())))
        tasks: set[asyncio.Task[RestoreResult | None]] = set()
        finished: asyncio.Queue[asyncio.Task[RestoreResult | None]] = asyncio.Queue()

        def begin(work: Coroutine[Any, Any, RestoreResult | None]) -> None:
            task = asyncio.create_task(work)
            tasks.add(task)
            task.add_done_callback(finished.put_nowait)

        async def take() -> None:
            # In a task of its own, so that a slow source keeps no result back.
            if isinstance(backup_ids, AsyncIterable):
                async for backup_id in backup_ids:
                    await room.acquire()
                    begin(restore(backup_id))
            else:
                for backup_id in backup_ids:
                    await room.acquire()
                    begin(restore(backup_id))

        async def restore(backup_id: str) -> RestoreResult:
            try:
                backup = await self._ensure_restored(backup_id, never_expires, timeout, pace)
                return RestoreResult(backup_id, backup)
            except RestoreError as error:
                return RestoreResult(backup_id, error=error)

        try:
            begin(take())
            while tasks:
                task = await finished.get()
                tasks.discard(task)
                result = task.result()  # a bug, a misused Stubber and the source's exception are the caller's
                if result is not None:
                    room.release()
                    yield result
        finally:
            await _end(tasks)


async def _end(tasks: Collection["asyncio.Task[Any]"]) -> None:
    """Cancel the tasks and see them end, even if this is cancelled meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    for task in tasks:
        task.cancel()
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
    for task in tasks:
        if not task.cancelled():
            task.exception()  # it has been looked at, and asyncio need not complain
    if cancelled is not None:
        raise cancelled


class AsyncPace:
    """`cloudhsm_restore.client.Pace` for tasks, which are cancelled where threads are stopped."""

    def __init__(self) -> None:
        self._throttle = Throttle()

    def now(self) -> float:
        """Seconds on a clock that only goes forward."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    async def before(self, step: Step, deadline: float) -> None:
        """Wait as ``step`` says, or until it may be carried out; not beyond the deadline."""
        while (seconds := self._throttle.delay(step, self.now(), deadline)) > 0:
            await self.sleep(seconds)
            if isinstance(step, Wait):
                return


async def _make_client(
    session: "AioSession | None",
    region_name: str | None,
    endpoint_url: str | None,
    config: "Config | None",
) -> "CloudHSMV2Client":
    with Call(None):
        async with AsyncExitStack() as opened:
            client: CloudHSMV2Client = await opened.enter_async_context(
                (session or get_session()).create_client(
                    "cloudhsmv2",
                    region_name=region_name,
                    endpoint_url=endpoint_url,
                    config=config,
                )
            )
            check_endpoint(client.meta.endpoint_url)
            identify(client.meta.events)
            watch(client.meta.events)
            opened.pop_all()
            return client
