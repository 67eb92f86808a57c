"""1,000 restores on one event loop, 8 at a time: pyperf's measure of ours and of raw aiobotocore (``make bench``).

Over a socket to ``benchmarks.server``, in the environment that has aiobotocore.
"""

import asyncio
import os

import pyperf
from aiobotocore.session import get_session

from benchmarks.server import BACKUP
from cloudhsm_restore.aio import AsyncRestoreClient

MANY, AT_A_TIME = 1_000, 8
BACKUP_ID = BACKUP["BackupId"]


async def ours() -> None:
    async with AsyncRestoreClient() as client:
        results = client.restore_backups([BACKUP_ID] * MANY, max_workers=AT_A_TIME)
        assert sum([result.ok async for result in results]) == MANY


async def raw() -> None:
    waiting = iter([BACKUP_ID] * MANY)
    ready = 0
    async with get_session().create_client("cloudhsmv2") as client:

        async def work() -> None:
            nonlocal ready
            for backup_id in waiting:
                answer = await client.restore_backup(BackupId=backup_id)
                ready += answer["Backup"]["BackupState"] == "READY"

        await asyncio.gather(*(work() for _ in range(AT_A_TIME)))
    assert ready == MANY


if __name__ == "__main__":
    runner = pyperf.Runner()
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    runner.bench_async_func("1,000 restores, aiobotocore", raw)
    runner.bench_async_func("1,000 restores, ours", ours)
