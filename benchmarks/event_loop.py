"""1,000 restores on one event loop, 8 concurrent ones, of the library and of aiobotocore (``make bench``).

    python -m benchmarks.event_loop   prints the seconds of each as JSON

Both use sockets to ``benchmarks.server``, in an environment that has aiobotocore, with a service that takes 0 and
20 ms. They alternate after 100 restores.
"""

import asyncio
import json
import sys
from time import perf_counter
from typing import Any

from aiobotocore.session import get_session

from benchmarks.measure import fixed_service
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


async def seconds(url: str) -> tuple[float, float]:
    library_time = raw_time = 0.0
    async with (
        AsyncRestoreClient(endpoint_url=url) as client,
        get_session().create_client("cloudhsmv2", endpoint_url=url) as raw,
    ):
        await run_library(client)
        await run_aiobotocore(raw)
        for _ in range(TOTAL // EACH_TURN):
            began = perf_counter()
            await run_library(client)
            between = perf_counter()
            await run_aiobotocore(raw)
            library_time += between - began
            raw_time += perf_counter() - between
    return library_time, raw_time


if __name__ == "__main__":
    times: dict[str, float] = {}
    for milliseconds in (0, 20):
        with fixed_service(milliseconds) as environment:
            library, raw = asyncio.run(seconds(environment["AWS_ENDPOINT_URL"]))
        times |= {f"library {milliseconds} ms": library, f"aiobotocore {milliseconds} ms": raw}
    json.dump(times, sys.stdout)
