"""The same application in an event loop. Type checkers read it; it is never run."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Self, assert_type

from typing_extensions import override

from cloudhsm_restore import Backup, BackupState, RestoreError, RestoreResult
from cloudhsm_restore.aio import AsyncRestoreClient

assert_type(AsyncRestoreClient(), AsyncRestoreClient)
AsyncRestoreClient(None)
AsyncRestoreClient(session=None, region_name="eu-central-1", endpoint_url=None, config=None)


async def restore(backup_id: str) -> Backup:
    async with AsyncRestoreClient(region_name="eu-central-1") as client:
        assert_type(client, AsyncRestoreClient)
        assert_type(await client.restore_backup(backup_id), Backup)
        assert_type(await client.get_backup(backup_id), Backup)
        async with asyncio.timeout(60):
            backup = await client.ensure_restored(backup_id, never_expires=True, timeout=30)
        assert_type(backup, Backup)
        return backup


async def pending(client: AsyncRestoreClient) -> AsyncIterator[Backup]:
    backups = client.describe_backups(states=[BackupState.PENDING_DELETION, "READY"], never_expires=False)
    assert_type(backups, AsyncGenerator[Backup, None])
    async for backup in backups:
        assert_type(backup, Backup)
        yield backup
    assert_type([found.backup_state async for found in client.describe_backups()], list[BackupState | None])


async def restore_many(client: AsyncRestoreClient, backup_ids: Iterable[str]) -> list[RestoreError]:
    results = client.restore_backups(backup_ids, never_expires=None, max_workers=2, timeout=0.5)
    assert_type(results, AsyncGenerator[RestoreResult, None])
    return [result.error async for result in results if result.error]


async def restore_all_pending(client: AsyncRestoreClient) -> None:
    async def backup_ids() -> AsyncIterator[str]:
        async for backup in pending(client):
            yield backup.backup_id

    async with aclosing(client.restore_backups(backup_ids())) as results:
        async for result in results:
            assert_type(result, RestoreResult)
            assert_type(result.unwrap(), Backup)
    await client.close()


async def restore_two(client: AsyncRestoreClient) -> None:
    one, two = await asyncio.gather(
        client.ensure_restored("backup-a2b3c4d5e6f"),
        client.get_backup("backup-b2c3d4e5f6g"),
    )
    assert_type(one, Backup)
    assert_type(two, Backup)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(client.restore_backup("backup-a2b3c4d5e6f"))
    assert_type(task.result(), Backup)


class AuditedClient(AsyncRestoreClient):
    """A subclass of the client."""

    @override
    async def restore_backup(self, backup_id: str) -> Backup:
        return await super().restore_backup(backup_id)

    def itself(self) -> Self:
        return self


async def with_a_subclass() -> None:
    async with AuditedClient() as audited:
        assert_type(audited, AuditedClient)
        assert_type(audited.itself(), AuditedClient)
