"""1,000 restores on one event loop, 8 at a time: pyperf on ours and on raw aiobotocore (``make bench``).

Over a socket to ``benchmarks.server``, in the environment that has aiobotocore. Ours and theirs take turns, 100
restores each time; what pyperf is given as seconds is a ratio, as in ``benchmarks.inside``.
"""

import asyncio
import os
from time import perf_counter
from typing import Any

import pyperf
from aiobotocore.session import get_session

from benchmarks.server import BACKUP
from cloudhsm_restore.aio import AsyncRestoreClient

MANY, EACH_TURN, AT_A_TIME = 1_000, 100, 8
BACKUP_ID = BACKUP["BackupId"]


async def ours(client: AsyncRestoreClient) -> None:
    results = client.restore_backups([BACKUP_ID] * EACH_TURN, max_workers=AT_A_TIME)
    assert sum([result.ok async for result in results]) == EACH_TURN


async def theirs(client: Any) -> None:
    waiting = iter([BACKUP_ID] * EACH_TURN)
    ready = 0

    async def work() -> None:
        nonlocal ready
        for backup_id in waiting:
            answer = await client.restore_backup(BackupId=backup_id)
            ready += answer["Backup"]["BackupState"] == "READY"

    await asyncio.gather(*(work() for _ in range(AT_A_TIME)))
    assert ready == EACH_TURN


async def beside() -> float:
    our_time = their_time = 0.0
    async with AsyncRestoreClient() as client, get_session().create_client("cloudhsmv2") as raw:
        await ours(client)
        await theirs(raw)
        for _ in range(MANY // EACH_TURN):
            began = perf_counter()
            await ours(client)
            between = perf_counter()
            await theirs(raw)
            our_time += between - began
            their_time += perf_counter() - between
    return our_time / their_time


if __name__ == "__main__":
    runner = pyperf.Runner()
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    runner.bench_time_func("1,000 restores", lambda loops: asyncio.run(beside()) * loops)
