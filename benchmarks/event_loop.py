"""1,000 restores on one event loop, 8 concurrent ones, with pyperf: the library and aiobotocore (``make bench``).

Both use sockets to ``benchmarks.server``, in the environment that has aiobotocore. They alternate after 100
restores. The seconds that pyperf receives are a ratio, as in ``benchmarks.call_overhead``.
"""

import asyncio
import os
from time import perf_counter
from typing import Any

import pyperf
from aiobotocore.session import get_session

from benchmarks.server import BACKUP
from cloudhsm_restore.aio import AsyncRestoreClient

TOTAL, EACH_TURN, CONCURRENT = 1_000, 100, 8
BACKUP_ID = BACKUP["BackupId"]


async def run_library(client: AsyncRestoreClient) -> None:
    results = client.restore_backups([BACKUP_ID] * EACH_TURN, max_workers=CONCURRENT)
    assert sum([result.ok async for result in results]) == EACH_TURN


async def run_aiobotocore(client: Any) -> None:
    remaining = iter([BACKUP_ID] * EACH_TURN)
    ready = 0

    async def work() -> None:
        nonlocal ready
        for backup_id in remaining:
            response = await client.restore_backup(BackupId=backup_id)
            ready += response["Backup"]["BackupState"] == "READY"

    await asyncio.gather(*(work() for _ in range(CONCURRENT)))
    assert ready == EACH_TURN


async def ratio() -> float:
    library_time = raw_time = 0.0
    async with AsyncRestoreClient() as client, get_session().create_client("cloudhsmv2") as raw:
        await run_library(client)
        await run_aiobotocore(raw)
        for _ in range(TOTAL // EACH_TURN):
            began = perf_counter()
            await run_library(client)
            between = perf_counter()
            await run_aiobotocore(raw)
            library_time += between - began
            raw_time += perf_counter() - between
    return library_time / raw_time


if __name__ == "__main__":
    runner = pyperf.Runner()
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    runner.bench_time_func("1,000 restores", lambda loops: asyncio.run(ratio()) * loops)
